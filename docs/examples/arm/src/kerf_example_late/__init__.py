"""Arms of one's own as a recipe file, `late.yaml`. `kerf run $(python -m kerf_example_late)` runs it."""

from __future__ import annotations

from pathlib import Path

RECIPE = Path(__file__).with_name("late.yaml")
"""The recipe."""
