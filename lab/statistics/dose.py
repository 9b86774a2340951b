"""Dose and response: a monotone curve over doses, whether it falls or rises at all, and where it passes a limit.

Everything is paired by seed: an array of changes is `(S, D)`, a row a seed, a column a dose. What is asked is the curve
of the *mean over seeds*; nothing is assumed of it but that it is monotone. Between two doses it may fall gently or over
a cliff: so a limit is passed somewhere between two doses, and nothing finer is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kerf.lab.statistics.intervals import (
    MIN_SEEDS,
    ROUNDING,
    Interval,
    all_equal,
    mean_bounds,
    paired_interval,
    sign_flips,
)
from kerf.lab.statistics.tests import permutation_p

COVERAGE_SEEDS = (5, 10, 20)
"""Numbers of seeds at which `COVERAGE` was measured."""

COVERAGE_DOSES = (3, 5, 11)
"""Numbers of doses, evenly spread over [0, 1], at which `COVERAGE` was measured."""

COVERAGE: Mapping[str, Mapping[float, Mapping[int, tuple[float, float, float]]]] = {
    "all seeds fall over one cliff": {
        -0.1: {3: (1.0, 1.0, 1.0), 5: (1.0, 1.0, 1.0), 11: (1.0, 1.0, 1.0)},
        -0.4: {3: (1.0, 1.0, 1.0), 5: (1.0, 1.0, 1.0), 11: (1.0, 1.0, 1.0)},
    },
    "all seeds fall at about the same dose": {
        -0.1: {3: (1.0, 1.0, 1.0), 5: (1.0, 1.0, 1.0), 11: (0.997, 0.998, 1.0)},
        -0.4: {3: (1.0, 1.0, 1.0), 5: (1.0, 1.0, 1.0), 11: (1.0, 1.0, 1.0)},
    },
    "seeds fall in a straight line": {
        -0.1: {3: (1.0, 1.0, 1.0), 5: (0.997, 0.999, 1.0), 11: (0.979, 0.976, 0.983)},
        -0.4: {3: (0.999, 1.0, 1.0), 5: (0.989, 0.994, 1.0), 11: (0.967, 0.975, 0.973)},
    },
    "seeds fall at doses of their own": {
        -0.1: {3: (1.0, 1.0, 1.0), 5: (0.822, 0.921, 0.963), 11: (0.917, 0.974, 0.997)},
        -0.4: {3: (1.0, 1.0, 1.0), 5: (1.0, 1.0, 1.0), 11: (0.997, 1.0, 1.0)},
    },
    "seeds collapse at doses of their own": {
        -0.1: {3: (0.949, 0.998, 1.0), 5: (0.648, 0.87, 0.983), 11: (0.742, 0.917, 0.997)},
        -0.4: {3: (0.99, 1.0, 0.997), 5: (0.987, 1.0, 0.997), 11: (0.968, 0.999, 1.0)},
    },
    "half of the seeds collapse": {
        -0.1: {3: (0.952, 0.996, 1.0), 5: (0.97, 0.999, 1.0), 11: (0.898, 0.976, 1.0)},
        -0.4: {3: (0.945, 0.998, 0.99), 5: (0.976, 0.999, 1.0), 11: (0.961, 0.999, 1.0)},
    },
}
"""Share of 1,000 simulated sweeps (300 with 20 seeds) whose nominal 95% interval held the true threshold: how seeds
respond -> limit -> number of doses -> one share for each of `COVERAGE_SEEDS`. Those that fall lose about 0.8, those
that collapse 0.9 at once. Between two doses nothing is interpolated, so that few doses make wide intervals, and not
wrong ones. A small limit on the mean is reached when the first few seeds have collapsed, and few seeds cannot know of
that."""

SIGNIFICANT = 0.05
"""Level at which a slope decides from which side a limit is come to."""


@dataclass(frozen=True)
class Curve:
    """A dose-response curve.

    Attributes:
        doses: `(D,)`, ascending.
        mean: `(D,)`, mean change at each dose.
        low: `(D,)`, lower 95% bound of each mean by itself; nan with one seed.
        high: `(D,)`, upper bound.
        fit: `(D,)`, the monotone curve nearest to the means (isotonic regression).
        slope: Mean over seeds of the least-squares slope of change on dose, with its interval.
        p: Two-sided permutation p of "the slope is 0", over seeds.
        num_seeds: Seeds that it rests on.
    """

    doses: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    fit: NDArray[np.float64]
    slope: Interval
    p: float
    num_seeds: int


@dataclass(frozen=True)
class Threshold:
    """The dose at which the mean change has come to a limit.

    Attributes:
        limit: The limit.
        falling: Whether the curve comes to it from above, as most do that lose something; or from below, as where a
            loss is cured.
        between: The two neighbouring doses between which the monotone fit comes to it: not yet at the first, at the
            latest at the second. Twice the smallest dose if it is there from the start; the largest and inf if it is
            not reached at any dose.
        low: Lower end of the 95% interval, a dose: the largest at which the limit is surely not reached yet; the
            smallest dose where no lower one can be excluded; inf where all doses that were tried can be. nan with one
            seed, and where no monotone curve fits the seeds: then there is no interval.
        high: Upper end: the smallest dose by which it is surely reached; inf where it cannot be excluded that the limit
            lies beyond the largest dose.
        doses: The smallest and the largest dose that were tried.
        num: Seeds that it rests on.
        reliable: False below `MIN_SEEDS` seeds, and without an interval.
    """

    limit: float
    falling: bool
    between: tuple[float, float]
    low: float
    high: float
    doses: tuple[float, float]
    num: int
    reliable: bool

    @property
    def reached(self) -> bool:
        """Whether the fit reaches the limit within the doses that were tried."""
        return math.isfinite(self.between[1])


def isotonic(values: ArrayLike, falling: bool) -> NDArray[np.float64]:
    """The monotone sequence nearest to `(D,)` values by least squares (pool adjacent violators)."""
    from scipy import optimize  # here: it takes a quarter of a second to import, and few ask for doses

    return np.asarray(optimize.isotonic_regression(values, increasing=not falling).x, np.float64)


def first_beyond(curve: ArrayLike, limit: float, falling: bool) -> int:
    """The index of the first dose at which a monotone curve `(D,)` has come to `limit`; D if it does at none.

    Args:
        curve: Its value at each dose.
        limit: What it is to come to.
        falling: Whether from above, or from below.
    """
    values = np.asarray(curve, np.float64)
    there = np.flatnonzero(values <= limit if falling else values >= limit)
    return int(there[0]) if len(there) else len(values)


def dose_response(
    doses: ArrayLike,
    changes: ArrayLike,
    falling: bool,
    rng: np.random.Generator,
    bounds: tuple[float, float] | None = None,
) -> Curve:
    """The curve of the mean change over doses.

    Args:
        doses: `(D,)`, ascending, D >= 2.
        changes: `(S, D)`, of each seed at each dose.
        falling: Whether the monotone fit falls; else it rises.
        rng: For intervals and tests above 16 seeds.
        bounds: What a change can be at all: the bounds of the means are cut there. None: any number.

    Raises:
        ValueError: other shapes, doses that do not ascend, changes that are not finite.
    """
    at, given = _checked(doses, changes)
    low, high = _bands(given, rng)
    if bounds is not None:
        low, high = np.clip(low, *bounds), np.clip(high, *bounds)
    slopes = _slopes(at, given)
    mean = given.mean(axis=0)
    return Curve(
        at,
        mean,
        low,
        high,
        isotonic(mean, falling),
        paired_interval(slopes, rng),
        permutation_p(slopes, rng),
        len(given),
    )


def threshold(
    doses: ArrayLike, changes: ArrayLike, limit: float, rng: np.random.Generator, confidence: float = 0.95
) -> Threshold:
    """Where the mean change comes to `limit`, with an interval.

    The interval holds the doses that no test excludes: from the last dose at which the one band of the mean has not
    come to the limit, to the first at which the other has. A band is the pointwise interval of
    `kerf.lab.statistics.tests.paired_interval` made monotone, which takes only what holds anyway if the curve is
    monotone. As the doses are gone through in their order until the first that is not excluded, no correction for their
    number is needed (fixed-sequence testing). `COVERAGE` says how often it was right.

    A loss (a negative limit) is reached by falling, a gain by rising; but from the other side if the smallest dose is
    beyond the limit and the slope is significantly the other way.

    Args:
        doses: `(D,)`, ascending, D >= 2.
        changes: `(S, D)`, of each seed at each dose.
        limit: The change that is asked for, not 0.
        rng: For intervals above 16 seeds.
        confidence: Nominal coverage in (0, 1).

    Raises:
        ValueError: as `dose_response`; a limit that is 0 or not finite.
    """
    at, given = _checked(doses, changes)
    if not math.isfinite(limit) or limit == 0:
        raise ValueError(f"limit must be finite and not 0, got {limit}")
    falling = _falls(at, given, limit, rng)
    low, high = _bands(given, rng, confidence)
    bounded = not np.isnan(low).any()
    # Of a falling curve: what bounds an earlier dose from above bounds all later ones too, and the other way round.
    if falling:
        low, high = np.maximum.accumulate(low[::-1])[::-1], np.minimum.accumulate(high)
        first, last = low, high
    else:
        low, high = np.maximum.accumulate(low), np.minimum.accumulate(high[::-1])[::-1]
        first, last = high, low
    fit = isotonic(given.mean(axis=0), falling)
    start, end, fitted = (first_beyond(band, limit, falling) for band in (first, last, fit))
    # Bands that contradict each other belong to no monotone curve.
    bounded = bounded and start <= end
    return Threshold(
        limit,
        falling,
        (float(at[max(fitted - 1, 0)]), _dose(at, fitted)),
        (_dose(at, start) if start == len(at) else float(at[max(start - 1, 0)])) if bounded else math.nan,
        _dose(at, end) if bounded else math.nan,
        (float(at[0]), float(at[-1])),
        len(given),
        reliable=bounded and len(given) >= MIN_SEEDS,
    )


def _dose(doses: NDArray[np.float64], index: int) -> float:
    """That dose; inf beyond the last."""
    return float(doses[index]) if index < len(doses) else math.inf


def _slopes(doses: NDArray[np.float64], changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each seed's least-squares slope of change on dose, `(S,)`."""
    centred = doses - doses.mean()
    slopes: NDArray[np.float64] = changes @ centred / (centred @ centred)
    return slopes


def _falls(doses: NDArray[np.float64], changes: NDArray[np.float64], limit: float, rng: np.random.Generator) -> bool:
    """Whether the limit is to be reached by falling."""
    side = -1.0 if limit < 0 else 1.0
    begins_beyond = side * changes[:, 0].mean() > side * limit
    slopes = _slopes(doses, changes)
    cured = begins_beyond and side * slopes.mean() < 0 and permutation_p(slopes, rng) < SIGNIFICANT
    return (limit < 0) != cured


def _bands(
    changes: NDArray[np.float64], rng: np.random.Generator, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds of `paired_interval` for each column, `(D,)` each; nan with one seed."""
    num_seeds, num_doses = changes.shape
    if num_seeds == 1:
        return np.full(num_doses, np.nan), np.full(num_doses, np.nan)
    low = high = changes.mean(axis=0)
    spread = np.array([not all_equal(column) for column in changes.T])
    if spread.any():
        low, high = low.copy(), high.copy()
        low[spread], high[spread] = mean_bounds(changes.T[spread], sign_flips(num_seeds, rng), confidence)
    return low, high


def _checked(doses: ArrayLike, changes: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at, given = np.asarray(doses, np.float64), np.asarray(changes, np.float64)
    if at.ndim != 1 or len(at) < 2 or given.ndim != 2 or given.shape[1] != len(at) or len(given) < 1:
        raise ValueError(f"expected doses (D,), D >= 2, and changes (S, D), got {at.shape} and {given.shape}")
    if not (np.isfinite(at).all() and np.isfinite(given).all()):
        raise ValueError("expected finite doses and changes")
    if (np.diff(at) <= ROUNDING).any():
        raise ValueError(f"expected ascending doses, got {at.tolist()}")
    return at, given
