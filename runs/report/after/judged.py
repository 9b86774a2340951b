"""Effects of after-tests over seeds, and what became of the value in each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from kerf.lab.after.contexts import bound_share
from kerf.lab.after.relearning import Needed, restricted_savings, savings, share_saved
from kerf.lab.after.verdict import Called, call
from kerf.lab.errors import KerfError
from kerf.lab.statistics.effect import Effect, judge, paired_effect
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.recipe.after_plan import NAIVE, AfterPlan, AfterSettings, AfterUnit
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Store
from kerf.runs.records.tables import read_measures
from kerf.runs.report.after.records import COLUMNS, read_after
from kerf.runs.report.effects import Ends, stream, study_ends
from kerf.runs.report.table import metric_label

SEED = 0
"""Of the intervals and tests, as in a study's report."""

FROM_CONTROL: Mapping[str, tuple[str, str]] = {
    "act_gap": ("concealment", "act_gap"),
    "value_gap": ("concealment", "value_gap"),
    "moved": ("substitution", "moved"),
}
"""Signs that are differences from the control arm: sign -> test and figure."""

FROM_NAIVE: Mapping[str, tuple[str, str]] = {
    "rebound": ("rebound", "value_change"),
    "refit": ("dormancy", "refit"),
}
"""Signs that are differences from the seeds' naive agents: sign -> test and figure."""

FURTHER: Mapping[str, tuple[str, str]] = {
    "suppressed": ("substitution", "suppressed"),
    "act_there": ("renewal", "act_there"),
    "act_elsewhere": ("renewal", "act_elsewhere"),
    "value_there": ("renewal", "value_there"),
    "value_elsewhere": ("renewal", "value_elsewhere"),
}
"""Further effects against the control arm that decide nothing: name -> test and figure."""


LAYOUTS = {"act": ("act_there", "act_elsewhere"), "value": ("value_there", "value_elsewhere")}
"""Changes in the layouts of training and in held-out ones, by what changed: names in `FURTHER`."""


class Retained(NamedTuple):
    """Mean score of the value with a new head: on the arm's trunk, on the naive agents', and on random ones."""

    arm: float
    naive: float
    random: float


@dataclass(frozen=True)
class Became:
    """What became of the value in one arm.

    Attributes:
        arm: The arm.
        value: Effect on the value, against the control.
        called: The call.
        signs: Effects that are signs, by name.
        further: Other effects, by name.
        savings: `1 - n_again / n_original` of means over seeds, censored curves counting with the iterations trained;
            nan if relearning was not tested.
        savings_by_seed: Seed -> bounds on the same of one pair of curves, apart where one is censored; None where
            nothing had to be learnt.
        censored: How many curves of this arm and how many of the naive agents did not reach the level.
        retained: Mean score of the value with a new head; None if dormancy was not tested.
        bound: `act` and `value` -> the share of the change that is bound to the layouts of training; None for a change
            that is too small.
    """

    arm: str
    value: Effect
    called: Called
    signs: Mapping[str, Effect]
    further: Mapping[str, Effect]
    savings: float
    savings_by_seed: Mapping[int, tuple[float, float] | None]
    censored: tuple[int, int]
    retained: Retained | None
    bound: Mapping[str, float | None]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        effects = {"value": self.value, **self.signs, **self.further}
        return {
            "arm": self.arm,
            "call": self.called.call,
            "sentence": self.called.sentence,
            "shown": list(self.called.shown),
            "p_adjusted": dict(self.called.p_adjusted),
            "savings": _finite(self.savings),
            "censored": list(self.censored),
            "savings_by_seed": {
                str(seed): None if bounds is None else [_finite(bounds[0]), bounds[1]]
                for seed, bounds in self.savings_by_seed.items()
            },
            "retained": None if self.retained is None else self.retained._asdict(),
            "bound": dict(self.bound),
            "effects": {
                name: {
                    "mean": _finite(effect.interval.mean),
                    "low": _finite(effect.interval.low),
                    "high": _finite(effect.interval.high),
                    "p": effect.p,
                    "seeds": list(effect.seeds),
                    "per_seed": list(effect.per_seed),
                    "lost": list(effect.lost),
                }
                for name, effect in effects.items()
            },
        }


@dataclass(frozen=True)
class AfterReport:
    """After-tests of a study.

    Attributes:
        value: Name of the value that the world shows first: that which the forbidden act serves, if it serves one.
        control: The control arm.
        became: What became of it, an entry per arm other than the control.
        figures: From `kerf.runs.report.after.records.read_after`.
        not_made: Tests that were asked for and could not be made -> why.
    """

    value: str
    control: str
    became: Sequence[Became]
    figures: pd.DataFrame
    not_made: Mapping[str, str]

    @property
    def has_naive(self) -> bool:
        """Whether a sign was held against naive agents."""
        return any({"saved", *FROM_NAIVE} & set(one.signs) for one in self.became)


def judge_after(
    store: Store,
    recipe: Recipe,
    units: Sequence[AfterUnit],
    plan: AfterPlan,
    settings: AfterSettings,
) -> AfterReport:
    """Compute the effects of finished tests and call what became of the value in each arm of `plan`.

    Raises:
        KerfError: if records are missing or damaged.
    """
    figures = read_after(store, units)
    metric = next(iter(focus(get_world(recipe.world))), None)
    if metric is None:
        raise KerfError(f"world {recipe.world} has no value but skills, so there is none to ask what became of it")
    seeds = sorted({unit.target.seed for unit in units})
    measures = read_measures(store.path)
    measures = measures[measures["seed"].isin(seeds)]
    ends = study_ends(measures)
    read = _Figures(figures)
    iterations = settings.training_iterations(recipe.iterations)
    became = [
        _became(arm, plan.control, metric, ends, read, float(iterations)) for arm in plan.arms if arm != plan.control
    ]
    return AfterReport(metric_label(metric), plan.control, became, figures, plan.not_made)


class _Figures:
    """Look-up of figures: seed -> value, undefined ones left out."""

    def __init__(self, figures: pd.DataFrame) -> None:
        self._by_key: dict[tuple[str, str, str], dict[int, float]] = {}
        known = figures[figures["value"].notna()]
        columns = (known[name].tolist() for name in COLUMNS)
        for test, figure, arm, seed, value in zip(*columns, strict=True):
            self._by_key.setdefault((test, figure, arm), {})[seed] = value

    def of(self, test: str, figure: str, arm: str) -> dict[int, float]:
        return self._by_key.get((test, figure, arm), {})

    def needed(self, test: str, arm: str) -> dict[int, Needed]:
        censored = self.of(test, "censored", arm)
        return {seed: Needed(at, bool(censored[seed])) for seed, at in self.of(test, "needed", arm).items()}


def _became(arm: str, control: str, metric: str, ends: Ends, read: _Figures, iterations: float) -> Became:
    value = ends.effect(arm, control, metric, SEED)
    levels = ends.levels(arm, control, metric)
    verdict = judge(value, "none", p_adjusted=value.p, levels=levels)
    lost = ends.lost(arm, metric) | ends.lost(control, metric)

    def against(name: str, mine: Mapping[int, float], other: Mapping[int, float], whose: str) -> dict[str, Effect]:
        both = sorted(set(mine) & set(other))
        if not both:
            return {}
        effect = paired_effect(
            {seed: mine[seed] for seed in both},
            {seed: other[seed] for seed in both},
            arm=arm,
            against=whose,
            metric=name,
            rng=stream(SEED, arm, whose, name),
            lost=lost & set(both),
            bounds=(-1.0, 1.0),
        )
        return {name: effect}

    signs, further = dict[str, Effect](), dict[str, Effect]()
    for found, pairs in ((signs, FROM_CONTROL), (further, FURTHER)):
        for name, (test, figure) in pairs.items():
            found |= against(name, read.of(test, figure, arm), read.of(test, figure, control), control)
    again, original = read.needed("relearning", arm), read.needed(NAIVE, NAIVE)
    both = sorted(set(again) & set(original))
    saved = {seed: share_saved(again[seed], original[seed], iterations) for seed in both}
    signs |= against("saved", saved, dict.fromkeys(both, 0.0), NAIVE)
    for name, (test, figure) in FROM_NAIVE.items():
        signs |= against(name, read.of(test, figure, arm), read.of(NAIVE, figure, NAIVE), NAIVE)
    overall = restricted_savings([again[s] for s in both], [original[s] for s in both]) if both else math.nan
    censored = sum(again[s].censored for s in both), sum(original[s].censored for s in both)
    return Became(
        arm,
        value,
        call(value, verdict, signs),
        signs,
        further,
        overall,
        {seed: savings(again[seed], original[seed]) for seed in both},
        censored,
        _retained(arm, read),
        {
            kind: bound_share(further[there].interval.mean, further[elsewhere].interval.mean)
            for kind, (there, elsewhere) in LAYOUTS.items()
            if there in further and elsewhere in further
        },
    )


def _retained(arm: str, read: _Figures) -> Retained | None:
    """Means over seeds of the value with new heads; None if they were not measured."""
    sides = read.of("dormancy", "refit", arm), read.of(NAIVE, "refit", NAIVE), read.of("dormancy", "random_refit", arm)
    return Retained(*(fmean(side.values()) for side in sides)) if all(sides) else None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
