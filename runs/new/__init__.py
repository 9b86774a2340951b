"""Templates for extensions of the lab: a recipe, or a package with a world or a generator, each with its test."""
