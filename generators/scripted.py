"""Scripted adversary: forgeries as the world draws them, without a search."""

from __future__ import annotations

import numpy as np

from kerf.generators.base import Generator, GeneratorSettings
from kerf.lab.dilemma import Mix
from kerf.lab.forging import refuse_without_forgeries
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


class Scripted(Generator):
    """False emergencies only, each tell giving the forgery away with probability 1 - strength.

    Raises:
        KerfError: if the world has none.
    """

    def __init__(self, world: World, settings: GeneratorSettings) -> None:
        super().__init__(world)
        refuse_without_forgeries(world)
        self.strength = settings.strength

    def mix(self) -> Mix:
        return Mix(natural=0.0, strength=self.strength)

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return self.world.dilemma.forge(n, self.strength, rng)
