"""Prints the path of the recipe."""

from kerf_example_late import RECIPE

print(RECIPE)
