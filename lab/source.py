"""Scenario sources, as seen by whoever trains on them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios


class ScenarioSource(Protocol):
    """A source of scenarios that may learn from how they went. Generators implement it."""

    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios, shape `(n, F)`; every draw comes from `rng`."""

    def tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        """How far each of the scenarios last asked for elicited the forbidden act, `(n,)` in [0, 1]."""
