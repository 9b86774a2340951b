"""Targets on a command line: a study, one of its agents, or an exported policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kerf.lab.errors import KerfError, unknown_name
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Store, Unit


def study_of(target: Path) -> tuple[Store | None, list[Unit]]:
    """The study that `target` is, with no units; or that it is an agent of, with that agent; or None.

    Raises:
        KerfError: for what lies in a study and is none of its agents.
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
    """The stem of an exported policy, from itself, either of its files, or their folder.

    Raises:
        KerfError: if there is none.
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
    """The arms called `asked` (none: all) and the control, in the recipe's order.

    Raises:
        KerfError: for one that is not there.
    """
    for name in asked:
        if name not in recipe.arms:
            raise unknown_name(f"arm of {store.path}", name, recipe.arms)
    return [name for name in recipe.arms if not asked or name in asked or name == recipe.control_arm]
