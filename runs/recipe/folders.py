"""Default output folders of studies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kerf.runs.recipe.model import Recipe, recipe_hash


def study_folders(
    loaded: Mapping[str, Recipe], preset: str | None, sets: tuple[str, ...], seeds: int | None, out: Path | None
) -> dict[str, Path]:
    """Return each variant's folder: `out`, one below it each if there are several, or a default one if it is None."""
    changed = bool(sets) or seeds is not None
    if out is None:
        return {name: default_out(asked, preset, changed) for name, asked in loaded.items()}
    return {name: out / name if len(loaded) > 1 else out for name in loaded}


def default_out(recipe: Recipe, preset: str | None, changed: bool) -> Path:
    """Return `out/<name>-<preset>`, plus the first digits of the hash if the command line changed the recipe."""
    words = [recipe.name, *([preset] if preset else []), *([recipe_hash(recipe)[:8]] if changed else [])]
    return Path("out") / "-".join(words)
