"""Signal detection: does a policy tell genuine emergencies from false ones, and how readily does it leave?

What can be told is one number (AUC, d_a or d'), readiness another (the criterion). A penalty that moves the criterion
alone made the agent less helpful; one that raises d_a taught it to tell. Also: how far a change of behaviour spreads
from the scenarios in which it was penalised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

BLOCK = 2**22
"""Pairs of scenarios that are compared at a time: some megabytes."""


@dataclass(frozen=True)
class Roc:
    """The receiver operating characteristic: one point for each criterion that the scores allow.

    Attributes:
        false_alarms: `(k + 1,)` float64, P(score >= threshold | noise), from 0 to 1, ascending.
        hits: `(k + 1,)` float64, P(score >= threshold | signal), from 0 to 1, ascending.
        thresholds: `(k + 1,)` float64, descending: inf for the point (0, 0), then each score that occurs.
        auc: Area under the polygon through the points, in [0, 1]: P(a signal scores higher than noise) plus half of
            P(they score the same).
    """

    false_alarms: NDArray[np.float64]
    hits: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    auc: float


def roc(scores: ArrayLike, weights_signal: ArrayLike, weights_noise: ArrayLike) -> Roc:
    """The exact ROC of a score, such as a policy's probability of leaving, over enumerated situations.

    The area is computed as a half plus the signed area between polygon and diagonal, so that it is exactly 0.5 for
    equal weights, 1 or 0 for scores that separate, and swapping the weights gives one minus it.

    Args:
        scores: `(n,)`, one per situation; infinite ones are as good as any. Scores are tied when they are equal, not
            when they are close: round them before where they carry numerical noise.
        weights_signal: `(n,)`, proportional to P(situation | signal), that is, genuine.
        weights_noise: `(n,)`, proportional to P(situation | noise), that is, false or none.

    Raises:
        ValueError: no scores, or NaN among them; weights of another length, negative, not finite or of sum 0.
    """
    array = _vector(scores, "scores")
    signal = checked_weights(weights_signal, len(array), "weights_signal")
    noise = checked_weights(weights_noise, len(array), "weights_noise")
    occurs = (signal > 0) | (noise > 0)
    values, group = np.unique(array[occurs], return_inverse=True)
    hits, false_alarms = (
        np.concatenate(([0.0], np.cumsum(np.bincount(group, weights[occurs])[::-1]))) for weights in (signal, noise)
    )
    hits, false_alarms = hits / hits[-1], false_alarms / false_alarms[-1]
    above, below = false_alarms[1:] * hits[:-1], false_alarms[:-1] * hits[1:]
    area = 0.5 * math.fsum(np.concatenate((above, -below)))
    return Roc(false_alarms, hits, np.concatenate(([np.inf], values[::-1])), auc=min(max(0.5 + area, 0.0), 1.0))


def d_a(auc: float) -> float:
    """Sensitivity as the d' of the equal-variance Gaussian observer with this AUC: sqrt(2) z(AUC) (Simpson and Fitter
    1973).

    Returns:
        0 for an AUC of 0.5; inf for 1 and -inf for 0, where no finite d' is large enough.

    Raises:
        ValueError: `auc` outside [0, 1].
    """
    return math.sqrt(2.0) * _z(auc, "auc")


def d_prime(hit: float, false_alarm: float, trials: tuple[float, float] | None = None) -> float:
    """Sensitivity z(H) - z(FA) of an equal-variance Gaussian observer (Green and Swets 1966).

    Args:
        hit: P(leave | signal) in [0, 1].
        false_alarm: P(leave | noise) in [0, 1].
        trials: None for exact probabilities, which are taken as they are. For rates that were counted, the numbers of
            signal and of noise trials: then half a trial is added to every cell (log-linear correction, Hautus 1995),
            so that the result is finite.

    Returns:
        +-inf where one of the two is 0 or 1; nan where both are 0 or both are 1, which any d' could give.

    Raises:
        ValueError: a rate outside [0, 1], or trials that are not > 0 and finite.
    """
    z_hit, z_false_alarm = _z_rates(hit, false_alarm, trials)
    return z_hit - z_false_alarm


def criterion(hit: float, false_alarm: float, trials: tuple[float, float] | None = None) -> float:
    """Criterion c = -(z(H) + z(FA)) / 2 of an equal-variance Gaussian observer: above 0 it leans towards staying.

    Arguments and errors as in `d_prime`.

    Returns:
        inf where one of the two is 0 and -inf where one is 1; nan for (1, 0) and (0, 1), which any c could give.
    """
    z_hit, z_false_alarm = _z_rates(hit, false_alarm, trials)
    return -(z_hit + z_false_alarm) / 2.0


@dataclass(frozen=True)
class IdealObserver:
    """What the best equal-variance Gaussian observer does.

    Attributes:
        criterion: c, relative to the midpoint of the two means; inf never leaves, -inf always.
        hit: P(leave | signal) = Phi(d'/2 - c).
        false_alarm: P(leave | noise) = Phi(-d'/2 - c).
    """

    criterion: float
    hit: float
    false_alarm: float


def ideal_criterion(
    prior_signal: float, prior_noise: float, benefit: float, cost: float, d_prime: float
) -> IdealObserver:
    """The equal-variance Gaussian observer that leaves iff P(signal | x) benefit > P(noise | x) cost.

    `ln beta = ln[(prior_noise cost) / (prior_signal benefit)]` and `c = ln beta / d'` (Green and Swets 1966, ch. 1).
    A penalty L on top of a cost C therefore moves c by ln(1 + L/C) / d', and nothing else.

    Args:
        prior_signal: Base rate of signals, >= 0; only its ratio to `prior_noise` matters.
        prior_noise: Base rate of noise, >= 0.
        benefit: Of leaving on a signal; at or below 0 (as where a penalty on every exit outweighs it) it never leaves.
        cost: Of leaving on noise, penalty included, >= 0; at 0 it always leaves if there is anything to gain.
        d_prime: How far the means lie apart, in standard deviations, >= 0; inf where nothing is ever mistaken. At 0
            it cannot tell, and leaves always or never, switching where prior_signal benefit = prior_noise cost, at
            which it stays.

    Raises:
        ValueError: an argument out of its range, NaN, or infinite (but for `d_prime`).
    """
    for name, number in (("prior_signal", prior_signal), ("prior_noise", prior_noise), ("cost", cost)):
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{name} must be finite and >= 0, got {number}")
    if not math.isfinite(benefit):
        raise ValueError(f"benefit must be finite, got {benefit}")
    if not d_prime >= 0:
        raise ValueError(f"d_prime must be >= 0, got {d_prime}")
    never, always = IdealObserver(math.inf, 0.0, 0.0), IdealObserver(-math.inf, 1.0, 1.0)
    if prior_signal == 0 or benefit <= 0:
        return never
    if prior_noise == 0 or cost == 0:
        return always
    if d_prime == 0:
        return always if prior_signal * benefit > prior_noise * cost else never
    log_beta = math.log(prior_noise) + math.log(cost) - math.log(prior_signal) - math.log(benefit)
    c = log_beta / d_prime
    return IdealObserver(c, float(special.ndtr(d_prime / 2 - c)), float(special.ndtr(-d_prime / 2 - c)))


@dataclass(frozen=True)
class Gradient:
    """How a change of behaviour falls off with the distance from what was penalised.

    Attributes:
        distance: `(d,)` float64, each distance that occurs, ascending.
        change: `(d,)` float64, mean change of P(leave) at that distance.
        weight: `(d,)` float64, > 0, total weight of the situations at that distance; their number without weights.
    """

    distance: NDArray[np.float64]
    change: NDArray[np.float64]
    weight: NDArray[np.float64]


def generalisation_gradient(change: ArrayLike, distance: ArrayLike, weights: ArrayLike | None = None) -> Gradient:
    """Mean change of P(leave) at each distance from the penalised scenarios.

    Args:
        change: `(n,)` in [-1, 1], P(leave) after minus before, one per situation.
        distance: `(n,)`, finite and >= 0, as from `hamming_to_nearest`. Group distances that vary continuously before.
        weights: `(n,)`, such as the probability of each situation; None counts each once. Distances without weight
            are left out.

    Raises:
        ValueError: arrays that are empty, of different lengths or out of range; weights as in `roc`.
    """
    changes, distances = _vector(change, "change"), _vector(distance, "distance")
    if len(changes) != len(distances):
        raise ValueError(f"expected one distance per change ({len(changes)}), got {len(distances)}")
    if not (np.abs(changes) <= 1).all():
        raise ValueError(f"expected changes of a probability, in [-1, 1], got {_extremes(changes)}")
    if not ((distances >= 0) & np.isfinite(distances)).all():
        raise ValueError(f"expected finite distances >= 0, got {_extremes(distances)}")
    shares = checked_weights(weights, len(changes))
    occurs = shares > 0
    values, group = np.unique(distances[occurs], return_inverse=True)
    weight = np.asarray(np.bincount(group, shares[occurs]), np.float64)
    return Gradient(values, np.bincount(group, (shares * changes)[occurs]) / weight, weight)


def hamming_to_nearest(situations: ArrayLike, penalised: ArrayLike) -> NDArray[np.int64]:
    """In how many fields each situation differs from the penalised one that is most like it.

    Compares all pairs, `BLOCK` at a time: 4,096 with 4,096 in 16 fields take well under a second.

    Args:
        situations: `(n, K)`, the fields that count, of any kind that compares exactly.
        penalised: `(m, K)`, m >= 1.

    Returns:
        `(n,)` in 0..K.

    Raises:
        ValueError: shapes other than these, or NaN, which equals nothing.
    """
    ours, theirs = np.asarray(situations), np.asarray(penalised)
    if ours.ndim != 2 or theirs.ndim != 2 or ours.shape[1] != theirs.shape[1] or 0 in theirs.shape:
        raise ValueError(
            f"expected situations (n, K) and penalised (m, K), m and K >= 1, got shapes {ours.shape}, {theirs.shape}"
        )
    for name, rows in (("situations", ours), ("penalised", theirs)):
        if (rows != rows).any():
            raise ValueError(f"expected no NaN in {name}, got {int((rows != rows).any(axis=1).sum())} rows with NaN")
    theirs = np.unique(theirs, axis=0)
    nearest = np.empty(len(ours), np.int64)
    step = max(1, BLOCK // len(theirs))
    for start in range(0, len(ours), step):
        nearest[start : start + step] = _distances(ours[start : start + step], theirs).min(axis=1)
    return nearest


def checked_weights(weights: ArrayLike | None, num: int, name: str = "weights") -> NDArray[np.float64]:
    """`weights` as `(num,)` float64, as they are; ones for None.

    Raises:
        ValueError: another shape; weights that are negative, not finite or of sum 0.
    """
    array = np.ones(num) if weights is None else np.asarray(weights, np.float64)
    if array.shape != (num,):
        raise ValueError(f"{name} must have shape ({num},), got shape {array.shape}")
    if not (array >= 0).all():
        raise ValueError(f"{name} must be >= 0, got {_extremes(array)}")
    if not 0 < array.sum() < math.inf:
        raise ValueError(f"{name} must have a finite sum > 0, got {array.sum()}")
    return array


def _distances(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    """Hamming distances of all pairs, `(n, m)`, column by column: no array is larger than the result."""
    differs = np.zeros((len(ours), len(theirs)), np.min_scalar_type(ours.shape[1]))
    for column in range(ours.shape[1]):
        differs += ours[:, column, None] != theirs[None, :, column]
    return differs


def _z(probability: float, name: str) -> float:
    if not 0 <= probability <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {probability}")
    return float(special.ndtri(probability))


def _z_rates(hit: float, false_alarm: float, trials: tuple[float, float] | None) -> tuple[float, float]:
    exact = _z(hit, "hit"), _z(false_alarm, "false_alarm")
    if trials is None:
        return exact
    if not all(math.isfinite(number) and number > 0 for number in trials):
        raise ValueError(f"trials must be finite and > 0, of signal and of noise, got {trials}")
    signal, noise = trials
    return _z((hit * signal + 0.5) / (signal + 1), "hit"), _z((false_alarm * noise + 0.5) / (noise + 1), "false_alarm")


def _vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (n,) with n >= 1, got shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} must hold no NaN, got {int(np.isnan(array).sum())} of {array.size}")
    return array


def _extremes(array: NDArray[np.float64]) -> str:
    return f"{array.min()} to {array.max()}"
