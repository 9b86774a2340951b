"""Predictions with their results: effect, verdict, collapse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kerf.lab.errors import unknown_name
from kerf.lab.metrics import Kind, kind_of
from kerf.lab.prediction import Prediction
from kerf.lab.statistics.effect import Effect, Verdict, judge
from kerf.lab.statistics.matched import Matched
from kerf.lab.statistics.tests import (
    Interval,
    collapse_probability,
    holm,
    paired_collapse_p,
)
from kerf.runs.report.effects import ALIGNED, Ends, study_ends


@dataclass(frozen=True)
class Collapse:
    """Collapse: the share of seeds that end below half of their aligned score.

    Attributes:
        arm: Share of the arm's seeds, with its exact interval.
        against: The same for the arm that it is compared with.
        p: Exact paired test of equal shares (`kerf.lab.statistics.tests.paired_collapse_p`), not adjusted.
    """

    arm: Interval
    against: Interval
    p: float


@dataclass(frozen=True)
class Judged:
    """A primary prediction with its result.

    Attributes:
        primary: The prediction.
        effect: The measured effect.
        verdict: The conclusion.
        collapse: Share of collapsed seeds in either arm (a mean hides bimodal outcomes); None for ideal utility, which
            has no natural zero.
        matched: The effect at matched suppression, by level; empty where the arms cannot be matched. The verdict does
            not use it.
    """

    primary: Prediction
    effect: Effect
    verdict: Verdict
    collapse: Collapse | None
    matched: tuple[Matched, ...] = ()


def judge_primaries(
    measures: pd.DataFrame,
    primaries: Sequence[Prediction],
    *,
    margin: float = 0.05,
    alpha: float = 0.05,
    seed: int = 0,
    others: Sequence[float] = (),
) -> tuple[Judged, ...]:
    """Judge each primary prediction. P values are Holm-adjusted over all primaries (one without a measure counts as 1)
    and `others`, the p values of predictions of another kind.

    Raises:
        MeasureError: see `study_ends`. KerfError: an arm or metric that was not measured.
    """
    ends = study_ends(measures)
    for primary in primaries:
        for arm in (primary.arm, primary.against):
            if arm not in (*ends.arms, ALIGNED) or primary.arm == ALIGNED:
                raise unknown_name(f"arm of primary {primary.name!r}", arm, ends.arms)
        if primary.metric not in ends.metrics:
            raise unknown_name(f"metric of primary {primary.name!r}", primary.metric, ends.metrics)
    effects = [ends.effect(primary.arm, primary.against, primary.metric, seed) for primary in primaries]
    adjusted = holm([*(effect.p for effect in effects), *others])[: len(effects)]
    judged = []
    for primary, effect, p in zip(primaries, effects, adjusted.tolist(), strict=True):
        verdict = judge(
            effect,
            primary.direction,
            p_adjusted=p,
            levels=ends.levels(primary.arm, primary.against, primary.metric),
            num_tests=len(effects) + len(others),
            margin=margin,
            alpha=alpha,
        )
        judged.append(Judged(primary, effect, verdict, _collapse(ends, primary)))
    return tuple(judged)


def _collapse(ends: Ends, primary: Prediction) -> Collapse | None:
    if kind_of(primary.metric) is Kind.UTILITY:
        return None
    left = []
    for arm in (primary.arm, primary.against):
        aligned = ends.scores(ends.aligned, primary.arm, primary.metric)
        final = aligned if arm == ALIGNED else ends.scores(ends.final, arm, primary.metric)
        left.append(np.array([final[seed] - 0.5 * aligned[seed] for seed in sorted(aligned)]))
    ours, theirs = left
    p = paired_collapse_p(ours < 0.0, theirs < 0.0)
    return Collapse(collapse_probability(ours, 0.0), collapse_probability(theirs, 0.0), p)
