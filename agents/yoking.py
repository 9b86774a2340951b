"""Yoked control: penalties that do not depend on what was done (Church 1964, Psychological Bulletin 62:122)."""

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
