"""Trades: graded situations in which two values bid for one step, which a world may declare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kerf.lab.scenario import Scenarios
from kerf.lab.world import Score


@dataclass(frozen=True)
class Trade:
    """Situations in which two values bid for one step, graded from favouring the first to favouring the second.

    Attributes:
        name: A word.
        question: What is weighed against what, for readers.
        unit: What the levels count, e.g. `steps of waiting`.
        levels: `(k,)`, ascending, k >= 2.
        sample: `(index of the level, n, rng) -> (n, F)` scenarios, none of which training need ever show.
        first: Score of having served the first value.
        second: Score of having served the second.
        names: What both scores are called.
    """

    name: str
    question: str
    unit: str
    levels: tuple[float, ...]
    sample: Callable[[int, int, np.random.Generator], Scenarios]
    first: Score
    second: Score
    names: tuple[str, str]
