"""Execution of units of work: trainers, workers and their schedule."""
