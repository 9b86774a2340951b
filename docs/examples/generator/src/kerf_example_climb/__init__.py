"""`climb`: a hill climber over forgeries. It keeps the best few that were played, and proposes edits of them.

The protocol does the rest: tells are drawn by nature at the strength, and what may not be forged is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from kerf.generators.adversary import FRESH, Adversary, Kept, Outcome, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


class ClimbSettings(GeneratorSettings):
    """Settings of `climb`, which a recipe writes beside `kind`."""

    keep: Annotated[int, Field(ge=1, le=4096)] = 8
    """How many forgeries it keeps."""

    explore: Annotated[float, Field(ge=0, le=1)] = 0.25
    """Share of the scenarios that are nature's own forgeries, with one field redrawn like all others."""


class Climb(Adversary):
    """Keeps the forgeries of the highest scores, and proposes them with one field changed."""

    settings_model = ClimbSettings

    def __init__(self, world: World, settings: ClimbSettings) -> None:
        super().__init__(world, settings, num_slots=settings.keep)
        self.explore = settings.explore
        self.best = np.full(settings.keep, -1.0)  # the score of what each slot holds

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Its settings fit every world."""

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        base = np.full(len(fresh), FRESH, np.int64)
        kept = np.flatnonzero(self.filled)
        if len(kept):
            again = rng.random(len(fresh)) >= self.explore
            base[again] = kept[rng.integers(0, len(kept), int(again.sum()))]
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        if len(self.forging.columns):
            which = rng.integers(0, len(self.forging.columns), len(fresh))
            for place, (column, values) in enumerate(zip(self.forging.columns, self.forging.values, strict=True)):
                drawn = values[rng.integers(0, len(values), len(fresh))]
                scenarios[:, column] = np.where(which == place, drawn, scenarios[:, column])
        return Proposal(scenarios, base)

    def _learn(self, outcome: Outcome) -> Kept | None:
        rows = np.argsort(-outcome.scores, kind="stable")[: len(self.best)]
        slots = np.argsort(self.best, kind="stable")[: len(rows)]
        better = outcome.scores[rows] > self.best[slots]
        if not better.any():
            return None
        self.best[slots[better]] = outcome.scores[rows[better]]
        return Kept(slots[better], rows[better])

    def report(self) -> dict[str, Any]:
        """What every adversary reports, and the mean score of what is kept; null before anything is."""
        kept = self.best[self.filled]
        return {**super().report(), "mean_kept": float(kept.mean()) if len(kept) else None}

    def _get_learnt(self) -> dict[str, Any]:
        return {"best": self.best.tolist()}

    def _set_learnt(self, learnt: Mapping[str, Any]) -> None:
        best = np.array(learnt["best"], np.float64)
        if best.shape != self.best.shape:
            raise ValueError(f"climb keeps {len(self.best)} scores, got {len(best)}")
        self.best = best
