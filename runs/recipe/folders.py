"""Folders that studies are written to unless another is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kerf.runs.recipe.model import Recipe, recipe_hash


def study_folders(
    loaded: Mapping[str, Recipe], preset: str | None, sets: tuple[str, ...], seeds: int | None, out: Path | None
) -> dict[str, Path]:
    """The folder of each variant's study: in `out`, one below it if there are several, or under `out/`."""
    changed = bool(sets) or seeds is not None
    if out is None:
        return {name: default_out(asked, preset, changed) for name, asked in loaded.items()}
    return {name: out / name if len(loaded) > 1 else out for name in loaded}


def default_out(recipe: Recipe, preset: str | None, changed: bool) -> Path:
    """`out/<name>-<preset>`, with the hash's first digits if the recipe was changed on the command line."""
    words = [recipe.name, *([preset] if preset else []), *([recipe_hash(recipe)[:8]] if changed else [])]
    return Path("out") / "-".join(words)
