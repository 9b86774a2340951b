"""Effects: a metric's paired change from the aligned checkpoint minus another arm's change, and what is concluded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kerf.lab.errors import KerfError
from kerf.lab.prediction import Direction
from kerf.lab.statistics.tests import (
    MIN_SEEDS,
    Interval,
    detectable_shift,
    paired_interval,
    permutation_p,
    smallest_p,
    tost_p,
)

Outcome = Literal["held", "reversed", "no effect", "undecided"]

POWER = 0.8
"""The power at which a verdict states its detectable shift."""


class MeasureError(KerfError):
    """Measures that cannot be compared: a probe that failed, a seed that is missing. Names arm, seed and metric."""


@dataclass(frozen=True)
class Competence:
    """Whether an agent can still do what a value's probes presuppose, seed by seed.

    Attributes:
        aligned: Seed -> competence of the aligned checkpoint, in [0, 1].
        trained: Seed -> competence of the arm at the point of comparison, in [0, 1].
        share: How much of the aligned checkpoint's competence must be left.
    """

    aligned: Mapping[int, float]
    trained: Mapping[int, float]
    share: float = 0.9

    def lost(self) -> frozenset[int]:
        """The seeds in which the skill is lost: there a value's change cannot be told from clumsiness."""
        return frozenset(seed for seed, now in self.trained.items() if not now >= self.share * self.aligned[seed])


@dataclass(frozen=True)
class Effect:
    """What an arm changed in one metric beyond what `against` changed, paired by seed.

    Attributes:
        arm: The arm.
        against: The arm whose change is subtracted.
        metric: Name of the metric.
        seeds: Seeds in which it could be measured, ascending.
        per_seed: The effect in each of `seeds`.
        lost: Seeds left out because either arm lost the skill that the metric presupposes, ascending.
        interval: Mean and bounds over `seeds`; all nan when no seed is left.
        p: Two-sided permutation p over `seeds`; 1 when no seed is left.
    """

    arm: str
    against: str
    metric: str
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    lost: tuple[int, ...]
    interval: Interval
    p: float

    @property
    def measurable(self) -> bool:
        """False when the skill is lost in every seed: the effect is then no number at all."""
        return bool(self.seeds)


def paired_effect(
    arm_change: Mapping[int, float],
    against_change: Mapping[int, float],
    *,
    arm: str,
    against: str,
    metric: str,
    rng: np.random.Generator,
    lost: frozenset[int] = frozenset(),
    bounds: tuple[float, float] | None = None,
) -> Effect:
    """The effect of `arm` against `against` on one metric.

    Args:
        arm_change: Seed -> the arm's score minus the aligned checkpoint's.
        against_change: The same of the arm to compare with.
        arm: Its name.
        against: Its name.
        metric: The metric's name.
        rng: For the interval and the permutation test, above 16 seeds.
        lost: Seeds in which either arm lost its skill (`Competence.lost`); they are left out and listed.
        bounds: What an effect can be at all (`paired_interval` cuts there); None: any number.

    Raises:
        MeasureError: a seed on one side only, no seed at all, or a change that is not finite: a failed probe is a
            failure, not a zero.
    """
    for name, change, other in ((arm, arm_change, against_change), (against, against_change, arm_change)):
        missing = sorted(set(other) - set(change))
        if missing:
            raise MeasureError(
                f"{metric}: expected the same seeds in {arm!r} and {against!r}, but {name!r} has no score for "
                f"seeds {missing}: finish these cells or leave the seeds out of both arms"
            )
        for seed, number in change.items():
            if not math.isfinite(number):
                raise MeasureError(
                    f"{metric}: expected a finite change in arm {name!r}, seed {seed}, got {number}: "
                    "its probe failed; measure that cell again"
                )
    if not arm_change:
        raise MeasureError(f"{metric}: no seeds to compare {arm!r} with {against!r}")
    seeds = tuple(sorted(set(arm_change) - lost))
    per_seed = tuple(float(arm_change[seed] - against_change[seed]) for seed in seeds)
    left_out = tuple(sorted(set(arm_change) & lost))
    if not seeds:
        return unmeasured(arm, against, metric, left_out)
    interval, p = paired_interval(per_seed, rng, bounds=bounds), permutation_p(per_seed, rng)
    return Effect(arm, against, metric, seeds, per_seed, left_out, interval, p)


def unmeasured(arm: str, against: str, metric: str, lost: tuple[int, ...] = ()) -> Effect:
    """An effect of which no seed is left: no number at all."""
    nothing = Interval(math.nan, math.nan, math.nan, 0, reliable=False)
    return Effect(arm, against, metric, (), (), lost, nothing, 1.0)


@dataclass(frozen=True)
class Verdict:
    """What became of a prediction.

    Attributes:
        outcome: `held`: significant, with the sign predicted; `reversed`: significant, with the other sign;
            `no effect`: not significant and, by TOST, within the margin, over at least `MIN_SEEDS` seeds and not
            because both arms lie on the floor; `undecided`: none of these.
        sentence: Why, with the smallest p and the shift that this many seeds could have shown.
        p_adjusted: Holm-adjusted permutation p.
        tost_p: p of the equivalence test; nan when nothing could be measured.
        smallest_p: The smallest adjusted p that this many seeds and tests allow; nan when nothing could be measured.
        detectable_shift: What a paired t test at alpha / number of tests (Holm's first step) would find with 80%
            power at the spread observed; inf with one seed, nan when nothing could be measured.
    """

    outcome: Outcome
    sentence: str
    p_adjusted: float
    tost_p: float
    smallest_p: float
    detectable_shift: float


@dataclass(frozen=True)
class Levels:
    """Where the two arms of a contrast began and ended: means over seeds of the metric itself."""

    aligned: float
    arm: float
    against: float

    def floored(self, margin: float) -> bool:
        """Whether both arms have fallen to 0, from well above it: there they cannot differ, whatever was done."""
        return self.arm <= margin and self.against <= margin and self.aligned > 2 * margin

    def __str__(self) -> str:
        return f"ends at {self.arm:.2f} and {self.against:.2f}, from {self.aligned:.2f}"


def judge(
    effect: Effect,
    direction: Direction,
    *,
    p_adjusted: float,
    levels: Levels,
    num_tests: int = 1,
    margin: float = 0.05,
    alpha: float = 0.05,
) -> Verdict:
    """The verdict on one prediction.

    Args:
        effect: The effect it speaks of.
        direction: The sign that was predicted.
        p_adjusted: The effect's permutation p, Holm-adjusted over all predictions of the study.
        levels: Where the two arms began and ended.
        num_tests: How many predictions that were.
        margin: Half-width of what counts as no effect, > 0.
        alpha: Level of both tests.

    Raises:
        ValueError: a p that is no probability, or a direction that is none of the two.
    """
    if direction not in ("decrease", "increase"):
        raise ValueError(f"direction must be 'decrease' or 'increase', got {direction!r}")
    if not 0 <= p_adjusted <= 1:
        raise ValueError(f"p_adjusted must be in [0, 1], got {p_adjusted}")
    if not effect.measurable:
        sentence = f"undecided: not measurable, skill lost in seeds {list(effect.lost)}."
        return Verdict("undecided", sentence, p_adjusted, math.nan, math.nan, math.nan)

    num, mean = len(effect.seeds), effect.interval.mean
    within = tost_p(effect.per_seed, margin)
    least = min(1.0, num_tests * smallest_p(num))
    spread = float(np.std(effect.per_seed, ddof=1)) if num > 1 else 0.0
    shift = detectable_shift(spread, num, POWER, alpha / num_tests)
    significant = p_adjusted < alpha
    equivalent = f"within +-{margin:g} (TOST p {p_text(within)})"
    if significant:
        as_predicted = (mean < 0) == (direction == "decrease")
        outcome: Outcome = "held" if as_predicted else "reversed"
        reason = f"{outcome}: predicted to {direction}, and changed by {signed(mean)} (p {p_text(p_adjusted)})"
        if within < alpha:
            reason += f", though small: {equivalent}"
    elif levels.floored(margin):
        outcome = "undecided"
        reason = "undecided: both arms have fallen to the floor and can no longer differ; compare them earlier on"
    elif within < alpha and num >= MIN_SEEDS:
        outcome = "no effect"
        reason = f"no effect: {signed(mean)} is {equivalent}"
    elif within < alpha:
        outcome = "undecided"
        reason = f"undecided: {signed(mean)} is {equivalent}, but fewer than {MIN_SEEDS} seeds show no lack of effect"
    else:
        outcome = "undecided"
        reason = (
            f"undecided at this power: {signed(mean)} is neither shown to differ from 0 (p {p_text(p_adjusted)}) "
            f"nor to be {equivalent}"
        )
    sentence = f"{reason} ({levels}). {_power_sentence(num, num_tests, shift, alpha)}"
    if effect.lost:
        sentence += f" Skill lost, and left out: seeds {list(effect.lost)}."
    return Verdict(outcome, sentence, p_adjusted, within, least, shift)


def _power_sentence(num: int, num_tests: int, shift: float, alpha: float) -> str:
    """What `num` seeds could have shown at all."""
    least = min(1.0, num_tests * smallest_p(num))
    tests = f" and {num_tests} predictions" if num_tests > 1 else ""
    limit = f"With {num} seed{'s' if num != 1 else ''}{tests} the smallest p possible is {least:.2g}"
    if least >= alpha:
        enough = [n for n in range(num + 1, 65) if num_tests * smallest_p(n) < alpha]
        limit += ", so no change could be significant"
        limit += f" (at least {enough[0]} seeds are needed)" if enough else ""
    if not math.isfinite(shift):
        return f"{limit}."
    return f"{limit}; a paired t test has {POWER:.0%} power for a change of {shift:.2f}."


def signed(number: float, digits: int = 2) -> str:
    """A change as text, rounded half to even, always with its sign; what rounds to 0 has none (never `-0.00`)."""
    text = f"{number:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def p_text(p: float) -> str:
    """A p value as text with its relation: `= 0.012`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
