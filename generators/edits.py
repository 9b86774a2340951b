"""Edits: other values in some of the fields that a forger chooses."""

from __future__ import annotations

import numpy as np

from kerf.lab.forging import Forging
from kerf.lab.scenario import Scenarios

ROUNDS = 4
"""Times that an implausible edit is tried again; if it still is, it is refused and counted."""


def edit(forging: Forging, parents: Scenarios, rng: np.random.Generator, rate: float) -> Scenarios:
    """An edited copy of each of `parents` `(n, F)`.

    Each field that a forger chooses changes with probability `rate`, and at least one is drawn anew: uniformly from all
    values in nature's forgeries.
    """
    children = parents.copy()
    if len(forging.columns) == 0:
        return children
    left = np.arange(len(parents))
    for _ in range(ROUNDS):
        changes = rng.random((len(left), len(forging.columns))) < rate
        changes[np.arange(len(left)), rng.integers(0, len(forging.columns), len(left))] = True
        rows = parents[left]
        for place, (column, values) in enumerate(zip(forging.columns, forging.values, strict=True)):
            drawn = values[rng.integers(0, len(values), len(left))]
            rows[:, column] = np.where(changes[:, place], drawn, rows[:, column])
        children[left] = rows
        left = left[~forging.plausible(rows)]
        if len(left) == 0:
            break
    return children
