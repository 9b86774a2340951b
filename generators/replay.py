"""Prioritised level replay: nature's forgeries, those that did best played again (Jiang et al. 2021)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from kerf.generators.adversary import FRESH, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.generators.memory import Memory, Priority, Remembering
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

Share = Annotated[float, Field(ge=0, le=1)]
Slots = Annotated[int, Field(ge=1, le=65536)]
Temperature = Annotated[float, Field(gt=0, le=100)]


class ReplaySettings(GeneratorSettings):
    """Settings of `replay`."""

    memory: Slots = 1024
    """How many scenarios are remembered."""

    share: Share = 0.5
    """Share of the scenarios that are played again, once any has scored."""

    priority: Priority = "score"
    """Which are: those of the highest mean score, or those that go well half of the time."""

    temperature: Temperature = 0.3
    """How much the best are preferred; less is more."""

    staleness: Share = 0.1
    """Share of what is played again that goes by how long it was not."""


class Replay(Remembering):
    """Changes nothing: it only chooses among what nature drew. So it finds no sooner than nature, but does not let
    go."""

    settings_model = ReplaySettings

    def __init__(self, world: World, settings: ReplaySettings) -> None:
        self.share = settings.share
        memory = Memory(settings.memory, settings.priority, settings.temperature, settings.staleness)
        super().__init__(world, settings, memory)

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Its settings fit every world."""

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        base = np.full(len(fresh), FRESH, np.int64)
        if self.memory.promising:
            again = rng.random(len(fresh)) < self.share
            base[again] = self.memory.pick(int(again.sum()), rng)
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        return Proposal(scenarios, base)
