"""Statistics of scores and effects: intervals, tests, matched comparisons, curves."""
