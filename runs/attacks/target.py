"""Targets of a command: a study, one of its agents, or an exported policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kerf.lab.errors import KerfError, unknown_name
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Store, Unit


def study_of(target: Path) -> tuple[Store | None, list[Unit]]:
    """Find the study of `target`: the study itself with no units, or an agent's study with that agent; None if neither.

    Raises:
        KerfError: for a path within a study that is none of its agents.
    """
    if (target / "study.json").is_file():
        return Store(target), []
    place = target.absolute()
    for root in place.parents:
        if not (root / "study.json").is_file():
            continue
        store = Store(root)
        units = {unit.name: unit for unit in store.units()}
        for name in (place.relative_to(root).as_posix(), place.parent.relative_to(root).as_posix()):
            if name in units:
                return store, [units[name]]
        raise unknown_name(f"agent of the study in {root}", place.relative_to(root).as_posix(), units)
    return None, []


def policy_stem(path: Path) -> Path:
    """The stem of an exported policy, given the stem, either of its files, or their folder.

    Raises:
        KerfError: if there is no such policy.
    """
    stem = path / "policy" if path.is_dir() else path
    if stem.suffix in (".json", ".safetensors"):
        stem = stem.with_suffix("")
    if not stem.with_name(stem.name + ".json").is_file():
        raise KerfError(
            f"{path} is neither a study's folder (with study.json) nor an exported policy (policy.json and "
            "policy.safetensors)"
        )
    return stem


def asked_arms(asked: Sequence[str], recipe: Recipe, store: Store) -> list[str]:
    """The arms named in `asked` (empty: all) and the control, in the recipe's order.

    Raises:
        KerfError: for an unknown arm.
    """
    for name in asked:
        if name not in recipe.arms:
            raise unknown_name(f"arm of {store.path}", name, recipe.arms)
    return [name for name in recipe.arms if not asked or name in asked or name == recipe.control_arm]
