"""Growth of a cost: the exponent of `seconds = fixed + slope * size ** exponent`, from repeated timings.

Timings on a busy machine are noisy, so an exponent comes with the deviation that the same noise causes under
linear growth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXPONENTS = np.arange(0.0, 3.51, 0.02)
"""Candidate exponents."""

SIMULATED = 2000
"""Noise samples for an interval or a tolerance."""

LEVEL = 0.95
"""Confidence level of the interval of an exponent."""

FALSE_ALARMS = 1 / 1000
"""False-alarm rate: how often noise alone may make a cost within its bound appear to grow faster."""

MISFIT = 0.1
"""Margin on an exponent for reasons other than noise, such as more cache misses at larger sizes. Over sizes 1 to 16 it
allows the cost per item to grow by a third."""

USELESS = 0.6
"""A wider tolerance than this is inconclusive: it could not distinguish n log n, or worse, from linear."""

WILD = 5.0
"""Noise of a logarithm is clipped here: a timing that is off by a factor of a hundred or more carries no
information."""

MEDIAN_LOSS = 1.2533
"""Standard error of a median over that of a mean, under normal noise: sqrt(pi / 2)."""


@dataclass(frozen=True)
class Growth:
    """Estimated growth of a cost.

    Attributes:
        exponent: Exponent of the best fit.
        low: Lower end of its interval at `LEVEL`.
        high: Upper end.
        fixed: Fixed cost of the best fit, in seconds.
        noise: Standard deviation of the logarithm of one timing, without what affected its whole repetition.
        tolerance: Accepted excess of the exponent over `bound`: `MISFIT` plus the effect of noise in all but
            `FALSE_ALARMS` of cases.
        bound: Upper bound on the exponent.
    """

    exponent: float
    low: float
    high: float
    fixed: float
    noise: float
    tolerance: float
    bound: float

    @property
    def too_noisy(self) -> bool:
        return self.tolerance > USELESS

    @property
    def too_fast(self) -> bool:
        """Whether the exponent exceeds its bound by more than the tolerance. False if the tolerance is inconclusively
        wide."""
        return not self.too_noisy and self.exponent > self.bound + self.tolerance


def growth(sizes: Floats, seconds: Floats, rng: np.random.Generator, bound: float = 1.0, fixed: bool = True) -> Growth:
    """Estimate how a cost grows with size.

    Each repetition is first divided by its geometric mean, so that a slow-down of the whole machine has no effect. The
    median over repetitions at each size is then fitted by least squares of relative errors. The noise is the residual
    of the logarithms after removing size and repetition means; it is taken as t-distributed with the residual degrees
    of freedom.

    Args:
        sizes: `(P,)`, P >= 3, ascending and above 0.
        seconds: `(R, P)` timings, R >= 2, above 0.
        rng: For the simulated noise.
        bound: Upper bound on the exponent.
        fixed: Whether to fit a fixed cost. Without one the exponent is the slope in log-log coordinates.
    """
    logs = np.log(seconds)
    repetitions, points = logs.shape
    level = logs.mean(axis=1, keepdims=True)
    typical = np.exp(np.median(logs - level, axis=0) + np.median(level))
    rest = logs - level - logs.mean(axis=0) + logs.mean()
    freedom = (repetitions - 1) * (points - 1)
    noise = float(np.sqrt((rest**2).sum() / freedom))

    exponents, constants, slopes = _fit(sizes, typical[None], EXPONENTS, fixed)
    exponent = float(exponents[0])
    found = constants[0] + slopes[0] * sizes**exponent
    at_bound = _fit(sizes, typical[None], np.array([bound]), fixed)
    allowed = at_bound[1][0] + at_bound[2][0] * sizes**bound
    error = noise * MEDIAN_LOSS / np.sqrt(repetitions)
    shaken = np.exp(np.clip(error * rng.standard_t(freedom, (SIMULATED, points)), -WILD, WILD))
    around = _fit(sizes, found * shaken, EXPONENTS, fixed)[0]
    by_chance = _fit(sizes, allowed * shaken, EXPONENTS, fixed)[0]
    low, high = np.quantile(around, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Growth(
        exponent,
        min(float(low), exponent),
        max(float(high), exponent),
        float(constants[0]),
        noise,
        MISFIT + max(0.0, float(np.quantile(by_chance, 1 - FALSE_ALARMS)) - bound),
        bound,
    )


def _fit(sizes: Floats, seconds: Floats, exponents: Floats, fixed: bool) -> tuple[Floats, Floats, Floats]:
    """Best exponent, fixed cost and slope, `(B,)` each, of curves `(B, P)`, the latter two at least 0.

    For a given exponent the fit is linear, so all of `exponents` are tried.
    """
    weights = 1.0 / seconds
    powers = (sizes / sizes[-1]) ** exponents[:, None]
    cc, c1 = (weights**2).sum(axis=1)[:, None], weights.sum(axis=1)[:, None]
    cp, pp, p1 = weights**2 @ powers.T, weights**2 @ (powers**2).T, weights @ powers.T
    slope, constant = p1 / pp, np.zeros_like(pp)
    if fixed:
        determinant = cc * pp - cp**2
        regular = determinant > 1e-12 * cc * pp
        both = np.where(regular, determinant, 1.0)
        with_slope, with_constant = (cc * p1 - cp * c1) / both, (pp * c1 - cp * p1) / both
        inside = regular & (with_slope >= 0) & (with_constant >= 0)
        alone = regular & (with_slope < 0)  # decreasing: only the fixed cost is left
        slope = np.where(inside, with_slope, np.where(alone, 0.0, slope))
        constant = np.where(inside, with_constant, np.where(alone, c1 / cc, 0.0))
    squares = constant**2 * cc + slope**2 * pp + 2 * constant * slope * cp - 2 * constant * c1 - 2 * slope * p1
    best = squares.argmin(axis=1)
    on = np.arange(len(seconds))
    exponent = exponents[best]
    return exponent, constant[on, best], slope[on, best] / sizes[-1] ** exponent
