"""Branches of exact evaluation: states of scenarios, each with the probability that a policy gets there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.compiled import compiled
from kerf.lab.distinct import distinct
from kerf.lab.world import EventWords, ExactPlay

_EXPONENTS = 80
"""Probabilities below 2^-79 count as equally small."""


@compiled
def count(origin, mass, words, totals):  # type: ignore[no-untyped-def]  # compiled
    """Add `mass` `(m,)` to `totals` `(n, E)` at row `of` `(m,)` for every bit that is set in `words` `(m,)`."""
    for i in range(len(origin)):
        word = words[i]
        bit = 0
        while word:
            if word & np.uint64(1):
                totals[origin[i], bit] += mass[i]
            word >>= np.uint64(1)
            bit += 1


def followed(
    mass: NDArray[np.float64], origin: NDArray[np.int64], allowance: NDArray[np.float64], dropped: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The branches to follow: all but the least likely of each scenario, which may sum to `allowance` `(n,)`.

    The sum that is dropped is added to `dropped` `(n,)`. Branches are ranked by the exponent of their probability
    alone, so a little of the allowance may be left.
    """
    possible = np.flatnonzero(mass > 0.0)
    if not allowance.any():
        return possible
    exponents = np.clip(np.frexp(mass[possible])[1] + _EXPONENTS - 1, 0, _EXPONENTS - 1)
    by_exponent = sums(origin[possible] * _EXPONENTS + exponents, mass[possible], len(dropped) * _EXPONENTS)
    running = by_exponent.reshape(-1, _EXPONENTS).cumsum(axis=1)
    lost = running <= (allowance - dropped)[:, None]
    dropped += np.where(lost, running, 0.0).max(axis=1)
    return possible[~lost[origin[possible], exponents]]


def merged(
    play: ExactPlay,
    origin: NDArray[np.int64],
    past: EventWords,
    memory: NDArray[np.float32],
    mass: NDArray[np.float64],
) -> tuple[ExactPlay, NDArray[np.int64], EventWords, NDArray[np.float32], NDArray[np.float64]]:
    """The same, with equal states of a scenario merged if their past events and memories are equal, too."""
    rows = np.column_stack((origin, past.view(np.int64), memory.view(np.int32), play.state()))
    first, inverse = distinct(rows)
    if len(first) == len(origin):
        return play, origin, past, memory, mass
    return play.fork(first), origin[first], past[first], memory[first], sums(inverse, mass, len(first))


def endings(
    origin: NDArray[np.int64], past: EventWords, mass: NDArray[np.float64]
) -> tuple[NDArray[np.int64], EventWords, NDArray[np.float64]]:
    """The endings of each scenario: rows with equal events of the whole episode are added up."""
    first, inverse = distinct(np.column_stack((origin, past.view(np.int64))))
    return origin[first], past[first], sums(inverse, mass, len(first))


def sums(origin: NDArray[np.int64], mass: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The sum of `mass` `(m,)` at each of `n` places `of` `(m,)`."""
    return np.asarray(np.bincount(origin, mass, n), np.float64)
