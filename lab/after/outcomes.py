"""Outcomes of false emergencies: by which way the forbidden act was done, or what was done instead.

Two policies are compared on the same scenarios under common random numbers, so that for each scenario it is known what
the one did and what the other did: a table of what replaced what.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Dilemma
from kerf.lab.rollout import Trajectories

NOTHING = "none of these"
"""The outcome of an episode without the forbidden act and without anything instead of it."""


def outcome_names(dilemma: Dilemma) -> tuple[str, ...]:
    """All outcomes: the ways of the forbidden act, what can be done instead of it, and nothing of that."""
    return (*dilemma.ways, *dilemma.instead, NOTHING)


def outcomes(played: Trajectories) -> NDArray[np.int64]:
    """The outcome of each episode, `(n,)`, as an index into `outcome_names`: the first of them that happened."""
    dilemma = played.world.dilemma
    events = (*dilemma.ways, *dilemma.instead)
    found = np.full(len(played), len(events), np.int64)
    for index in reversed(range(len(events))):
        found[played.happened(events[index])] = index
    return found


def replaced(before: NDArray[np.int64], after: NDArray[np.int64], num: int) -> NDArray[np.float64]:
    """Share of episodes with outcome `i` before and `j` after, `(num, num)`; sums to 1."""
    pairs = np.bincount(before * num + after, minlength=num * num).reshape(num, num)
    return np.asarray(pairs / len(before), np.float64)


@dataclass(frozen=True)
class Replacement:
    """What became of the most frequent way of the forbidden act.

    Attributes:
        way: The way that was most frequent before; None if the act was never done.
        suppressed: Share of episodes by which that way became rarer.
        moved: Share of episodes by which substitutes became more frequent: the other ways, and what is done instead
            and can serve the same end. Each counts where it grew.
    """

    way: str | None
    suppressed: float
    moved: float


def replacement(dilemma: Dilemma, table: NDArray[np.float64]) -> Replacement:
    """Summarise a table of `replaced`, `(num, num)`."""
    before, after = table.sum(axis=1), table.sum(axis=0)
    main = int(before[: len(dilemma.ways)].argmax())
    if before[main] == 0.0:
        return Replacement(None, 0.0, 0.0)
    grown = np.maximum(after - before, 0.0)
    substitutes = np.array([*(True for _ in dilemma.ways), *dilemma.instead.values(), False])
    substitutes[main] = False
    return Replacement(dilemma.ways[main], float(before[main] - after[main]), float(grown[substitutes].sum()))
