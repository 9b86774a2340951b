"""Comparison of studies: what differs in their recipes, and how far the effects of the arms that they share differ."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from kerf.lab.errors import KerfError
from kerf.lab.metrics import kind_of
from kerf.lab.statistics.tests import Interval, paired_interval
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit
from kerf.runs.records.tables import read_measures
from kerf.runs.report.effects import SHOWN, Ends, effect_bounds, stream, study_ends

ABSENT = "-"
"""Shown for a setting that a recipe does not have."""

NOT_COMPARED = ("name", "primaries", "threshold")
"""Parts of a recipe that determine no score."""


@dataclass(frozen=True)
class Setting:
    """A setting in which two recipes differ.

    Attributes:
        path: Its path, such as `arms.penalised.penalty`.
        first: Its value in the first recipe, as JSON.
        second: In the second one.
    """

    path: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Difference:
    """One effect in two studies.

    Attributes:
        arm: The arm whose effect it is.
        against: What it is compared with in both studies: their control, or `aligned` if they have not the same one.
        metric: The metric.
        first: Mean effect in the first study, with its 95% interval over seeds.
        second: In the second one.
        difference: The second less the first.
    """

    arm: str
    against: str
    metric: str
    first: Interval
    second: Interval
    difference: Interval


@dataclass(frozen=True)
class Comparison:
    """Two studies compared.

    Attributes:
        first: Folder of the first study.
        second: Folder of the second one.
        world: Name of their world.
        settings: Where their recipes differ.
        paired: The seeds by which differences are paired: all that the studies share, if these are two or more and
            their aligned agents are the same bytes in both studies; else none, and differences are not paired.
        differences: All effects that both have.
    """

    first: Path
    second: Path
    world: str
    settings: tuple[Setting, ...]
    paired: tuple[int, ...]
    differences: tuple[Difference, ...]

    def frame(self) -> pd.DataFrame:
        """`differences`, a row each: arm, against, metric, paired, and mean, low, high and number of seeds of `first`,
        `second` and `difference`."""
        rows = []
        for found in self.differences:
            row: dict[str, object] = {name: getattr(found, name) for name in ("arm", "against", "metric")}
            row["paired"] = bool(self.paired)
            for part in ("first", "second", "difference"):
                interval = getattr(found, part)
                row |= {f"{part}_{name}": getattr(interval, name) for name in ("mean", "low", "high", "num")}
            rows.append(row)
        return pd.DataFrame(rows)


def compare(first: Path, second: Path) -> Comparison:
    """Compare two finished studies.

    Raises:
        KerfError: if their batteries differ, they share no arm, or one of them is not a study with finished cells.
    """
    stores = Store(first), Store(second)
    manifests = [store.manifest() for store in stores]
    _refuse_other_batteries(first, second, manifests)
    ends = [study_ends(read_measures(folder)) for folder in (first, second)]
    common = [arm for arm in manifests[0]["arm_order"] if all(arm in each.env_steps for each in ends)]
    if not common:
        raise KerfError(f"{first} and {second} share no arm, so there is no effect to compare")
    controls = {manifest["recipe"]["control"] for manifest in manifests}
    against = str(controls.pop()) if len(controls) == 1 else ALIGNED
    if against not in common:
        against = ALIGNED
    paired = _same_agents(stores, ends)
    shared = set.intersection(*(set(_seeds(each)) for each in ends))
    pairs = paired if len(paired) > 1 and set(paired) == shared else ()
    metrics = [m for m in ends[0].metrics if m in ends[1].metrics and kind_of(m) in SHOWN]
    differences = [
        found
        for arm in common
        if arm != against
        for metric in metrics
        if (found := _difference(ends, arm, against, metric, bool(pairs))) is not None
    ]
    settings = tuple(_settings(*(manifest["recipe"] for manifest in manifests)))
    return Comparison(first, second, manifests[0]["recipe"]["world"], settings, pairs, tuple(differences))


def _refuse_other_batteries(first: Path, second: Path, manifests: Sequence[Mapping[str, Any]]) -> None:
    if manifests[0]["battery_hash"] == manifests[1]["battery_hash"]:
        return
    parts = ({name: manifest["recipe"][name] for name in ("world", "battery")} for manifest in manifests)
    why = "; ".join(f"{found.path} is {found.first} and {found.second}" for found in _settings(*parts))
    raise KerfError(
        f"{first} and {second} were measured with different batteries, so their scores cannot be compared: "
        + (why or "their scenarios differ, so another version of the world drew them")
    )


def _difference(ends: Sequence[Ends], arm: str, against: str, metric: str, paired: bool) -> Difference | None:
    """Compare one effect; None if it was not measurable in one of the studies."""
    effects = [each.effect(arm, against, metric, 0) for each in ends]
    if not all(effect.measurable for effect in effects):
        return None
    first, second = (dict(zip(effect.seeds, effect.per_seed, strict=True)) for effect in effects)
    if paired:
        seeds = sorted(set(first) & set(second))
        if not seeds:
            return None
        bounds = effect_bounds(metric)
        twice = None if bounds is None else (2 * bounds[0], 2 * bounds[1])
        change = [second[seed] - first[seed] for seed in seeds]
        difference = paired_interval(change, stream(0, arm, against, metric, "difference"), bounds=twice)
    else:
        difference = _welch(list(first.values()), list(second.values()))
    return Difference(arm, against, metric, effects[0].interval, effects[1].interval, difference)


def _welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Difference of two means with Welch's 95% interval; unreliable if there are fewer than two seeds on a side."""
    mean, num = float(np.mean(second) - np.mean(first)), min(len(first), len(second))
    if num < 2:
        return Interval(mean, math.nan, math.nan, num, False)
    if np.ptp(first) == 0.0 and np.ptp(second) == 0.0:
        return Interval(mean, mean, mean, num, True)
    low, high = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    return Interval(mean, float(low), float(high), num, True)


def _same_agents(stores: Sequence[Store], ends: Sequence[Ends]) -> tuple[int, ...]:
    """The seeds that both studies have, and whose aligned agents have the same weights in both."""
    seeds = sorted(set.intersection(*(set(_seeds(each)) for each in ends)))
    return tuple(seed for seed in seeds if len({_weights(store, seed) for store in stores}) == 1)


def _weights(store: Store, seed: int) -> str:
    path = (store.path / Unit(ALIGNED, seed).name / POLICY).with_suffix(".safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _seeds(ends: Ends) -> list[int]:
    return [int(seed) for seed in ends.final.index.unique("seed")]


def _settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Setting]:
    """All settings in which two resolved recipes differ, by path."""
    recipes = ({name: part for name, part in recipe.items() if name not in NOT_COMPARED} for recipe in (first, second))
    flat = [_flat(recipe) for recipe in recipes]
    paths = dict.fromkeys((*flat[0], *flat[1]))
    found = [Setting(path, *(each.get(path, ABSENT) for each in flat)) for path in paths]
    return [setting for setting in found if setting.first != setting.second]


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted path."""
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
