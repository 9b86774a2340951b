"""Composition layer and user interface: recipes, studies, cells, records, tracking, command line."""
