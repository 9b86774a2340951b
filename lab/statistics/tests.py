"""Statistics over seeds: the unit of replication is the seed (one aligned checkpoint), in which all is paired.

Intervals are those of `kerf.lab.statistics.intervals`, tests are sign-flip permutations, "no effect" is an equivalence
test, and power is that of a paired t test. Every draw comes from the generator that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from kerf.lab.statistics.intervals import (
    MAX_FLIPS,
    MIN_SEEDS,
    ROUNDING,
    Interval,
    all_equal,
    all_signs,
    clopper_pearson,
    finite,
    paired_interval,
    sign_flips,
)

__all__ = [
    "MAX_FLIPS",
    "MIN_SEEDS",
    "ROUNDING",
    "Interval",
    "benjamini_hochberg",
    "binomial_p",
    "collapse_probability",
    "detectable_shift",
    "holm",
    "noise_floor",
    "paired_collapse_p",
    "paired_interval",
    "permutation_p",
    "smallest_p",
    "tost_p",
]


def permutation_p(differences: ArrayLike, rng: np.random.Generator) -> float:
    """Two-sided paired permutation test of "no difference": the signs of the differences are exchangeable.

    The statistic is the absolute mean. Up to 16 seeds every sign pattern is enumerated and `rng` is not used; above,
    `MAX_FLIPS - 1` random patterns and the observed one are counted (Phipson and Smyth 2010), so p is never 0.

    Args:
        differences: `(S,)`, one per seed.
        rng: Draws the patterns above 16 seeds.

    Returns:
        p in [`smallest_p(S)`, 1].

    Raises:
        ValueError: no differences, or NaN or infinity among them.
    """
    values = finite(differences)
    num = len(values)
    signs = all_signs(num) if 2**num <= MAX_FLIPS else 1.0 - 2.0 * sign_flips(num, rng)
    totals = np.abs(signs @ values)
    # Totals that are equal in exact arithmetic must count as equal, in whatever order they were summed.
    observed = abs(values.sum()) - ROUNDING * np.abs(values).sum()
    return float(np.mean(totals >= observed))


def smallest_p(num_seeds: int) -> float:
    """The smallest p that `permutation_p` can give: 2 of the 2^S sign patterns up to 16 seeds, 1 of 2^16 above."""
    if num_seeds < 1:
        raise ValueError(f"num_seeds must be >= 1, got {num_seeds}")
    return max(2.0 ** (1 - num_seeds), 1.0 / MAX_FLIPS)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's (1979) step-down adjustment of `(m,)` p values: compare each with alpha to keep the family-wise rate.

    Raises:
        ValueError: a p value that is NaN or outside [0, 1].
    """
    p = _probabilities(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini and Hochberg's (1995) adjustment of `(m,)` p values: compare with the false discovery rate."""
    p = _probabilities(p_values)
    largest_first = np.argsort(-p, kind="stable")
    stepped = np.minimum.accumulate(p[largest_first] * len(p) / np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[largest_first] = np.minimum(stepped, 1.0)
    return adjusted


def tost_p(differences: ArrayLike, margin: float = 0.05) -> float:
    """Equivalence test of "the mean is within +-margin": two one-sided paired t tests (Schuirmann 1987).

    Args:
        differences: `(S,)`, one per seed.
        margin: Half-width of the region that counts as no effect, > 0.

    Returns:
        The larger of the two p values. Differences that are all equal have no spread to test against (scores are
        quantised, and may lie at a floor or ceiling): then the sign test's 2^-S inside the margin, 1 on or outside it.
        One seed shows nothing: 1.

    Raises:
        ValueError: margin <= 0; no differences, or NaN or infinity among them.
    """
    if not margin > 0:
        raise ValueError(f"margin must be > 0, got {margin}")
    values = finite(differences)
    if len(values) == 1:
        return 1.0
    if all_equal(values):
        return float(0.5 ** len(values)) if abs(values.mean()) < margin else 1.0
    error = values.std(ddof=1) / math.sqrt(len(values))
    return float(special.stdtr(len(values) - 1, (abs(values.mean()) - margin) / error))


def detectable_shift(sd: float, num_seeds: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The mean difference that a two-sided paired t test finds with probability `power`.

    Args:
        sd: Standard deviation of the paired differences over seeds, >= 0.
        num_seeds: Seeds; below 2 nothing is detectable (inf).
        power: In (alpha, 1).
        alpha: Level of the test in (0, 1).

    Returns:
        The shift, in the unit of `sd`.
    """
    _check_power(sd, power, alpha)
    if num_seeds < 2:
        return math.inf
    if sd == 0:
        return 0.0
    high = 1.0
    while _power(high, num_seeds, alpha) < power:
        high *= 2.0
    from scipy import optimize  # here: it takes a quarter of a second to import, and few ask for it

    standardised = optimize.brentq(lambda shift: _power(shift, num_seeds, alpha) - power, 0.0, high)
    return sd * float(standardised)


def collapse_probability(scores: ArrayLike, threshold: float, confidence: float = 0.95) -> Interval:
    """Share of the seeds whose score is below `threshold`, with its Clopper-Pearson (exact binomial) interval.

    Raises:
        ValueError: no scores, or NaN or infinity among them.
    """
    values = finite(scores)
    below = int((values < threshold).sum())
    low, high = clopper_pearson(below, len(values), (1 - confidence) / 2)
    return Interval(below / len(values), low, high, len(values), reliable=len(values) >= MIN_SEEDS)


def paired_collapse_p(arm: ArrayLike, against: ArrayLike) -> float:
    """Two-sided exact test of "as many seeds collapse in one arm as in the other", paired by seed (McNemar 1947).

    Args:
        arm: `(S,)` bool, whether the seed collapsed in the arm.
        against: The same in the arm to compare with.

    Returns:
        The binomial p of the seeds that collapsed in one of the two only; 1 without such seeds.

    Raises:
        ValueError: other numbers of seeds.
    """
    ours, theirs = np.asarray(arm, bool), np.asarray(against, bool)
    if ours.ndim != 1 or ours.shape != theirs.shape:
        raise ValueError(f"expected two vectors of equal length, got shapes {ours.shape} and {theirs.shape}")
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return binomial_p(only_ours, only_ours + only_theirs)


def binomial_p(successes: int, trials: int) -> float:
    """Two-sided exact binomial test of a success probability of 1/2; 1 without trials.

    Raises:
        ValueError: successes outside [0, trials].
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
    return min(1.0, 2.0 * float(special.bdtr(min(successes, trials - successes), trials, 0.5)))


def noise_floor(draws: Sequence[ArrayLike]) -> float:
    """The instrument's own noise: sd of the score of an unchanged agent, measured again and again.

    Nothing was done to these agents, so this is null against null: the difference of two such measures has a mean of 0
    and sqrt(2) times this sd. It is taken within seeds and pooled over them, so that it does not hold what differs
    between seeds.

    Args:
        draws: For each seed its scores on fresh draws of the probes, `(D,)` with D >= 2; D may differ between seeds.

    Returns:
        The root of the mean of the seeds' variances, in the unit of the scores; 0 for probes that are exact.

    Raises:
        ValueError: no seeds, fewer than two scores of a seed, or NaN or infinity among them.
    """
    by_seed = [finite(scores) for scores in draws]
    if not by_seed or min(map(len, by_seed)) < 2:
        raise ValueError(f"expected two or more scores of every seed, got {[scores.tolist() for scores in by_seed]}")
    return math.sqrt(sum(float(scores.var(ddof=1)) for scores in by_seed) / len(by_seed))


def _power(standardised: float, num_seeds: int, alpha: float) -> float:
    """Power of a two-sided paired t test at a mean of `standardised` standard deviations.

    By the noncentral F distribution of t squared: SciPy's noncentral t gives nan for some large arguments.
    """
    if standardised == 0:
        return alpha
    freedom = num_seeds - 1
    critical = special.stdtrit(freedom, alpha / 2)
    return float(1 - special.ncfdtr(1, freedom, num_seeds * standardised**2, critical**2))


def _check_power(sd: float, power: float, alpha: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd must be finite and >= 0, got {sd}")
    if not 0 < alpha < power < 1:
        raise ValueError(f"expected 0 < alpha < power < 1, got alpha {alpha}, power {power}")


def _probabilities(p_values: ArrayLike | Sequence[float]) -> NDArray[np.float64]:
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"expected p values in [0, 1], shape (m,), got {p.tolist()}")
    return p
