"""Base of worlds whose state is a row of small integers: all that follows from their rules and laws."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Dilemma, Mix
from kerf.lab.errors import KerfError
from kerf.lab.metrics import value_of_family
from kerf.lab.scenario import Scenarios, ScenarioSpace
from kerf.lab.world import EventWords, Family, Value
from kerf.lab.worlds.drawing import board
from kerf.lab.worlds.laws import MOST_ROWS, Law

States = NDArray[np.int64]
"""States of a batch, `(n, K)`."""


@dataclass(frozen=True)
class LawfulFamily:
    """A family of scenarios and its law, from which the base makes a `kerf.lab.world.Family`.

    Attributes:
        name: `value/variant`.
        law: The distribution of its scenarios.
        share: Relative frequency in the natural stream; 0: held out.
    """

    name: str
    law: Law
    share: float = 0.0


class MachinePlay:
    """A batch of episodes in progress (see `kerf.lab.world.ExactPlay`)."""

    def __init__(self, world: StateMachine, scenarios: Scenarios, states: States, t: int = 0) -> None:
        self.world, self.scenarios, self.states, self.t = world, scenarios, states, t

    def observe(self, out: NDArray[np.float32]) -> None:
        self.world.see(self.scenarios, self.states, self.t, out)

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        if self.t >= self.world.horizon:
            raise RuntimeError(f"{self.world.name}: the episode is over after {self.world.horizon} steps")
        states, happened = self.world.advance(self.scenarios, self.states, self.t, actions)
        events[:] = 0
        for name, when in happened.items():
            events |= when.astype(np.uint64) << self.world.bits[name]
        self.states, self.t = states, self.t + 1

    def fork(self, rows: NDArray[np.int64]) -> MachinePlay:
        return MachinePlay(self.world, self.scenarios[rows], self.states[rows], self.t)

    def state(self) -> States:
        return self.states.copy()

    def abstract_state(self) -> States:
        return self.states.copy()


class StateMachine(ABC):
    """A world whose state is a row of integers (see `kerf.lab.world.World` for its members).

    A subclass sets the members of `World` that are data, calls `__init__` with its families, and implements `start`,
    `advance`, `see`, `expert` and `scene`. It is enumerable (`kerf.lab.world.Enumerable`, `Listed`): hidden fields must
    be independent of the first observation's other fields but for the law of each family, and nothing that is hidden
    may show at first. What happens may depend on the scenario, the state, the step and the action alone.

    Args:
        families: Families with their laws.

    Attributes:
        bits: Event -> its bit's number.
    """

    name: str
    space: ScenarioSpace
    horizon: int
    actions: tuple[str, ...]
    events: tuple[str, ...]
    observations: tuple[str, ...]
    ideal: Mapping[str, float]
    values: tuple[Value, ...]
    dilemma: Dilemma
    proxies: Mapping[str, Mapping[str, float]] = {}

    def __init__(self, families: tuple[LawfulFamily, ...]) -> None:
        self.laws = families
        self.families = tuple(
            Family(each.name, value_of_family(each.name), each.law.sample, each.share, each.law.everything)
            for each in families
        )
        self.bits = {event: np.uint64(bit) for bit, event in enumerate(self.events)}

    # -- rules, which a subclass implements ---------------------------------------------------------------------------

    @abstractmethod
    def start(self, scenarios: Scenarios) -> States:
        """States at the beginning of `scenarios` `(n, F)`, `(n, K)`."""

    @abstractmethod
    def advance(
        self, scenarios: Scenarios, states: States, t: int, actions: NDArray[np.int64]
    ) -> tuple[States, Mapping[str, NDArray[np.bool_]]]:
        """The states `(n, K)` after step `t` as a new array, and which events happened in it: name -> `(n,)`."""

    @abstractmethod
    def see(self, scenarios: Scenarios, states: States, t: int, out: NDArray[np.float32]) -> None:
        """Write every observation before step `t` into `out` `(n, D)`."""

    @abstractmethod
    def expert(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `kerf.lab.world.World`."""

    @abstractmethod
    def scene(self, scenario: NDArray[np.int16], state: NDArray[np.int64], t: int) -> dict[str, Any]:
        """The state `(K,)` before step `t` as plain data (see `kerf.lab.world.Scenic`)."""

    # -- what follows from them ---------------------------------------------------------------------------------------

    def begin(self, scenarios: Scenarios) -> MachinePlay:
        """See `kerf.lab.world.World`."""
        return MachinePlay(self, scenarios, self.start(scenarios))

    def column(self, scenarios: Scenarios, field: str) -> NDArray[np.int64]:
        """A scenario field, `(n,)`."""
        return scenarios[:, self.space.index[field]].astype(np.int64)

    def scenes(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> list[dict[str, Any]]:
        """See `kerf.lab.world.Scenic`."""
        play, events = self.begin(scenario[None]), np.zeros(1, np.uint64)
        found = [self.scene(scenario, play.states[0], 0)]
        for action in actions:
            play.step(np.array([action]), events)
            found.append(self.scene(scenario, play.states[0], play.t))
        return found

    def render_text(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> str:
        """See `kerf.lab.world.World`."""
        play, events = self.begin(scenario[None]), np.zeros(1, np.uint64)
        happened: list[str] = []
        for action in actions:
            play.step(np.array([action]), events)
            happened += [name for name, bit in self.bits.items() if (events[0] >> bit) & np.uint64(1)]
        head = f"{self.name}  step {play.t}/{self.horizon}  {self.space.to_text(scenario)}"
        return "\n".join(
            (head, board.text(self.scene(scenario, play.states[0], play.t)), f"events {', '.join(happened) or 'none'}")
        )

    def render_pixels(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """See `kerf.lab.world.World`."""
        return board.pixels(self.scenes(scenario, actions)[-1])

    # -- enumeration --------------------------------------------------------------------------------------------------

    def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
        """All scenarios that differ from `scenarios` `(n, F)` in hidden fields (see `kerf.lab.world.Enumerable`)."""
        hidden = [field for field in self.space.fields if field.hidden]
        levels = np.array(list(product(*(range(field.low, field.high + 1) for field in hidden))), np.int16)
        origin = np.repeat(np.arange(len(scenarios)), len(levels))
        rows = scenarios[origin]
        rows[:, [self.space.index[field.name] for field in hidden]] = np.tile(levels, (len(scenarios), 1))
        valid = self.space.valid(rows)
        return rows[valid], origin[valid]

    def density(self, scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
        """P(scenario) under `mix`, `(n,)`.

        Raises:
            KerfError: for a mix with forgeries, of which these worlds have none.
        """
        if mix.natural < 1.0:
            raise KerfError(f"world {self.name} has no false emergencies, so no mix with them has a density")
        trained = [each for each in self.laws if each.share > 0.0 and each.name not in mix.without]
        total = math.fsum(each.share for each in trained)
        return np.sum([each.share / total * each.law.density(scenarios) for each in trained], axis=0)

    def situations(self) -> Scenarios:
        """One scenario for each observable situation, held-out ones included, `(m, F)`.

        Raises:
            KerfError: for more than `MOST_ROWS` scenarios.
        """
        rows = np.concatenate([each.law.everything()[0] for each in self.laws])
        if len(rows) > MOST_ROWS:
            raise KerfError(f"world {self.name}: {len(rows):,} scenarios are too many to be listed")
        seen = [column for column, field in enumerate(self.space.fields) if not field.hidden]
        _, first = np.unique(rows[:, seen], axis=0, return_index=True)
        return rows[np.sort(first)]
