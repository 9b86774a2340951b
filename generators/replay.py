"""Prioritised level replay (Jiang et al. 2021) on nature's forgeries."""

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
    """Number of scenarios that are kept."""

    share: Share = 0.5
    """Share of scenarios that are replayed, once any has scored."""

    priority: Priority = "score"
    """Criterion of replay: the highest mean score, or learnability, which is highest at a success rate of 1/2."""

    temperature: Temperature = 0.3
    """Temperature of the rank weights; lower values prefer the best more."""

    staleness: Share = 0.1
    """Share of replays that are sampled by staleness."""


class Replay(Remembering):
    """Replays forgeries that nature drew, unedited: it finds them no sooner than nature, but plays them more often."""

    settings_model = ReplaySettings

    def __init__(self, world: World, settings: ReplaySettings) -> None:
        self.share = settings.share
        memory = Memory(settings.memory, settings.priority, settings.temperature, settings.staleness)
        super().__init__(world, settings, memory)

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Nothing to check: its settings fit every world."""

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        base = np.full(len(fresh), FRESH, np.int64)
        if self.memory.promising:
            again = rng.random(len(fresh)) < self.share
            base[again] = self.memory.pick(int(again.sum()), rng)
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        return Proposal(scenarios, base)
