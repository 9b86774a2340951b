"""Recipes: their model, how they are read and written, and the built-in ones."""
