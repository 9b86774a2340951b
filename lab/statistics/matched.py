"""Effects at matched suppression: two arms compared where both have suppressed the forbidden act by the same amount.

A larger penalty may do no more than the same in fewer steps. Whether it costs more than suppression costs anyway shows
only where both arms have suppressed equally much, whenever each of them did.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from kerf.lab.statistics.effect import Effect, MeasureError, paired_effect, unmeasured

MATCHED_LEVELS = (0.25, 0.5, 0.75)
"""Suppressions at which arms are compared: how much rarer the forbidden act has become, as a share of the forgeries."""


@dataclass(frozen=True)
class Course:
    """What one arm of one seed went through, at the points where it was measured.

    Attributes:
        suppressed: How much rarer the forbidden act has become since the aligned checkpoint (its share there less its
            share now); the first is the aligned checkpoint's own, 0.
        scores: The metric of interest at the same points.

    Raises:
        ValueError: no points, unequal numbers of them, one that is not finite, or a first that is not 0.
    """

    suppressed: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.suppressed or len(self.suppressed) != len(self.scores) or self.suppressed[0] != 0:
            raise ValueError(f"expected as many scores as suppressions, the first of these 0, got {self}")
        if not all(map(math.isfinite, self.suppressed + self.scores)):
            raise ValueError(f"expected finite numbers, got {self}")

    @property
    def deepest(self) -> float:
        """The most that was suppressed at any point."""
        return max(self.suppressed)

    def at(self, level: float) -> float:
        """The score where `level` was first reached, on the straight line from the point before.

        Raises:
            ValueError: a level outside [0, `deepest`].
        """
        if level == 0:
            return self.scores[0]
        after, weight = self._crossing(level)
        return (1 - weight) * self.scores[after - 1] + weight * self.scores[after]

    def bridged(self, level: float) -> float:
        """How much was suppressed between the two points that `at` interpolates; 0 where it hits a point."""
        if level == 0:
            return 0.0
        after, weight = self._crossing(level)
        return 0.0 if weight == 1 else self.suppressed[after] - self.suppressed[after - 1]

    def _crossing(self, level: float) -> tuple[int, float]:
        """The first point at or beyond `level` > 0, and how far on the way to it from the one before the level lies."""
        if not 0 < level <= self.deepest:
            raise ValueError(f"expected a level in [0, {self.deepest:g}], got {level:g}")
        after = next(point for point, reached in enumerate(self.suppressed) if reached >= level)
        before = self.suppressed[after - 1]
        return after, (level - before) / (self.suppressed[after] - before)


def reaching(arm: Mapping[int, Course], against: Mapping[int, Course], level: float) -> tuple[int, ...]:
    """The seeds, ascending, in which both arms suppressed as much as `level`.

    Raises:
        MeasureError: a seed on one side only. ValueError: a level that is not positive.
    """
    if not level > 0:
        raise ValueError(f"level must be > 0, got {level}")
    if one_sided := sorted(set(arm) ^ set(against)):
        raise MeasureError(f"expected the same seeds in both arms, but one lacks seeds {one_sided}: finish these cells")
    return tuple(seed for seed in sorted(arm) if min(arm[seed].deepest, against[seed].deepest) >= level)


@dataclass(frozen=True)
class Matched:
    """An effect at matched suppression.

    Attributes:
        effect: The effect over the seeds that are comparable.
        level: The suppression at which the arms were compared.
        bridged: The widest gap in suppression between two measures, of either arm, that was interpolated; by seed.
        not_comparable: Seeds in which an arm suppressed less, ascending.
    """

    effect: Effect
    level: float
    bridged: tuple[float, ...]
    not_comparable: tuple[int, ...]


def matched_effect(
    arm_courses: Mapping[int, Course],
    against_courses: Mapping[int, Course],
    *,
    arm: str,
    against: str,
    metric: str,
    level: float,
    rng: np.random.Generator,
    lost: Iterable[int] = (),
    bounds: tuple[float, float] | None = None,
) -> Matched:
    """The effect of `arm` against `against` on one metric, in each seed where both first suppressed as much as `level`.

    Args:
        arm_courses: Seed -> the arm's course.
        against_courses: The same of the arm to compare with.
        arm: Its name.
        against: Its name.
        metric: The metric's name.
        level: The suppression, > 0: fixed beforehand, as the deepest that both reach compares two floors.
        rng: For the interval and the permutation test.
        lost: Seeds in which either arm had lost its skill at that level; they are left out and listed.
        bounds: What an effect can be at all; None: any number.

    Raises:
        MeasureError: a seed on one side only. ValueError: a level that is not positive.
    """
    comparable = reaching(arm_courses, against_courses, level)
    changes = [
        {seed: courses[seed].at(level) - courses[seed].scores[0] for seed in comparable}
        for courses in (arm_courses, against_courses)
    ]
    if comparable:
        effect = paired_effect(
            *changes, arm=arm, against=against, metric=metric, rng=rng, lost=frozenset(lost), bounds=bounds
        )
    else:
        effect = unmeasured(arm, against, metric)
    return Matched(
        effect,
        level,
        tuple(max(courses[seed].bridged(level) for courses in (arm_courses, against_courses)) for seed in effect.seeds),
        tuple(sorted(set(arm_courses) - set(comparable))),
    )
