"""Psychometric curves: how P(leave) rises with the evidence, fitted to one policy or seed by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from threadpoolctl import ThreadpoolController

from kerf.lab.statistics.detection import checked_weights
from kerf.lab.statistics.tests import MIN_SEEDS, ROUNDING, Interval

MIN_LEVELS = 4
"""Distinct evidence values that four parameters need at the least, infinite ones included."""

STEEPNESS = (0.05, 1000.0)
"""Bounds of |slope| times half the range of the finite evidence: from a straight line to a step."""

REACH = 3.0
"""The threshold lies within this many half-ranges of the middle of the finite evidence."""

MAX_LOGIT = 25.0
"""Bound of the log-odds of either asymptote against the rise between them: they stay above about 1e-11."""

FLAT = 1e-6
"""Where a curve removes less than this share of a constant's deviance there is no curve."""

STARTS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Steepnesses from which the optimiser sets out, each from its best threshold."""

SAME = 1e-9
"""Cross-entropies, in nats per unit of weight, that differ by less are equal for all purposes."""


@dataclass(frozen=True)
class Psychometric:
    """`P(leave) = guess + (1 - guess - lapse) / (1 + exp(-slope (evidence - threshold)))`.

    Attributes:
        threshold: Evidence at which the curve is halfway between its asymptotes; nan for a flat curve.
        slope: Per unit of evidence (nats): 1 for an observer that matches probabilities, large for a sharp rule,
            negative where more evidence means less leaving, 0 for a flat curve.
        guess: Lower asymptote, in [0, 1]: P(leave) when the evidence is all against it (if `slope` > 0).
        lapse: 1 minus the upper asymptote, in [0, 1]: P(stay) when it is all for it (if `slope` > 0). A flat curve has
            lapse = 1 - guess.
        deviance: Twice the log-likelihood that a perfect prediction of each target has more, in nats times the weights;
            0 for a perfect fit. Includes how targets differ at the same evidence.
        converged: Whether the optimiser ended properly at these parameters, by whichever of its starts.
    """

    threshold: float
    slope: float
    guess: float
    lapse: float
    deviance: float
    converged: bool

    @property
    def flat(self) -> bool:
        return math.isnan(self.threshold)

    def predict(self, evidence: ArrayLike) -> NDArray[np.float64]:
        """P(leave), in the shape of `evidence`, which may be infinite: there the curve has reached an asymptote."""
        x = np.asarray(evidence, np.float64)
        if self.flat:
            return np.full(x.shape, self.guess)
        return self.guess + (1.0 - self.guess - self.lapse) * special.expit(self.slope * (x - self.threshold))


@dataclass(frozen=True)
class PsychometricIntervals:
    """Mean parameters of the seeds' own curves, with percentile bootstrap bounds over seeds.

    Attributes:
        fits: One curve per seed, in the order given.
        threshold: Over the seeds whose fit converged and that have one. A flat curve has none, and is no evidence of
            where one would be: look at `num` before comparing arms.
        slope: Over the seeds whose fit converged, flat ones with 0. A sharp rule has a slope near the bound of the fit,
            and rules the mean.
        guess: Over the seeds whose fit converged.
        lapse: Over the seeds whose fit converged.
    """

    fits: tuple[Psychometric, ...]
    threshold: Interval
    slope: Interval
    guess: Interval
    lapse: Interval


def fit_psychometric(evidence: ArrayLike, leave: ArrayLike, weights: ArrayLike | None = None) -> Psychometric:
    """The four-parameter logistic curve of greatest weighted likelihood (Wichmann and Hill 2001).

    Bernoulli cross-entropy with soft targets, minimised by L-BFGS-B from a fixed grid of starts, of either sign of the
    slope. Nothing is drawn: the same data give the same curve. Bounds are `STEEPNESS`, `REACH` and `MAX_LOGIT`; they
    scale with the evidence, so that its unit does not matter. Where P(leave) comes nowhere near an asymptote, threshold
    and asymptote trade off and neither means much by itself.

    Args:
        evidence: `(n,)`, log-likelihood ratio of each situation, for signal against noise. Infinite evidence (a tell
            that gives it away) bears on the asymptotes alone.
        leave: `(n,)`, P(leave) in each, in [0, 1].
        weights: `(n,)`, such as numbers of trials or probabilities; None counts each once.

    Returns:
        A flat curve (see `Psychometric`) where P(leave) is constant, or evidence explains less than `FLAT` of it.

    Raises:
        ValueError: NaN in `evidence`, `leave` outside [0, 1], other shapes; negative, infinite or no weights; with
            weight, fewer than `MIN_LEVELS` distinct values of evidence or fewer than two finite ones.
    """
    x, y = _vectors(evidence, leave)
    w = checked_weights(weights, len(x))
    levels, group = np.unique(x[w > 0], return_inverse=True)
    finite = levels[np.isfinite(levels)]
    if len(levels) < MIN_LEVELS or len(finite) < 2:
        raise ValueError(
            f"expected >= {MIN_LEVELS} distinct values of evidence with weight, >= 2 of them finite, "
            f"got {len(levels)}, {len(finite)} of them finite"
        )
    # Targets enter the likelihood linearly: their means at each level are all that matters.
    shares = np.asarray(np.bincount(group, w[w > 0] / w.sum()), np.float64)
    means = np.clip(np.bincount(group, (w * y)[w > 0] / w.sum()) / shares, 0.0, 1.0)
    level = float(np.clip(shares @ means, 0.0, 1.0))
    flat = Psychometric(math.nan, 0.0, level, 1.0 - level, _deviance(np.full_like(y, level), y, w), converged=True)
    if np.ptp(means) <= ROUNDING:
        return flat
    centre, half = float(finite[-1] + finite[0]) / 2, float(finite[-1] - finite[0]) / 2
    scaled = _fit((levels - centre) / half, means, shares)
    curve = replace(scaled, threshold=centre + half * scaled.threshold, slope=scaled.slope / half)
    deviance = _deviance(curve.predict(x), y, w)
    if flat.deviance - deviance <= FLAT * flat.deviance:
        return flat
    return replace(curve, deviance=deviance)


def bootstrap_psychometric(
    evidence: ArrayLike,
    leave_by_seed: ArrayLike,
    rng: np.random.Generator,
    weights: ArrayLike | None = None,
    confidence: float = 0.95,
    num_resamples: int = 9999,
) -> PsychometricIntervals:
    """Fits each seed's curve and bootstraps the mean of each parameter over seeds (percentile method, Efron 1979).

    Seeds are fitted one by one because the curve of their mean is shallower than any of them where thresholds differ.
    With few seeds such intervals are too narrow: on normal data a nominal 95% covers about 84% at 5 seeds, 90% at 10
    and 92% at 20. To compare arms, pair the parameters of `fits` by seed and use
    `kerf.lab.statistics.tests.paired_interval`.

    Args:
        evidence: `(n,)`, as in `fit_psychometric`.
        leave_by_seed: `(S, n)`, P(leave) of each seed's policy.
        rng: Draws the resamples: the same for all four parameters where the same seeds have them.
        weights: `(n,)`, as in `fit_psychometric`, the same for all seeds.
        confidence: Nominal coverage in (0, 1).
        num_resamples: Bootstrap resamples, >= 1.

    Returns:
        Intervals that are not `reliable` below `MIN_SEEDS` seeds; nan bounds from one seed; all nan from none.

    Raises:
        ValueError: as `fit_psychometric`; no seeds; confidence or resamples out of range.
    """
    by_seed = np.asarray(leave_by_seed, np.float64)
    if by_seed.ndim != 2 or len(by_seed) == 0:
        raise ValueError(f"leave_by_seed must have shape (S, n) with S >= 1, got shape {by_seed.shape}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be >= 1, got {num_resamples}")
    fits = tuple(fit_psychometric(evidence, leave, weights) for leave in by_seed)
    good = [fit for fit in fits if fit.converged]
    picks: dict[int, NDArray[np.int64]] = {}

    def interval(numbers: list[float]) -> Interval:
        num = len(numbers)
        if num < 2:
            return Interval(numbers[0] if numbers else math.nan, math.nan, math.nan, num, reliable=False)
        if num not in picks:
            picks[num] = rng.integers(0, num, size=(num_resamples, num))
        values = np.array(numbers)
        tail = (1.0 - confidence) / 2
        low, high = np.quantile(values[picks[num]].mean(axis=1), (tail, 1.0 - tail))
        return Interval(float(values.mean()), float(low), float(high), num, reliable=num >= MIN_SEEDS)

    return PsychometricIntervals(
        fits,
        threshold=interval([fit.threshold for fit in good if not fit.flat]),
        slope=interval([fit.slope for fit in good]),
        guess=interval([fit.guess for fit in good]),
        lapse=interval([fit.lapse for fit in good]),
    )


@cache
def _blas() -> ThreadpoolController:
    """The threads of the BLAS that scipy loaded."""
    return ThreadpoolController()


def _fit(x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> Psychometric:
    """The best curve for distinct `x`, whose finite values span [-1, 1], and shares `w`; leaves out its deviance."""
    from scipy import optimize  # here: it takes a quarter of a second to import, and few studies have curves to fit

    steep = math.log(STEEPNESS[0]), math.log(STEEPNESS[1])
    bounds = [(-REACH, REACH), steep, (-MAX_LOGIT, MAX_LOGIT), (-MAX_LOGIT, MAX_LOGIT)]
    options = {"maxiter": 1000, "maxfun": 10000, "ftol": 1e-14, "gtol": 1e-9, "maxcor": 20}
    ends: list[tuple[float, Any]] = []
    for steepness in STARTS:
        starts = _starts(steepness, x, y, w)
        sign, start = min(starts, key=lambda tried: _loss(tried[1], tried[0], x, y, w)[0])
        with _blas().limit(limits=1, user_api="blas"):  # of four numbers; threads would wait for each other
            end = optimize.minimize(_loss, start, (sign, x, y, w), "L-BFGS-B", jac=True, bounds=bounds, options=options)
        ends.append((sign, end))
    sign, best = min(ends, key=lambda tried: float(tried[1].fun))
    converged = any(end.success and end.fun <= best.fun + SAME for _, end in ends)
    guess, lapse, _ = _asymptotes(best.x)
    return Psychometric(float(best.x[0]), sign * math.exp(best.x[1]), guess, lapse, math.nan, converged)


def _starts(
    steepness: float, x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64]]]:
    """Signs of the slope and parameters as of `_loss`: for thresholds all over the range and between neighbours, with
    the asymptotes of the least-squares fit.
    """
    finite = x[np.isfinite(x)]
    between = (finite[1:] + finite[:-1]) / 2
    between = between[np.unique(np.linspace(0, len(between) - 1, 12).astype(int))]
    starts = []
    for threshold in np.concatenate((np.arange(-0.9, 1.0, 0.2), between)):
        up = special.expit(steepness * (x - threshold))
        spread = w @ (up - w @ up) ** 2
        rise = (w @ ((up - w @ up) * y) / spread) if spread > 0 else 0.0
        ends = np.clip(w @ y + rise * (np.array([0.0, 1.0]) - w @ up), 0.01, 0.99)
        guess, top = ends.min(), max(ends.max(), ends.min() + 0.005)
        log_odds = np.log([guess / (top - guess), (1.0 - top) / (top - guess)])
        starts.append((1.0 if rise >= 0 else -1.0, np.array([threshold, math.log(steepness), *log_odds])))
    return starts


def _loss(
    parameters: NDArray[np.float64], sign: float, x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Cross-entropy and its gradient by threshold, log |slope| and the log-odds of guess and lapse against the rise."""
    slope = sign * math.exp(parameters[1])
    guess, lapse, rise = _asymptotes(parameters)
    distance = x - parameters[0]
    up, down = special.expit(slope * distance), special.expit(-slope * distance)
    leave, stay = guess + rise * up, lapse + rise * down
    loss = -w @ (y * np.log(leave) + (1.0 - y) * np.log(stay))
    by_leave = w * ((1.0 - y) / stay - y / leave)
    by_argument = by_leave * rise * up * down
    # At infinite evidence the curve has no slope left: `up * down` is 0 there.
    by_slope = by_argument @ np.where(np.isfinite(distance), distance, 0.0)
    by_guess, by_lapse = guess * (by_leave @ stay), -lapse * (by_leave @ leave)
    return float(loss), np.array([-slope * by_argument.sum(), slope * by_slope, by_guess, by_lapse])


def _asymptotes(parameters: NDArray[np.float64]) -> tuple[float, float, float]:
    guess, lapse = math.exp(parameters[2]), math.exp(parameters[3])
    total = guess + 1.0 + lapse
    return guess / total, lapse / total, 1.0 / total


def _deviance(predicted: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    surplus = special.rel_entr(y, predicted) + special.rel_entr(1.0 - y, 1.0 - predicted)
    return max(2.0 * float(w[w > 0] @ surplus[w > 0]), 0.0)


def _vectors(evidence: ArrayLike, leave: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(evidence, np.float64), np.asarray(leave, np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise ValueError(f"expected evidence and leave of one shape (n,), n >= 1, got {x.shape} and {y.shape}")
    if np.isnan(x).any():
        raise ValueError(f"evidence must hold no NaN, got {int(np.isnan(x).sum())} of {x.size}")
    if not ((y >= 0) & (y <= 1)).all():
        raise ValueError(f"leave must hold probabilities in [0, 1], got {y.min()} to {y.max()}")
    return x, y
