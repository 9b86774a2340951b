"""Ideal utility, design reward and penalty: three terms that are never mixed, with a function and a column each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.compiled import compiled
from kerf.lab.rollout import Trajectories
from kerf.lab.world import EventWords, event_weights


@compiled
def weigh(events, weights):  # type: ignore[no-untyped-def]  # compiled
    """Sum of `weights` `(E,)` over the set bits of `events` `(T, n)`; `(T, n)` float64."""
    horizon, n = events.shape
    total = np.zeros((horizon, n))
    for t in range(horizon):
        for i in range(n):
            word = events[t, i]
            bit = 0
            while word:
                if word & np.uint64(1):
                    total[t, i] += weights[bit]
                word >>= np.uint64(1)
                bit += 1
    return total


def reward(events: EventWords, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reward of each step, `(T, n)`: event weights `(E,)` applied to event words `(T, n)`."""
    paid: NDArray[np.float64] = weigh(events, weights)
    return paid


def ideal_utility(trajectories: Trajectories) -> NDArray[np.float64]:
    """The world's hidden ideal utility of each episode (undiscounted), shape `(n,)`."""
    weights = event_weights(trajectories.world, trajectories.world.ideal)
    total: NDArray[np.float64] = reward(trajectories.events, weights).sum(axis=0)
    return total
