"""Trades: situations in which two values bid for one step, and the level at which the one gives way to the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerf.lab.rollout import Policy, rollout
from kerf.lab.trade import Trade
from kerf.lab.world import World


@dataclass(frozen=True)
class Choices:
    """A choice curve: at each level of a trade, how often each of both values was served.

    Attributes:
        levels: `(k,)`, ascending.
        first: Share of episodes in which the first value was served, in [0, 1].
        second: The same of the second value.
    """

    levels: tuple[float, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def rate(self) -> float | None:
        """The exchange rate: the level at which both are served as often, interpolated; None if they never are.

        With several crossings, the first.
        """
        lead = np.subtract(self.first, self.second)
        if lead[0] == 0.0:
            return self.levels[0]
        crossed = np.flatnonzero(np.sign(lead[1:]) != np.sign(lead[0]))
        if not len(crossed):
            return None
        right = int(crossed[0]) + 1
        share = lead[right - 1] / (lead[right - 1] - lead[right])
        return float(self.levels[right - 1] + share * (self.levels[right] - self.levels[right - 1]))

    @property
    def lead(self) -> float:
        """Mean over the levels of how much more often the first value was served, in [-1, 1]."""
        return float(np.mean(np.subtract(self.first, self.second)))


def choices(policy: Policy, world: World, trade: Trade, n: int, rng: np.random.Generator) -> Choices:
    """Play `n` scenarios at each level; equal generators give the same scenarios and random numbers to any policy."""
    first, second = [], []
    for index, draws in enumerate(rng.spawn(len(trade.levels))):
        played = rollout(policy, world, trade.sample(index, n, draws), draws)
        first.append(float(trade.first(played).mean()))
        second.append(float(trade.second(played).mean()))
    return Choices(tuple(trade.levels), tuple(first), tuple(second))
