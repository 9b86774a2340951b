"""Deviations from what was registered: where the records are not those of the recipe that was hashed before training.

From the records alone. What was registered is the recipe in `study.json`: its seeds, arms and predictions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from kerf.runs.records.gate_records import has_passed
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.report.table import Report

NAMED = 6
"""Units or seeds that a sentence names."""


def deviations(store: Store, report: Report | None = None) -> list[str]:
    """A sentence for each deviation; none if all is as registered.

    Args:
        store: Store of a study, finished or not.
        report: Its report; None if there is none.
    """
    manifest = store.manifest()
    units = set(store.units())
    return [
        *_recipe(store, manifest),
        *_seeds(manifest, units),
        *_cells(store, manifest, units),
        *_gate(store, manifest, units),
        *_predictions(manifest, report),
    ]


def missing_units(store: Store, manifest: Mapping[str, Any], units: set[Unit]) -> list[Unit]:
    """Registered units that are not finished; cells of agents that did not pass the gate are none."""
    asked = [Unit(ALIGNED, seed) for seed in manifest["seeds"]]
    for seed in manifest["seeds"]:
        aligned = Unit(ALIGNED, seed)
        if aligned not in units or has_passed(store, seed):
            asked += [Unit(arm, seed) for arm in manifest["arm_order"]]
    return [unit for unit in asked if unit not in units]


def _recipe(store: Store, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Recipes that differ from the one that was hashed."""
    canonical = json.dumps(manifest["recipe"], sort_keys=True, separators=(",", ":"), allow_nan=False)
    found = hashlib.sha256(canonical.encode()).hexdigest()
    if found != manifest["recipe_hash"]:
        yield (
            f"The recipe in study.json was changed after it was registered: its SHA-256 is {found[:12]}, and "
            f"{manifest['recipe_hash'][:12]} was registered."
        )
    changed = [name for name in ("primaries", "control", "arms") if manifest[name] != manifest["recipe"][name]]
    if changed:
        yield f"Entries of study.json were changed after the recipe was registered: {', '.join(changed)}."
    if (store.path / "recipe.yaml").exists():
        given = yaml.safe_load(store.read_bytes("recipe.yaml")) or {}
        others = sorted(_differing(given, manifest["recipe"]))
        if others:
            yield f"recipe.yaml says otherwise than what was registered: {_listed(others)}."


def _differing(given: Mapping[str, Any], registered: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Paths of fields that both have, with other values. Arms are compared by name: theirs are resolved."""
    for key, value in given.items():
        if key not in registered:
            continue
        here, there = f"{path}{key}", registered[key]
        if here == "arms":
            yield from (f"arms.{name}" for name in set(value) ^ set(there))
        elif isinstance(value, dict) and isinstance(there, dict):
            yield from _differing(value, there, f"{here}.")
        elif value is not None and value != there:
            yield here


def _seeds(manifest: Mapping[str, Any], units: Iterable[Unit]) -> Iterator[str]:
    recipe = manifest["recipe"]
    registered = set(range(recipe["first_seed"], recipe["first_seed"] + recipe["seeds"]))
    studied = set(manifest["seeds"])
    if gone := sorted(registered - studied):
        yield f"Seeds that were registered are left out: {_listed(gone)}."
    there = {unit.seed for unit in units} | studied
    if added := sorted(there - registered):
        used = "" if set(added) <= studied else " Effects do not use those that study.json does not list."
        yield f"Seeds were added that were not registered: {_listed(added)}.{used}"
    if arms := sorted({unit.arm for unit in units} - {ALIGNED, *manifest["arm_order"]}):
        yield f"There are records of arms that were not registered, which nothing here uses: {_listed(arms)}."


def _cells(store: Store, manifest: Mapping[str, Any], units: set[Unit]) -> Iterator[str]:
    """Units without records, with the reason why they were set aside, if that is known."""
    missing = missing_units(store, manifest, units)
    if not missing:
        return
    why = {entry["failed"]: entry["why"] for entry in store.timing() if "failed" in entry}
    aside = [unit for unit in missing if unit.name in why]
    rest = [unit.name for unit in missing if unit.name not in why]
    for unit in aside[:NAMED]:
        yield f"{unit.name} has no records: {why[unit.name]}"
    if len(aside) > NAMED:
        yield f"{len(aside) - NAMED} more units were set aside."
    if rest:
        yield f"{len(rest)} unit{'s have' if len(rest) > 1 else ' has'} not been done: {_listed(rest)}."


def _gate(store: Store, manifest: Mapping[str, Any], units: set[Unit]) -> Iterator[str]:
    failed = [seed for seed in manifest["seeds"] if Unit(ALIGNED, seed) in units and not has_passed(store, seed)]
    if failed:
        yield (
            f"{len(failed)} of {len(manifest['seeds'])} registered seeds were not studied, for their agents did not "
            f"pass the gate: {_listed(failed)}."
        )


def _predictions(manifest: Mapping[str, Any], report: Report | None) -> Iterator[str]:
    """Registered predictions without a result, or with fewer seeds than the others."""
    registered = [primary["name"] for primary in manifest["recipe"]["primaries"]]
    threshold = manifest["recipe"].get("threshold")
    if report is None:
        if names := [*registered, *([threshold["name"]] if threshold else [])]:
            yield f"Registered predictions that were not computed: {_listed(names)}."
        return
    judged = {item.primary.name: item for item in report.judged}
    for name in registered:
        if name not in judged:
            yield f"The registered prediction {name} was not computed."
            continue
        effect = judged[name].effect
        if effect.lost:
            num = len(effect.seeds) + len(effect.lost)
            told = "was not computed" if not effect.seeds else f"is over {len(effect.seeds)} of {num} seeds"
            yield f"The registered prediction {name} {told}: the skill was lost in seeds {_listed(effect.lost)}."
    if threshold is not None and report.crossing is None:
        yield f"The registered threshold {threshold['name']} was not computed."


def _listed(items: Sequence[Any]) -> str:
    named = ", ".join(map(str, items[:NAMED]))
    return named if len(items) <= NAMED else f"{named} and {len(items) - NAMED} more"
