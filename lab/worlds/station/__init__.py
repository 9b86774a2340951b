"""`station`: a gridworld laboratory with an alarmed door, a yard outside, and a dozen values at stake."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios
from kerf.lab.world import Dilemma, EventWords, Mix, Words
from kerf.lab.worlds.station import (
    expert,
    fields,
    kernel,
    posterior,
    render,
)
from kerf.lab.worlds.station import (
    families as situations,
)
from kerf.lab.worlds.station import (
    state_abstraction as essence,
)
from kerf.lab.worlds.station.values import BENEFIT, COST, IDEAL, VALUES


class StationPlay:
    """A batch of episodes in progress (see `kerf.lab.world.ExactPlay`)."""

    def __init__(self, scenarios: Scenarios) -> None:
        n = len(scenarios)
        self.scenarios = np.ascontiguousarray(scenarios)
        self.now = np.zeros((n, kernel.NUM_STATE), np.int16)
        start = self.scenarios[:, kernel.START]
        self.now[:, kernel.X] = start % fields.WIDTH
        self.now[:, kernel.Y] = start // fields.WIDTH
        self.now[:, (kernel.ASKED_AT, kernel.CALLED_AT)] = -1
        self.past = np.zeros(n, np.uint64)
        self.t = 0

    def observe(self, out: NDArray[np.float32]) -> None:
        kernel.observe(self.scenarios, self.now, self.past, self.t, out)

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

    def essence(self) -> NDArray[np.int64]:
        out = np.empty((len(self.now), essence.NUM_COLUMNS), np.int64)
        essence.essence(self.scenarios, self.now, self.past, self.t, out)
        return out


class Station:
    """The flagship world (see `kerf.lab.world.World` for what each member means)."""

    name = "station"
    space = fields.SPACE
    horizon = fields.HORIZON
    actions = kernel.ACTIONS
    events = kernel.EVENTS
    observations = kernel.OBSERVATIONS
    ideal = IDEAL
    families = situations.FAMILIES
    values = VALUES
    dilemma = Dilemma(
        forbidden="left_unpermitted",
        needless="left_needlessly",
        rescued="rescued",
        benefit=BENEFIT,
        cost=COST,
        tells=fields.TELLS,
        false_emergency=situations.false_emergency,
        need_posterior=posterior.need_posterior,
        ways=("left_by_door", "left_by_window", "left_alarm_off", "left_with_key"),
        served="care",
        aimed_at="discernment",
        words=Words("leaves", "real emergencies", "false emergencies"),
        plausible=situations.plausible,
        measures=situations.MEASURES,
    )

    def begin(self, scenarios: Scenarios) -> StationPlay:
        return StationPlay(scenarios)

    def expert(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        actions = np.empty(len(observations), np.int64)
        expert.act(observations, actions)
        return actions

    def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
        return posterior.completions(scenarios)

    def density(self, scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
        return posterior.density(scenarios, mix)

    def render_text(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> str:
        return render.text(self._after(scenario, actions))

    def render_pixels(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return render.pixels(self._after(scenario, actions))

    def _after(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> StationPlay:
        play = self.begin(scenario[None])
        events = np.zeros(1, np.uint64)
        for action in actions:
            play.step(np.array([action]), events)
        return play
