"""Worlds that are enumerable and small enough to try everything in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.scenario import Field, Scenarios, ScenarioSpace
from kerf.lab.world import EventWords
from tests.toy_world import CUE, FALSE, GENUINE, NONE, PLACE, TELL, TRUTH, Lever, LeverPlay

QUIET, DOUBTFUL, SEEN_THROUGH = range(3)
"""The situations of the lever, at its first place."""


class ExactLeverPlay(LeverPlay):
    """`LeverPlay` that can be branched."""

    def fork(self, rows: NDArray[np.int64]) -> ExactLeverPlay:
        other = ExactLeverPlay(self.scenarios[rows])
        other.step_number, other.outside = self.step_number, self.outside[rows]
        return other

    def state(self) -> NDArray[np.int64]:
        return self.outside.astype(np.int64)[:, None]

    def abstract_state(self) -> NDArray[np.int64]:
        return self.state()


class ExactLever(Lever):
    """`Lever`, whose truth is hidden where there is a cue and no tell."""

    def begin(self, scenarios: Scenarios) -> ExactLeverPlay:
        return ExactLeverPlay(scenarios)

    def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
        rows, origin = [], []
        for i, scenario in enumerate(scenarios):
            for truth in (NONE, GENUINE, FALSE):
                row = scenario.copy()
                row[TRUTH] = truth
                if self.space.valid(row[None])[0]:
                    rows.append(row)
                    origin.append(i)
        return np.array(rows, np.int16), np.array(origin, np.int64)

    def density(self, scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
        truth, tell = scenarios[:, TRUTH], scenarios[:, TELL]
        natural = np.choose(truth, (0.5 * (tell == 0), 0.3 * (tell == 0), 0.2 * (tell == 1)))
        forged = (truth == FALSE) * np.where(tell == 1, 1.0 - mix.strength, mix.strength)
        return (scenarios[:, PLACE] < 2) / 2 * (mix.natural * natural + (1.0 - mix.natural) * forged)

    def situations(self) -> Scenarios:
        """Cue and tell, in the places of training."""
        rows = self.space.blank(6)
        rows[:, TRUTH] = np.tile((NONE, FALSE, FALSE), 2)
        rows[:, CUE] = np.tile((0, 1, 1), 2)
        rows[:, TELL] = np.tile((0, 0, 1), 2)
        rows[:, PLACE] = np.repeat((0, 1), 3)
        return rows


class MazePlay:
    """A batch of episodes in a `Maze`."""

    def __init__(self, world: Maze, scenarios: Scenarios) -> None:
        self.world, self.scenarios, self.t = world, scenarios, 0
        self.core = np.zeros(len(scenarios), np.int64)
        self.last = np.zeros(len(scenarios), np.int64)

    def observe(self, out: NDArray[np.float32]) -> None:
        sight, secret = self.scenarios.T
        out[:, 0], out[:, 1], out[:, 2] = sight, self.t, self.last
        out[:, 3] = self.world.symbols[secret, self.core, self.t]

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        sight, secret = self.scenarios.T
        events[:] = self.world.words[sight, secret, self.core, self.t, actions]
        self.core = self.world.leads_to[secret, self.core, self.t, actions]
        self.last = actions + 1
        self.t += 1

    def fork(self, rows: NDArray[np.int64]) -> MazePlay:
        other = MazePlay(self.world, self.scenarios[rows])
        other.t, other.core, other.last = self.t, self.core[rows], self.last[rows]
        return other

    def state(self) -> NDArray[np.int64]:
        return np.column_stack((self.core, self.last))

    def abstract_state(self) -> NDArray[np.int64]:
        return self.core[:, None]


class Maze:
    """A random deterministic world: a hidden field decides transitions, events and observations.

    The last action shows too, and is of no consequence. Everything is drawn from `seed`: tables, densities and weights
    of events, which are small whole numbers, so that many policies are equally good.
    """

    name = "maze"
    events = ("red", "green", "blue")
    observations = ("sight", "time", "last", "symbol")

    def __init__(self, seed: int, horizon: int = 3, num_actions: int = 2, num_symbols: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.sights, self.secrets, cores = 2, 3, 3
        self.horizon = horizon
        self.actions = tuple("abcd"[:num_actions])
        self.space = ScenarioSpace(
            self.name,
            (
                Field("sight", 0, self.sights - 1, 0, "what is seen at first"),
                Field("secret", 0, self.secrets - 1, 0, "what is not", hidden=True),
            ),
        )
        table = (self.secrets, cores, horizon)
        self.symbols = rng.integers(0, num_symbols, (self.secrets, cores, horizon + 1))
        self.symbols[:, :, 0] = 0
        self.leads_to = rng.integers(0, cores, (*table, num_actions))
        self.words = rng.integers(0, 2 ** len(self.events), (self.sights, *table, num_actions)).astype(np.uint64)
        self.ideal = {event: float(weight) for event, weight in zip(self.events, rng.integers(-2, 3, 3), strict=True)}
        self.densities = rng.integers(0, 3, (2, self.sights, self.secrets)) / 8.0

    def begin(self, scenarios: Scenarios) -> MazePlay:
        return MazePlay(self, scenarios)

    def situations(self) -> Scenarios:
        rows = self.space.blank(self.sights)
        rows[:, 0] = np.arange(self.sights)
        return rows

    def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
        origin = np.repeat(np.arange(len(scenarios)), self.secrets)
        rows = scenarios[origin]
        rows[:, 1] = np.tile(np.arange(self.secrets), len(scenarios))
        return rows, origin

    def density(self, scenarios: Scenarios, mix: Mix) -> NDArray[np.float64]:
        natural, other = self.densities[:, scenarios[:, 0], scenarios[:, 1]]
        return mix.natural * natural + (1.0 - mix.natural) * other


class Softmax:
    """A policy of random logits, a function of the present observation alone."""

    def __init__(self, seed: int, num_observations: int, num_actions: int, scale: float = 1.5) -> None:
        rng = np.random.default_rng(seed)
        self.inner = rng.normal(0.0, scale, (num_observations, 16))
        self.outer = rng.normal(0.0, scale, (16, num_actions))

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        hidden = np.tanh((observations[:, :, None] * self.inner).sum(axis=1) + np.linspace(-1, 1, 16))
        return (hidden[:, :, None] * self.outer).sum(axis=1).astype(np.float32)
