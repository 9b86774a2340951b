"""Composition, and what a user calls: recipes, studies, cells, records, tracking, the command line."""
