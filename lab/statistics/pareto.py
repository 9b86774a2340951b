"""Pareto fronts of measured points: how sure it is that a point is on the front, by a bootstrap over seeds."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from kerf.lab.statistics.intervals import MIN_SEEDS

RESAMPLES = 2000
"""Resamples of the seeds."""

DECIDED = 0.95
"""Share of the resamples that decides."""


class Place(StrEnum):
    """Where a point is said to be."""

    FRONT = "on the front"
    UNDECIDED = "undecided"
    DOMINATED = "dominated"
    INFEASIBLE = "breaks a floor"


def front_shares(
    scores: NDArray[np.float64], slack: NDArray[np.float64], rng: np.random.Generator, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """The share of the resamples of the seeds in which each point is on the front, `(n,)`.

    A resample draws as many seeds as there are, the same for all points, since points are paired by seed. In it a point
    is on the front if its means satisfy all constraints and no other point that does is at least as good in each score
    and better in one.

    Args:
        scores: `(S, n, d)`, of each seed and point; more is better; nan where a seed has none.
        slack: `(S, n, k)`: a constraint is satisfied if its mean is 0 or more; nan as in `scores`.
        rng: Generator of the resamples.
        resamples: Their number.
    """
    num_seeds = len(scores)
    counts = rng.multinomial(num_seeds, np.full(num_seeds, 1.0 / num_seeds), resamples).astype(np.float64)
    means, room = (_means(counts, of) for of in (scores, slack))  # (resamples, n, d), (resamples, n, k)
    feasible: NDArray[np.bool_] = ~np.any(np.isnan(means), axis=2) & np.all(room >= 0.0, axis=2)
    on_front = feasible.copy()
    for other in range(scores.shape[1]):
        theirs = means[:, other, None]
        beaten: NDArray[np.bool_] = np.all(theirs >= means, axis=2) & np.any(theirs > means, axis=2)
        on_front &= ~(beaten & feasible[:, other, None])
    return np.asarray(on_front.mean(axis=0))


def _means(counts: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over seeds that are drawn `counts` `(r, S)` times, `(r, n, k)`; nan where all are nan."""
    there = np.isfinite(of)
    totals = np.tensordot(counts, np.where(there, of, 0.0), 1)
    weights = np.tensordot(counts, there.astype(np.float64), 1)
    return np.divide(totals, weights, out=np.full_like(totals, np.nan), where=weights > 0.0)


def places(
    scores: NDArray[np.float64], slack: NDArray[np.float64], rng: np.random.Generator
) -> tuple[list[Place], NDArray[np.float64]]:
    """Where each point is, and the shares that say so (`front_shares`), `(n,)`.

    On the front, or not, if that is so in `DECIDED` of the resamples. What is not on the front is infeasible if its own
    means break a constraint or it has none, else dominated. With fewer than `MIN_SEEDS` seeds a point that passes the
    constraints is undecided.
    """
    shares = front_shares(scores, slack, rng)
    once = np.ones((1, len(scores)))
    means, room = _means(once, scores)[0], _means(once, slack)[0]
    feasible = ~np.isnan(means).any(axis=1) & (room >= 0.0).all(axis=1)
    found = []
    for passes, share in zip(feasible.tolist(), shares.tolist(), strict=True):
        off = share <= 1.0 - DECIDED
        if not passes and (off or len(scores) < MIN_SEEDS):
            found.append(Place.INFEASIBLE)
        elif len(scores) < MIN_SEEDS:
            found.append(Place.UNDECIDED)
        else:
            found.append(Place.FRONT if share >= DECIDED else Place.DOMINATED if off else Place.UNDECIDED)
    return found, shares
