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
    """Number of scenarios that are kept."""

    fresh: Share = 0.2
    """Share of scenarios that are unedited forgeries of nature."""

    share: Share = 0.3
    """Share of scenarios that are kept ones played again unedited, once any has scored. The others are edited."""

    rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Probability that an edit redraws a field, for each field that a forger chooses."""

    temperature: Temperature = 0.3
    """Temperature of the rank weights of parents; lower values prefer the best more."""

    staleness: Share = 0.1
    """Share of parents that are sampled by staleness."""

    @model_validator(mode="after")
    def _leaves_edits(self) -> Self:
        if self.fresh + self.share >= 1.0:
            raise ValueError(
                f"fresh + share must be below 1, so that something is edited, not {self.fresh + self.share}"
            )
        return self


class Mutation(Remembering):
    """Keeps scenarios that scored, and edits them; until any has, it edits nature's forgeries."""

    settings_model = MutationSettings

    def __init__(self, world: World, settings: MutationSettings) -> None:
        self.settings = settings
        memory = Memory(settings.memory, "score", settings.temperature, settings.staleness)
        super().__init__(world, settings, memory)

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Nothing to check: its settings fit every world."""

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
