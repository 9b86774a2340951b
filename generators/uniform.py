"""Forgeries without a search: the control that tells a search from mere breadth."""

from __future__ import annotations

import numpy as np

from kerf.generators.adversary import Adversary, Kept, Outcome, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

TRIES = (1, 2, 4, 8, 16)
"""How many draws are looked at in each round, for those of which none was plausible yet; what then is none will be
refused, and counted. In `station` a sixth of all draws is plausible."""


class Uniform(Adversary):
    """Blind, even draws over all that can be forged: every field that a forger chooses anew each time, all values that
    nature's forgeries take alike. It learns nothing from scores, so whatever finds no sooner than this has not
    searched."""

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Its settings fit every world."""

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        scenarios = fresh.copy()
        left = np.arange(len(fresh))
        for tries in TRIES:
            drawn = np.repeat(fresh[left], tries, axis=0)
            for column, values in zip(self.forging.columns, self.forging.values, strict=True):
                drawn[:, column] = values[rng.integers(0, len(values), len(drawn))]
            plausible = self.forging.plausible(drawn).reshape(len(left), tries)
            scenarios[left] = drawn.reshape(len(left), tries, -1)[np.arange(len(left)), plausible.argmax(axis=1)]
            left = left[~plausible.any(axis=1)]
            if len(left) == 0:
                break
        return Proposal(scenarios)

    def _learn(self, outcome: Outcome) -> Kept | None:
        return None
