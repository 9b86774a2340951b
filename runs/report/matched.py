"""Effects at matched suppression: measures in long format reduced to one comparison per contrast and metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kerf.lab.metrics import COMPETENCE, Kind, exits_by_strength, of_kind
from kerf.lab.statistics.effect import Competence, MeasureError
from kerf.lab.statistics.matched import MATCHED_LEVELS, Course, Matched, matched_effect, reaching
from kerf.runs.report.effects import ALIGNED, Ends, effect_bounds, stream, study_ends
from kerf.runs.report.judged import Judged

COLUMNS = (
    *("arm", "against", "metric", "mean", "low", "high", "p"),
    *("num_seeds", "lost", "not_comparable", "level", "bridged"),
)
"""Columns of `matched_frame`."""


@dataclass(frozen=True)
class Courses:
    """All measures of every arm over training.

    Attributes:
        scores: Index (arm, seed, iteration), a column per metric, with competence.
        ends: Scores at both ends of every arm.
        aims: Arm -> the metric that its penalty targets: exits in the false emergencies that it was trained on.
    """

    scores: pd.DataFrame
    ends: Ends
    aims: Mapping[str, str]

    def of(self, arm: str, metric: str, aim: str) -> dict[int, Course]:
        """Seed -> the course of `metric` against the suppression of `aim`.

        Raises:
            MeasureError: one of the two metrics was not measured at every iteration.
        """
        rows, seeds = self._rows[arm]
        points = np.stack([self._columns[name][rows] for name in (aim, metric)], axis=1)
        if np.isnan(points).any():
            _, seed, iteration = self.scores.index[rows[np.argwhere(np.isnan(points))[0][0]]]
            raise MeasureError(
                f"arm {arm!r}, seed {seed}, {metric}: no score at iteration {iteration}: measure it again"
            )
        courses = {}
        for seed in np.unique(seeds).tolist():
            forbidden, of_interest = points[seeds == seed].T
            courses[seed] = Course(tuple((forbidden[0] - forbidden).tolist()), tuple(of_interest.tolist()))
        return courses

    @cached_property
    def _columns(self) -> dict[str, NDArray[np.float64]]:
        """Metric -> its scores in all rows. Cached: a report looks up thousands, and a pandas look-up is slow."""
        return {str(name): column.to_numpy(np.float64) for name, column in self.scores.items()}

    @cached_property
    def _rows(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Arm -> its rows, and their seeds."""
        arms, seeds = (self.scores.index.get_level_values(level).to_numpy() for level in ("arm", "seed"))
        rows = {arm: np.flatnonzero(arms == arm) for arm in self.ends.env_steps}
        return {arm: (found, seeds[found]) for arm, found in rows.items()}

    def match(self, arm: str, against: str, metric: str, seed: int = 0) -> tuple[Matched, ...]:
        """The effect at each of `MATCHED_LEVELS`.

        Empty where the arms cannot be matched: one is untrained or is the aligned checkpoint, false exits were not
        measured, or `metric` is that of false exits itself.
        """
        trained = all(self.ends.env_steps.get(name, 0) > 0 for name in (arm, against))
        aim = self.aims.get(arm)
        if aim is None or metric == aim or not trained:
            return ()
        arm_courses, against_courses = (self.of(name, metric, aim) for name in (arm, against))
        skills = (
            [self.of(name, COMPETENCE, aim) for name in (arm, against)] if self.ends.presupposes_skill(metric) else []
        )
        found = []
        for level in MATCHED_LEVELS:
            comparable = reaching(arm_courses, against_courses, level)
            lost: set[int] = set()
            for skill in skills:
                aligned = {number: skill[number].scores[0] for number in comparable}
                lost |= Competence(aligned, {number: skill[number].at(level) for number in comparable}).lost()
            found.append(
                matched_effect(
                    arm_courses,
                    against_courses,
                    arm=arm,
                    against=against,
                    metric=metric,
                    level=level,
                    rng=stream(seed, "matched", arm, against, metric, f"{level:g}"),
                    lost=lost,
                    bounds=effect_bounds(metric),
                )
            )
        return tuple(found)


def study_courses(measures: pd.DataFrame, strengths: Mapping[str, float] | None = None) -> Courses:
    """Collect the measures of all arms over training. Row order does not matter.

    Args:
        measures: Measures of a study, in long format.
        strengths: Arm -> strength of the false emergencies that it was trained on. For an arm whose strength was not
            probed or is unknown, the highest strength is the target.

    Raises:
        MeasureError: see `kerf.runs.report.effects.study_ends`.
    """
    ends = study_ends(measures)
    scores = measures.pivot(index=["arm", "seed", "iteration"], columns="metric", values="score").sort_index()
    scores[COMPETENCE] = scores[of_kind(ends.metrics, Kind.SKILL)].min(axis=1, skipna=False)
    exits = exits_by_strength(ends.metrics)
    aims = {}
    for arm in ends.arms if exits else ():
        own = (strengths or {}).get(arm, max(exits))
        aims[arm] = exits.get(own, exits[max(exits)])
    return Courses(scores, ends, aims)


def match_primaries(courses: Courses, judged: Sequence[Judged], seed: int = 0) -> tuple[Judged, ...]:
    """Add to each primary its effect at matched suppression, where there is one."""
    return tuple(
        replace(item, matched=courses.match(item.primary.arm, item.primary.against, item.primary.metric, seed))
        for item in judged
    )


def matched_frame(courses: Courses, contrasts: Iterable[tuple[str, str]], seed: int = 0) -> pd.DataFrame:
    """Compare every value and ideal utility at matched suppression: a row per contrast, metric and level.

    Args:
        courses: Measures of the study over training.
        contrasts: Pairs of an arm and the arm to compare it with; pairs that cannot be matched give no rows.
        seed: Seed of the intervals and tests.

    Returns:
        Columns `arm`, `against`, `metric`; `mean`, `low`, `high` (95% interval over seeds) and `p` (permutation), nan
        where no seed is left; `num_seeds`, `lost` and `not_comparable` (seeds left out because a skill was lost, or
        because an arm suppressed too little); `level`, one of `MATCHED_LEVELS`; `bridged` (the widest gap in
        suppression between two measures that was interpolated over), nan where no seed is left.
    """
    metrics = of_kind(courses.ends.metrics, Kind.VALUE, Kind.UTILITY)
    rows = []
    for arm, against in dict.fromkeys(contrasts):
        for metric in metrics if against != ALIGNED else ():
            for found in courses.match(arm, against, metric, seed):
                effect, num = found.effect, len(found.effect.seeds)
                interval = effect.interval
                p = effect.p if num else math.nan
                left_out = len(effect.lost), len(found.not_comparable)
                bridged = max(found.bridged, default=math.nan)
                mean_and_bounds = interval.mean, interval.low, interval.high
                rows.append((arm, against, metric, *mean_and_bounds, p, num, *left_out, found.level, bridged))
    return pd.DataFrame(rows, columns=list(COLUMNS))
