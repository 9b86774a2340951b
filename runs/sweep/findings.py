"""Findings of a sweep: dose-response curves, thresholds, and the Pareto front of robustness and collateral. Pure
functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kerf.lab.metrics import COMPETENCE
from kerf.lab.statistics.dose import Curve, Threshold, dose_response, threshold
from kerf.lab.statistics.tests import holm
from kerf.runs.report.effects import effect_bounds, stream
from kerf.runs.sweep.outcome import Outcome
from kerf.runs.sweep.spec import SweepSpec


@dataclass(frozen=True)
class Line:
    """One dose-response curve over the first swept setting, at one value of the second.

    Attributes:
        metric: Response metric.
        at: Value of the second setting; None if only one is swept.
        curve: The curve; None with fewer than two measurable doses or without a measurable seed.
        p: The curve's p value, Holm-adjusted over the sweep's lines of that metric.
        threshold: Dose at which it reaches the sweep's limit, if the limit is on this metric.
        seeds: Seeds of the curve: those that kept their skills at every dose.
        lost: The other seeds.
    """

    metric: str
    at: float | None
    curve: Curve | None
    p: float
    threshold: Threshold | None
    seeds: tuple[int, ...]
    lost: tuple[int, ...]


def lines(spec: SweepSpec, outcomes: Sequence[Outcome], metric: str) -> list[Line]:
    """Fit the dose-response curves of a metric, one for each value of the second setting."""
    first, *others = spec.over
    values = {outcome.trial.settings[others[0].path] for outcome in outcomes} if others else {None}
    made = []
    for at in sorted(values, key=lambda value: -math.inf if value is None else value):
        chosen = [o for o in outcomes if not others or o.trial.settings[others[0].path] == at]
        made.append(_line(spec, sorted(chosen, key=lambda o: o.trial.settings[first.path]), first.path, metric, at))
    adjusted = holm([line.p for line in made])
    return [replace(line, p=float(p)) for line, p in zip(made, adjusted, strict=True)]


def changes(outcomes: Sequence[Outcome], metric: str) -> tuple[NDArray[np.float64], tuple[int, ...], tuple[int, ...]]:
    """Effects `(S, D)` on a metric, a column per outcome; the seeds that all outcomes have, and the others."""
    by_outcome = [dict(zip(o.effects[metric].seeds, o.effects[metric].per_seed, strict=True)) for o in outcomes]
    everywhere = sorted(set.intersection(*(set(by_seed) for by_seed in by_outcome))) if by_outcome else []
    somewhere = {seed for o in outcomes for seed in (*o.effects[metric].seeds, *o.effects[metric].lost)}
    rows = [[by_seed[seed] for by_seed in by_outcome] for seed in everywhere]
    lost = tuple(sorted(somewhere - set(everywhere)))
    return np.array(rows, np.float64).reshape(len(everywhere), len(by_outcome)), tuple(everywhere), lost


def _line(spec: SweepSpec, outcomes: Sequence[Outcome], path: str, metric: str, at: float | None) -> Line:
    doses = [outcome.trial.settings[path] for outcome in outcomes]
    given, seeds, lost = changes(outcomes, metric)
    if len(doses) < 2 or not seeds:
        return Line(metric, at, None, 1.0, None, seeds, lost)
    rng = stream(0, "dose", metric, str(at))
    limit = spec.limit.change if spec.limit is not None and spec.limit.metric == metric else None
    reached = None if limit is None else threshold(doses, given, limit, rng)
    falling = _falls(doses, given.mean(axis=0)) if reached is None else reached.falling
    curve = dose_response(doses, given, falling, rng, effect_bounds(metric))
    return Line(metric, at, curve, curve.p, reached, seeds, lost)


def _falls(doses: Sequence[float], mean: NDArray[np.float64]) -> bool:
    at = np.asarray(doses) - np.mean(doses)
    return bool(at @ mean < 0)


def next_dose(spec: SweepSpec, outcomes: Sequence[Outcome]) -> float | None:
    """The dose that halves the interval in which the fit reaches the limit; None if it does not reach it."""
    assert spec.limit is not None
    (line,) = lines(spec, outcomes, spec.limit.metric)
    if line.threshold is None or not line.threshold.reached or line.curve is None:
        return None
    below, above = line.threshold.between
    return float(f"{(below + above) / 2:.10g}") if below < above else None


def feasible(spec: SweepSpec, outcome: Outcome) -> bool:
    """Whether a trial can be measured and satisfies every floor."""
    return all(map(math.isfinite, outcome.objectives)) and all(
        outcome.number(floor.metric) >= floor.change for floor in spec.floors
    )


def front(spec: SweepSpec, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The Pareto front: feasible trials that no other feasible trial dominates.

    In ascending order of robustness.
    """
    kept = [outcome for outcome in outcomes if feasible(spec, outcome)]
    best = []
    for one in kept:
        beaten = any(_beats(other.objectives, one.objectives) for other in kept)
        if not beaten:
            best.append(one)
    return sorted(best, key=lambda outcome: outcome.objectives)


def _beats(other: tuple[float, float], one: tuple[float, float]) -> bool:
    return other != one and all(theirs >= ours for theirs, ours in zip(other, one, strict=True))


def shown_metrics(spec: SweepSpec, outcomes: Sequence[Outcome]) -> list[str]:
    """Metrics of table and figures: those asked about, the focus, and competence. The records have all metrics."""
    known = set(outcomes[0].effects)
    first, last = spec.traded
    asked = [first, *(m for m in spec.metrics if m not in spec.traded), *(m for m in spec.focus if m != last), last]
    return [metric for metric in dict.fromkeys((*asked, COMPETENCE)) if metric in known]
