"""Yoked controls: as many penalties as another arm received, for nothing that was done or for an unrelated act
(Church 1964, Psychological Bulletin 62:122)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def deal(penalty_counts: Sequence[int], n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The steps of `n` episodes that are penalised, `(T, n)`.

    At each step, every set of `penalty_counts[t]` episodes is equally likely. No episode is penalised twice before all
    were once, because a yoked partner is penalised once per episode, too.

    Args:
        penalty_counts: `(T,)`, number of episodes penalised at each step, from 0 to `n`.
        n: Number of episodes.
        rng: Draws one permutation of the episodes.
    """
    order = rng.permutation(n)
    dealt = np.zeros((len(penalty_counts), n), np.bool_)
    first = 0
    for t, count in enumerate(penalty_counts):
        dealt[t, order[np.arange(first, first + count) % n]] = True
        first += count
    return dealt


def delayed(penalty_counts: Sequence[tuple[int, ...]], delay: int) -> tuple[tuple[int, ...], ...]:
    """The same penalties `delay` iterations later: `(K, T)` counts, as many iterations as before.

    Raises:
        ValueError: if there are penalties in the last `delay` iterations, which would then never fall.
    """
    if any(any(row) for row in penalty_counts[len(penalty_counts) - delay :]):
        raise ValueError(f"penalties of the last {delay} iterations would never fall")
    none = tuple((0,) * len(row) for row in penalty_counts[:delay])
    return (*none, *penalty_counts[: len(penalty_counts) - delay])


def on_event(dealt: NDArray[np.bool_], happens: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same number of penalties, or fewer, on an event: `(T, n)`.

    Episodes in which the event happens are penalised when it happens for the first time, in their order and as many as
    `dealt` penalises; if there are fewer of them, all.

    Args:
        dealt: `(T, n)`, the penalties of `deal`, of which only the number matters.
        happens: `(T, n)`, the steps at which the event happens.
    """
    episodes = np.flatnonzero(happens.any(axis=0))[: np.count_nonzero(dealt)]
    moved = np.zeros_like(dealt)
    moved[happens[:, episodes].argmax(axis=0), episodes] = True
    return moved
