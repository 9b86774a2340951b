"""Buffer of scenarios that were played: how often, with which scores, and which are worth playing again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kerf.generators.adversary import Adversary, Kept, Outcome
from kerf.generators.base import GeneratorSettings
from kerf.lab.attack_objective import learnability
from kerf.lab.world import World

Priority = Literal["score", "learnability"]

_COLUMNS: Mapping[str, type] = {"keys": np.uint64, "plays": np.int64, "total": np.float64, "last": np.int64}


class Memory:
    """Statistics of the scenarios in an adversary's slots, tells left out.

    Args:
        num_slots: Number of slots.
        priority: Criterion of their rank: the mean score of their plays, or `kerf.lab.attack_objective.learnability` of
            the share of successes `(total + 1) / (plays + 2)`, which is high for scenarios that were seldom played.
        temperature: beta > 0 of the rank weights `rank^(-1 / beta)` (Jiang, Grefenstette and Rocktaeschel 2021,
            *Prioritized level replay*); ties share the weights of their ranks.
        staleness: Weight in [0, 1] of the staleness distribution: proportional to the time since the last play.
    """

    def __init__(self, num_slots: int, priority: Priority, temperature: float, staleness: float) -> None:
        self.by, self.temperature, self.staleness = priority, temperature, staleness
        self.keys = np.zeros(num_slots, np.uint64)
        self.plays = np.zeros(num_slots, np.int64)
        self.total = np.zeros(num_slots, np.float64)
        self.last = np.zeros(num_slots, np.int64)
        self.clock = 0

    @property
    def promising(self) -> bool:
        """Whether any scenario has scored at all."""
        return bool((self.total > 0.0).any())

    def learn(self, keys: NDArray[np.uint64], scores: NDArray[np.float64]) -> Kept:
        """Add plays of the scenarios with these identities `(n,)`, and their scores `(n,)`.

        New ones fill empty slots, and then replace others of lower priority.

        Returns:
            Rows that are new, and their slots.
        """
        self.clock += 1
        kinds, first, kind, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        totals = np.bincount(kind, scores, len(kinds)).astype(np.float64)
        slots = self._find(kinds)
        known = slots >= 0
        self.plays[slots[known]] += counts[known]
        self.total[slots[known]] += totals[known]
        self.last[slots[known]] = self.clock
        new = np.flatnonzero(~known)
        worth = self._worth(counts[new], totals[new])
        best = np.lexsort((first[new], -worth))
        new, worth = new[best], worth[best]
        empty = np.flatnonzero(self.plays == 0)[: len(new)]
        self._put(empty, kinds[new[: len(empty)]], counts[new[: len(empty)]], totals[new[: len(empty)]])
        late, worth = new[len(empty) :], worth[len(empty) :]
        there = self._worth(self.plays, self.total)
        there[empty] = np.inf  # just added
        worst = np.argsort(there, kind="stable")[: len(late)]
        late = late[: len(worst)]
        better = worth[: len(worst)] > there[worst]
        self._put(worst[better], kinds[late[better]], counts[late[better]], totals[late[better]])
        return Kept(
            np.concatenate((empty, worst[better])), np.concatenate((first[new[: len(empty)]], first[late[better]]))
        )

    def pick(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`n` filled slots `(n,)`, sampled by priority and staleness; at least one must be filled."""
        filled = np.flatnonzero(self.plays)
        worth = self._worth(self.plays[filled], self.total[filled])
        by_rank = np.arange(1.0, len(worth) + 1.0) ** (-1.0 / self.temperature)
        _, place, counts = np.unique(-worth, return_inverse=True, return_counts=True)
        weights = (np.add.reduceat(by_rank, np.cumsum(counts) - counts) / counts)[place]
        probs = weights / weights.sum()
        age = (self.clock - self.last[filled]).astype(np.float64)
        if age.sum() > 0.0:
            probs = (1.0 - self.staleness) * probs + self.staleness * age / age.sum()
        return np.asarray(filled[pick(probs, n, rng)], np.int64)

    def get_state(self) -> dict[str, Any]:
        """The state, as plain JSON values."""
        filled = np.flatnonzero(self.plays)
        columns = {name: getattr(self, name)[filled].tolist() for name in _COLUMNS}
        return {"clock": self.clock, "slots": filled.tolist(), **columns}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `get_state`; raises `ValueError` for anything else."""
        if set(state) != {"clock", "slots", *_COLUMNS}:
            raise ValueError(f"expected a memory with {sorted(_COLUMNS)}, got {sorted(state)}")
        slots = np.array(state["slots"], np.int64)
        for name, dtype in _COLUMNS.items():
            column: NDArray[Any] = np.zeros(len(self.plays), dtype)
            column[slots] = np.array(state[name], dtype)
            setattr(self, name, column)
        self.clock = int(state["clock"])

    def _worth(self, plays: NDArray[np.int64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.by == "learnability":
            return learnability((total + 1.0) / (plays + 2.0))
        return np.divide(total, plays, out=np.zeros(len(plays)), where=plays > 0)

    def _find(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The slot of each key, or -1, `(n,)`."""
        filled = np.flatnonzero(self.plays)
        if len(filled) == 0:
            return np.full(len(keys), -1, np.int64)
        order = filled[np.argsort(self.keys[filled])]
        found = order[np.minimum(np.searchsorted(self.keys[order], keys), len(order) - 1)]
        return np.where(self.keys[found] == keys, found, -1)

    def _put(
        self,
        slots: NDArray[np.int64],
        keys: NDArray[np.uint64],
        plays: NDArray[np.int64],
        total: NDArray[np.float64],
    ) -> None:
        self.keys[slots], self.plays[slots], self.total[slots] = keys, plays, total
        self.last[slots] = self.clock


def pick(probs: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`n` draws with replacement from unnormalised `probs` `(m,)` of positive sum, `(n,)`."""
    edges = np.cumsum(probs)
    return np.minimum(np.searchsorted(edges, rng.random(n) * edges[-1], side="right"), len(probs) - 1)


class Remembering(Adversary):
    """An adversary that keeps played scenarios in its slots, ranked, and learns nothing else.

    Args:
        world: As in `Adversary`.
        settings: As in `Adversary`.
        memory: Ranks the kept scenarios; determines the number of slots.
    """

    def __init__(self, world: World, settings: GeneratorSettings, memory: Memory) -> None:
        super().__init__(world, settings, len(memory.keys))
        self.memory = memory

    def _learn(self, outcome: Outcome) -> Kept:
        return self.memory.learn(self.forging.identity(outcome.scenarios), outcome.scores)

    def report(self) -> dict[str, Any]:
        return {**super().report(), "remembered": int(self.filled.sum())}

    def _get_learnt(self) -> dict[str, Any]:
        return self.memory.get_state()

    def _set_learnt(self, learnt: Mapping[str, Any]) -> None:
        self.memory.set_state(learnt)
