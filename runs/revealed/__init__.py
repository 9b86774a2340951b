"""Revealed objectives: what the agents of a study want, beside the ideal and what training paid."""
