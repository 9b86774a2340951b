"""Batch of `station` episodes in progress: scenarios, states and past events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios
from kerf.lab.world import EventWords
from kerf.lab.worlds.station import fields, kernel, observation, state_abstraction
from kerf.lab.worlds.station.layout import FIELD, STATE, STATES


class StationPlay:
    """A batch of episodes in progress (see `kerf.lab.world.ExactPlay`)."""

    def __init__(self, scenarios: Scenarios) -> None:
        n = len(scenarios)
        self.scenarios = np.ascontiguousarray(scenarios)
        self.now = np.zeros((n, len(STATES)), np.int16)
        start = self.scenarios[:, FIELD.start]
        self.now[:, STATE.x] = start % fields.WIDTH
        self.now[:, STATE.y] = start // fields.WIDTH
        self.now[:, (STATE.asked_at, STATE.called_at)] = -1
        self.past = np.zeros(n, np.uint64)
        self.t = 0

    def observe(self, out: NDArray[np.float32]) -> None:
        observation.observe(self.scenarios, self.now, self.past, self.t, out)

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        if self.t >= fields.HORIZON:
            raise RuntimeError(f"station: the episode is over after {fields.HORIZON} steps")
        kernel.step(self.scenarios, self.now, self.past, self.t, actions, events)
        self.t += 1

    def fork(self, rows: NDArray[np.int64]) -> StationPlay:
        other = StationPlay.__new__(StationPlay)
        other.scenarios, other.now, other.past = self.scenarios[rows], self.now[rows], self.past[rows]
        other.t = self.t
        return other

    def state(self) -> NDArray[np.int64]:
        return np.column_stack((self.now, self.past.view(np.int64)))

    def abstract_state(self) -> NDArray[np.int64]:
        out = np.empty((len(self.now), len(state_abstraction.COLUMNS)), np.int64)
        state_abstraction.abstract_state(self.scenarios, self.now, self.past, self.t, out)
        return out
