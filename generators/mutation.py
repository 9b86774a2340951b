"""Edits of the best scenarios: ACCEL (Parker-Holder et al. 2022, *Evolving curricula with regret-based environment
design*)."""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from kerf.generators.adversary import FRESH, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.generators.edits import edit
from kerf.generators.memory import Memory, Remembering
from kerf.generators.replay import Share, Slots, Temperature
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


class MutationSettings(GeneratorSettings):
    """Settings of `mutation`."""

    memory: Slots = 1024
    """How many scenarios are remembered."""

    fresh: Share = 0.2
    """Share of the scenarios that are nature's, as they are."""

    share: Share = 0.3
    """Share of them that are played again as they were, once any has scored. The others are edited."""

    rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Chance of each field that a forger chooses to be drawn anew in an edit."""

    temperature: Temperature = 0.3
    """How much the best are preferred as parents; less is more."""

    staleness: Share = 0.1
    """Share of the parents that goes by how long they were not played."""

    @model_validator(mode="after")
    def _leaves_edits(self) -> Self:
        if self.fresh + self.share >= 1.0:
            raise ValueError(
                f"fresh + share must be below 1, so that something is edited, not {self.fresh + self.share}"
            )
        return self


class Mutation(Remembering):
    """Remembers what scored, and edits it; until anything has, it edits nature's forgeries."""

    settings_model = MutationSettings

    def __init__(self, world: World, settings: MutationSettings) -> None:
        self.settings = settings
        memory = Memory(settings.memory, "score", settings.temperature, settings.staleness)
        super().__init__(world, settings, memory)

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Its settings fit every world."""

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        n = len(fresh)
        lot = rng.random(n)
        natural = lot < self.settings.fresh
        base = np.full(n, FRESH, np.int64)
        again = np.zeros(n, np.bool_)
        if self.memory.promising:
            base[~natural] = self.memory.pick(int((~natural).sum()), rng)
            again = ~natural & (lot < self.settings.fresh + self.settings.share)
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        edited = ~natural & ~again
        scenarios[edited] = edit(self.forging, scenarios[edited], rng, self.settings.rate)
        return Proposal(scenarios, base)
