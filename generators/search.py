"""CMA-ES over a continuous relaxation of what a forger chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kerf.generators.adversary import FRESH, Adversary, Kept, Outcome, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.generators.cma import CMA
from kerf.generators.memory import Memory
from kerf.generators.replay import Share, Slots
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


class SearchSettings(GeneratorSettings):
    """Settings of `search`."""

    population: Annotated[int, Field(ge=4, le=65536)] = 64
    """Least number of scores for an update of the distribution; a larger batch makes one update."""

    explore: Share = 0.2
    """Share of scenarios whose choices are drawn from the initial distribution."""

    share: Share = 0.3
    """Share of scenarios whose base scored before, once any has."""

    memory: Slots = 256
    """Number of bases that are kept."""


class Search(Adversary):
    """A normal distribution over points, each of which encodes the choices in all fields.

    Coordinate z of a field with K values selects the value number `floor(K Phi(z))`, so that all are equally likely at
    first. A field of more than two values has a second coordinate, and keeps the base's value where that is below 0,
    because it may depend on fields that cannot be forged.
    """

    settings_model = SearchSettings

    def __init__(self, world: World, settings: SearchSettings) -> None:
        super().__init__(world, settings, settings.memory)
        self.settings = settings
        self.memory = Memory(settings.memory, "score", temperature=0.3, staleness=0.0)
        self._gated = np.array([len(values) > 2 for values in self.forging.values], np.bool_)
        self.cma = CMA(max(1, len(self._gated) + int(self._gated.sum())))
        self._points: NDArray[np.float64] = np.empty((0, self.cma.d))
        self._scores: NDArray[np.float64] = np.empty(0)

    @classmethod
    def check(cls, world: World, settings: GeneratorSettings) -> None:
        """Nothing to check: its settings fit every world."""

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        from scipy.special import ndtr  # here: it takes half a second, and reading a recipe does not need it

        n = len(fresh)
        base = np.full(n, FRESH, np.int64)
        if self.memory.promising:
            again = rng.random(n) < self.settings.share
            base[again] = self.memory.pick(int(again.sum()), rng)
        explores = rng.random(n) < self.settings.explore
        points = self.cma.sample(n, rng)
        points[explores] = rng.standard_normal((int(explores.sum()), self.cma.d))
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        gate = len(self._gated)
        for place, (column, values) in enumerate(zip(self.forging.columns, self.forging.values, strict=True)):
            number = np.minimum((ndtr(points[:, place]) * len(values)).astype(np.int64), len(values) - 1)
            chosen = values[number]
            if self._gated[place]:
                chosen = np.where(points[:, gate] < 0.0, scenarios[:, column], chosen)
                gate += 1
            scenarios[:, column] = chosen
        return Proposal(scenarios, base, {"points": points, "explores": explores})

    def _learn(self, outcome: Outcome) -> Kept:
        # Scenarios that explore are no draws of the distribution, so they do not update it.
        ours = ~outcome.notes["explores"]
        gained = np.where(outcome.accepted, outcome.scores, 0.0)
        self._points = np.concatenate((self._points, outcome.notes["points"][ours]))
        self._scores = np.concatenate((self._scores, gained[ours]))
        if len(self._scores) >= self.settings.population:
            self.cma.update(self._points, self._scores)
            self._points, self._scores = self._points[:0], self._scores[:0]
        return self.memory.learn(self.forging.identity(outcome.scenarios), outcome.scores)

    def report(self) -> dict[str, Any]:
        """The report of every adversary, with `mean` and `spread` of the coordinate of each field."""
        spread = self.cma.sigma * np.sqrt(np.diag(self.cma.covariance))
        names = [self.world.space.fields[column].name for column in self.forging.columns]
        found = {
            name: {"mean": float(self.cma.mean[place]), "spread": float(spread[place])}
            for place, name in enumerate(names)
        }
        return {**super().report(), "distribution": found, "generation": self.cma.generation}

    def _get_learnt(self) -> dict[str, Any]:
        return {
            "cma": self.cma.get_state(),
            "points": self._points.tolist(),
            "scores": self._scores.tolist(),
            "memory": self.memory.get_state(),
        }

    def _set_learnt(self, learnt: Mapping[str, Any]) -> None:
        if set(learnt) != {"cma", "points", "scores", "memory"}:
            raise ValueError(f"expected the state of a search, got {sorted(learnt)}")
        self.cma.set_state(learnt["cma"])
        self._scores = np.array(learnt["scores"], np.float64)
        self._points = np.array(learnt["points"], np.float64).reshape(len(self._scores), self.cma.d)
        self.memory.set_state(learnt["memory"])
