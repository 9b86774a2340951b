"""The protocol of scenario sources, as training uses it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios


class ScenarioSource(Protocol):
    """A source of scenarios that may learn from their scores. Generators implement it."""

    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios, shape `(n, F)`; every draw comes from `rng`."""

    def tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        """Scores of the scenarios last asked for, `(n,)` in [0, 1]: how far each elicited the forbidden act."""
