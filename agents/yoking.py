"""Yoked control: penalties that do not depend on what was done (Church 1964, Psychological Bulletin 62:122)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def deal(penalty_counts: Sequence[int], n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of `n` episodes are penalised at which step, `(T, n)`.

    At each step, every set of `penalty_counts[t]` episodes is equally likely. No episode is penalised twice as long as
    there are others, because a partner whose act ends the matter is penalised once an episode too.

    Args:
        penalty_counts: `(T,)`, how many episodes are penalised at each step, from 0 to `n`.
        n: Episodes.
        rng: Draws one order of the episodes.
    """
    order = rng.permutation(n)
    dealt = np.zeros((len(penalty_counts), n), np.bool_)
    first = 0
    for t, count in enumerate(penalty_counts):
        dealt[t, order[np.arange(first, first + count) % n]] = True
        first += count
    return dealt
