"""Exact answers: policies evaluated over a listed world, Bayes optima, and what a penalty forces."""
