"""Natural stream of a world: no adversary."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kerf.generators.base import Generator, GeneratorSettings
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Mix, World, natural


class Natural(Generator):
    """The world's natural stream: its families, drawn by their shares."""

    uses_strength: ClassVar[bool] = False

    def __init__(self, world: World, settings: GeneratorSettings) -> None:
        super().__init__(world)

    def mix(self) -> Mix:
        return Mix(natural=1.0)

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return natural(self.world, n, rng)
