"""Effects: a metric's paired change from the aligned checkpoint minus another arm's change, and what is concluded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from kerf.lab.errors import KerfError
from kerf.lab.prediction import Direction
from kerf.lab.statistics.intervals import clopper_pearson
from kerf.lab.statistics.tests import (
    Interval,
    detectable_shift,
    paired_interval,
    permutation_p,
    smallest_p,
    tost_p,
)
from kerf.lab.statistics.text import bounds_text, p_text, signed

Outcome = Literal["held", "reversed", "no effect", "no typical effect", "undecided"]

POWER = 0.8
"""The power at which a verdict states its detectable shift."""

MIN_EQUIVALENCE_SEEDS = 8
"""Fewer seeds show no lack of effect: none of 8 collapsed still leaves room for 31% that would (95%, one-sided)."""

UNSEEN_CONFIDENCE = 0.95
"""Of the one-sided bound on the share of seeds that would change, though none, or few, of those seen did."""


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
        as_randomised: Mean and bounds over all seeds, also those left out: whether a skill is lost is itself an outcome
            of training, so the seeds that kept it are a selected sample. Equals `interval` where none is left out.
        extremes: What the mean over all seeds could be at the least and the most if nothing at all were known of the
            seeds left out; infinite for a metric without bounds.
    """

    arm: str
    against: str
    metric: str
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    lost: tuple[int, ...]
    interval: Interval
    p: float
    as_randomised: Interval
    extremes: tuple[float, float]

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
    left_out = tuple(sorted(set(arm_change) & lost))
    per_seed, dropped = (
        tuple(float(arm_change[seed] - against_change[seed]) for seed in some) for some in (seeds, left_out)
    )
    if not left_out:
        interval = paired_interval(per_seed, rng, bounds=bounds)
        return Effect(
            arm, against, metric, seeds, per_seed, (), interval, permutation_p(per_seed, rng), interval, _same(interval)
        )
    least, most = bounds or (-math.inf, math.inf)
    num = len(seeds) + len(left_out)
    extremes = (sum(per_seed) + len(left_out) * least) / num, (sum(per_seed) + len(left_out) * most) / num
    whole = paired_interval((*per_seed, *dropped), rng, bounds=bounds)
    if not seeds:
        return replace(unmeasured(arm, against, metric, left_out), as_randomised=whole, extremes=extremes)
    interval, p = paired_interval(per_seed, rng, bounds=bounds), permutation_p(per_seed, rng)
    return Effect(arm, against, metric, seeds, per_seed, left_out, interval, p, whole, extremes)


def unmeasured(arm: str, against: str, metric: str, lost: tuple[int, ...] = ()) -> Effect:
    """An effect of which no seed is left: no number at all."""
    nothing = Interval(math.nan, math.nan, math.nan, 0, reliable=False)
    return Effect(arm, against, metric, (), (), lost, nothing, 1.0, nothing, _same(nothing))


def _same(interval: Interval) -> tuple[float, float]:
    return interval.mean, interval.mean


@dataclass(frozen=True)
class Verdict:
    """What became of a prediction.

    Attributes:
        outcome: `held`: p below alpha and an interval that excludes 0, with the sign predicted; `reversed`: the same
            with the other sign, or with any where none was predicted; `no effect` and `no typical effect`: the whole
            interval lies within the margin, over at least `MIN_EQUIVALENCE_SEEDS` seeds and not because both arms lie
            on the floor, and what seeds unlike those seen could add stays within the margin, too (`no effect`) or
            may not (`no typical effect`); `undecided`: none of these.
        sentence: Why, with the smallest p and the shift that this many seeds could have shown.
        p_adjusted: Holm-adjusted permutation p.
        tost_p: p of the equivalence test; nan when nothing could be measured.
        smallest_p: The smallest adjusted p that this many seeds and tests allow; nan when nothing could be measured.
        detectable_shift: What a paired t test at alpha / number of tests (Holm's first step) would find with 80%
            power at the spread observed; inf with one seed, nan when nothing could be measured.
        unseen: Upper 95% bound (Clopper-Pearson, one-sided) of the share of seeds that change by more than the margin;
            nan when nothing could be measured.
    """

    outcome: Outcome
    sentence: str
    p_adjusted: float
    tost_p: float
    smallest_p: float
    detectable_shift: float
    unseen: float


@dataclass(frozen=True)
class Levels:
    """Where the two arms of a contrast began and ended: means over seeds of the metric itself.

    Attributes:
        aligned: At the aligned checkpoint.
        arm: At the end of the arm.
        against: At the end of the arm that it is compared with.
        bounded: Whether the metric lies in [0, 1], so that no seed can change by more than the end of `against` leaves.
    """

    aligned: float
    arm: float
    against: float
    bounded: bool = True

    def floored(self, margin: float) -> bool:
        """Whether both arms have fallen to 0, from well above it: there they cannot differ, whatever was done."""
        return self.arm <= margin and self.against <= margin and self.aligned > 2 * margin

    @property
    def largest(self) -> float:
        """The largest effect that a seed could have."""
        return max(self.against, 1.0 - self.against) if self.bounded else math.inf

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

    How often each verdict is wrong was simulated: `kerf.lab.statistics.decision_rates`.

    Args:
        effect: The effect it speaks of.
        direction: The sign that was predicted.
        p_adjusted: The effect's permutation p, Holm-adjusted over all predictions of the study.
        levels: Where the two arms began and ended.
        num_tests: How many predictions that were.
        margin: Half-width of what counts as no effect, > 0.
        alpha: Level of the test.

    Raises:
        ValueError: a p that is no probability, or a direction that is none of the three.
    """
    if direction not in get_args(Direction):
        raise ValueError(f"direction must be one of {', '.join(get_args(Direction))}, got {direction!r}")
    if not 0 <= p_adjusted <= 1:
        raise ValueError(f"p_adjusted must be in [0, 1], got {p_adjusted}")
    if not effect.measurable:
        sentence = f"undecided: not measurable, skill lost in seeds {list(effect.lost)}."
        return Verdict("undecided", sentence, p_adjusted, math.nan, math.nan, math.nan, math.nan)

    num = len(effect.seeds)
    spread = float(np.std(effect.per_seed, ddof=1)) if num > 1 else 0.0
    shift = detectable_shift(spread, num, POWER, alpha / num_tests)
    outside = sum(abs(change) > margin for change in effect.per_seed)
    unseen = clopper_pearson(outside, num, 1 - UNSEEN_CONFIDENCE)[1]
    outcome, reason = _conclude(effect, direction, p_adjusted, levels, margin, alpha, unseen)
    sentence = f"{outcome}: {reason} ({levels}). {_power_sentence(num, num_tests, shift, alpha)}"
    if effect.lost:
        sentence += f" Skill lost, and left out: seeds {list(effect.lost)}; {randomised_text(effect)}."
    least = min(1.0, num_tests * smallest_p(num))
    return Verdict(outcome, sentence, p_adjusted, tost_p(effect.per_seed, margin), least, shift, unseen)


def _conclude(
    effect: Effect,
    direction: Direction,
    p_adjusted: float,
    levels: Levels,
    margin: float,
    alpha: float,
    unseen: float,
) -> tuple[Outcome, str]:
    """The outcome and its reason."""
    interval, num = effect.interval, len(effect.seeds)
    within = interval.bounded and max(abs(interval.low), abs(interval.high)) < margin
    significant = p_adjusted < alpha and interval.bounded and interval.excludes(0.0)
    change = f"{signed(interval.mean)} {bounds_text(interval)}"
    p = f"p {p_text(p_adjusted)}"
    if significant and not (direction == "none" and within):
        sign = "decrease" if interval.mean < 0 else "increase"
        predicted = "not to change" if direction == "none" else f"to {direction}"
        small = f", though small: within +-{margin:g}" if within else ""
        otherwise = sum(one * interval.mean <= 0 for one in effect.per_seed)
        share = clopper_pearson(otherwise, num, 1 - UNSEEN_CONFIDENCE)[1]
        others = f"{otherwise or 'none'} of {num} seeds went the other way, {_room(share)}"
        outcome: Outcome = "held" if sign == direction else "reversed"
        return outcome, f"predicted {predicted}, and changed by {change} ({p}){small}; {others}"
    if levels.floored(margin):
        return "undecided", "both arms have fallen to the floor and can no longer differ; compare them earlier on"
    if within and num >= MIN_EQUIVALENCE_SEEDS:
        outside = sum(abs(one) > margin for one in effect.per_seed)
        seen = f"{outside or 'none'} of {num} seeds changed by more, {_room(unseen)}"
        certain = unseen * levels.largest <= margin
        return ("no effect" if certain else "no typical effect"), f"{change} lies within +-{margin:g}; {seen}"
    if within:
        few = f"fewer than {MIN_EQUIVALENCE_SEEDS} seeds show no lack of effect"
        return "undecided", f"{change} lies within +-{margin:g}, but {few}"
    if p_adjusted < alpha:
        return "undecided", f"{p}, but the interval of {change} holds 0: few seeds carry the change"
    return "undecided", f"{change} is neither shown to differ from 0 ({p}) nor to lie within +-{margin:g}"


def _room(share: float) -> str:
    """What a bound on the share of all seeds says."""
    return f"which leaves room for {share:.0%} of all seeds"


def randomised_text(effect: Effect) -> str:
    """The effect over all seeds, for one of which some seeds are left out."""
    whole, (least, most) = effect.as_randomised, effect.extremes
    text = f"over all {whole.num} seeds {signed(whole.mean)} {bounds_text(whole)}"
    if math.isfinite(least):
        text += f" (between {signed(least)} and {signed(most)}, whatever became of those left out)"
    return text


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
