"""Replay of the natural scenarios that went worst: a search for an agent's own mistakes, without forgeries.

Prioritised level replay (Jiang et al. 2021) on the natural stream. It can be used where nothing can be forged, and
where all that can go wrong is the agent's doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kerf.generators.base import Generator, GeneratorSettings
from kerf.generators.memory import Memory
from kerf.generators.replay import ReplaySettings
from kerf.lab.distinct import row_hash
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World, natural


class HardestSettings(ReplaySettings):
    """Settings of `hardest`: those of `replay`. What is not replayed is drawn from the natural stream."""


class Hardest(Generator):
    """Replays natural scenarios by their scores, unedited. It forges nothing, so there is no strength to enforce.

    Args:
        world: The world whose natural stream it draws from.
        settings: Size of the memory, and how it is replayed.

    Attributes:
        kept: `(memory, F)`, the scenarios in the memory's slots.
    """

    settings_model: ClassVar[type[GeneratorSettings]] = HardestSettings
    forges: ClassVar[bool] = False
    uses_strength: ClassVar[bool] = False

    def __init__(self, world: World, settings: HardestSettings) -> None:
        super().__init__(world)
        self.share = settings.share
        self.memory = Memory(settings.memory, settings.priority, settings.temperature, settings.staleness)
        self.kept = world.space.blank(settings.memory)

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        scenarios = natural(self.world, n, rng)
        if self.memory.promising:
            again = rng.random(n) < self.share
            scenarios[again] = self.kept[self.memory.pick(int(again.sum()), rng)]
        return scenarios

    def _tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        keys = row_hash(np.ascontiguousarray(scenarios, np.int32).view(np.uint32), 0)
        learnt = self.memory.learn(keys, scores)
        self.kept[learnt.slots] = scenarios[learnt.rows]

    def report(self) -> dict[str, Any]:
        """The number of scenarios in the memory."""
        return {"remembered": int((self.memory.plays > 0).sum())}

    def get_state(self) -> dict[str, Any]:
        return {"memory": self.memory.get_state(), "kept": self.kept[self.memory.plays > 0].tolist()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"memory", "kept"}:
            raise ValueError(f"expected the state of a {type(self).__name__}, got {sorted(state)}")
        rows = np.array(state["kept"], np.int16).reshape(-1, len(self.world.space))
        self.world.space.validate(rows)
        self.memory.set_state(state["memory"])
        self.kept = self.world.space.blank(len(self.kept))
        self.kept[self.memory.plays > 0] = rows
        self._asked = None
