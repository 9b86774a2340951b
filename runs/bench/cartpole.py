"""CartPole as a batched world, for benchmarks only: it compares training speed with other libraries on a common task.

Dynamics, limits and initial distribution are those of gymnasium's `CartPole-v1` (after Barto, Sutton and Anderson
1983). Episodes have a fixed horizon here, so a fall does not end an episode: the state is reset to that at the
episode's start. Nothing is forbidden, forged or hidden in this world. Its values and its dilemma exist only because the
protocol requires them; it tells nothing about side effects.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kerf.lab.compiled import compiled
from kerf.lab.dilemma import Dilemma
from kerf.lab.rollout import Trajectories
from kerf.lab.scenario import Field, Scenarios, ScenarioSpace
from kerf.lab.world import EventWords, Family, Play, Value
from kerf.lab.worlds import get_world

HORIZON = 24
UNIT = 1e-4
"""Unit of a scenario field, in metres, metres per second, radians or radians per second."""
START, TILT = 500, 1000
"""Episodes start within `START` units of zero in each field; held-out ones have a larger tilt, up to `TILT`."""
STATE = X, X_DOT, THETA, THETA_DOT = range(4)
LEFT, RIGHT = range(2)
UPRIGHT, FELL = (np.uint64(1) << np.uint64(bit) for bit in range(2))

GRAVITY = 9.8
MASS_POLE = 0.1
MASS = 1.0 + MASS_POLE
HALF_LENGTH = 0.5
FORCE = 10.0
TAU = 0.02
X_LIMIT = 2.4
THETA_LIMIT = 12 * 2 * math.pi / 360


@compiled
def advance(
    state: NDArray[np.float64], start: NDArray[np.float64], actions: NDArray[np.int64], events: EventWords
) -> None:
    """One Euler step of each episode: `state` and `start` `(n, 4)`, `actions` and `events` `(n,)`."""
    for i in range(len(state)):
        x, x_dot, theta, theta_dot = state[i, 0], state[i, 1], state[i, 2], state[i, 3]
        force = FORCE if actions[i] == RIGHT else -FORCE
        cos, sin = math.cos(theta), math.sin(theta)
        push = (force + MASS_POLE * HALF_LENGTH * theta_dot * theta_dot * sin) / MASS
        turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4.0 / 3.0 - MASS_POLE * cos * cos / MASS))
        x += TAU * x_dot
        x_dot += TAU * (push - MASS_POLE * HALF_LENGTH * turn * cos / MASS)
        theta += TAU * theta_dot
        theta_dot += TAU * turn
        if abs(x) > X_LIMIT or abs(theta) > THETA_LIMIT:
            events[i] = FELL
            x, x_dot, theta, theta_dot = start[i, 0], start[i, 1], start[i, 2], start[i, 3]
        else:
            events[i] = UPRIGHT
        state[i, 0], state[i, 1], state[i, 2], state[i, 3] = x, x_dot, theta, theta_dot


@compiled
def show(state: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """Write `state` `(n, 4)` into the first columns of `out` `(n, D)`, and zeros into the others."""
    for i in range(len(state)):
        for column in range(4):
            out[i, column] = state[i, column]
        for column in range(4, out.shape[1]):
            out[i, column] = 0.0


class CartPolePlay:
    """A batch of episodes in progress; `state` is `(n, 4)`: position, velocity, angle, angular velocity (SI units)."""

    def __init__(self, scenarios: Scenarios) -> None:
        self.start = scenarios * UNIT
        self.state = self.start.copy()

    def observe(self, out: NDArray[np.float32]) -> None:
        show(self.state, out)

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        advance(self.state, self.start, actions, events)


def balanced(trajectories: Trajectories) -> NDArray[np.float64]:
    return (~trajectories.happened("fell")).astype(np.float64)


class CartPole:
    """The world. `upright` pays 1 at each step, and 0 at a step in which the pole falls or the cart leaves the track.

    Args:
        name: Name of the world.
        padding: Number of zeros appended to the four numbers of an observation.
    """

    horizon = HORIZON
    actions = ("left", "right")
    events = ("upright", "fell")
    ideal = {"upright": 1.0}  # noqa: RUF012  # fixed, like a constant

    def __init__(self, name: str = "cartpole", padding: int = 0) -> None:
        self.name = name
        fields = (
            Field("x", -START, START, 0, "where the cart is at the start, in 1e-4 m"),
            Field("x_dot", -START, START, 0, "its speed, in 1e-4 m/s"),
            Field("theta", -TILT, TILT, 0, "the pole's angle from upright, in 1e-4 rad"),
            Field("theta_dot", -START, START, 0, "its angular speed, in 1e-4 rad/s"),
        )
        self.space = ScenarioSpace(name, fields)
        self.observations = (*(field.name for field in fields), *(f"zero_{i}" for i in range(padding)))
        self.families = (
            Family("balance/near", "balance", self._near, share=1.0),
            Family("balance/leaning", "balance", self._leaning),
        )
        self.values = (Value("balance", balanced, "keep the pole upright", skill=True),)
        self.dilemma = Dilemma(
            forbidden="fell",
            needless="fell",
            rescued="upright",
            benefit=1.0,
            cost=1.0,
            tells=(),
            false_emergency=self._false_emergency,
            need_posterior=lambda scenarios, strength: np.zeros(len(scenarios)),
            ways=("fell",),
            served=None,
            aimed_at=None,
        )

    def _near(self, n: int, rng: np.random.Generator) -> Scenarios:
        return rng.integers(-START, START, (n, len(STATE)), np.int16, endpoint=True)

    def _leaning(self, n: int, rng: np.random.Generator) -> Scenarios:
        scenarios = self._near(n, rng)
        side = rng.choice((-1, 1), n)
        scenarios[:, THETA] = side * rng.integers(START + 1, TILT, n, endpoint=True)
        return scenarios

    def _false_emergency(self, n: int, strength: float, rng: np.random.Generator, held_out: bool = False) -> Scenarios:
        return self._leaning(n, rng) if held_out else self._near(n, rng)

    def begin(self, scenarios: Scenarios) -> Play:
        return CartPolePlay(scenarios)

    def expert(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.where(observations[:, THETA] + 0.5 * observations[:, THETA_DOT] > 0.0, RIGHT, LEFT).astype(np.int64)

    def _after(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> list[float]:
        play, events = CartPolePlay(scenario[None]), np.zeros(1, np.uint64)
        for action in actions:
            play.step(np.array([action], np.int64), events)
        state: list[float] = play.state[0].tolist()
        return state

    def render_text(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> str:
        x, _, theta, _ = self._after(scenario, actions)
        return f"{self.space.to_text(scenario)} step {len(actions)}: cart at {x:+.3f} m, pole at {theta:+.3f} rad"

    def render_pixels(self, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> NDArray[np.uint8]:
        x, _, theta, _ = self._after(scenario, actions)
        picture: NDArray[np.uint8] = np.full((48, 96, 3), 255, np.uint8)
        middle = round(48 + x / X_LIMIT * 40)
        for height in range(32):
            picture[40 - height, middle + round(height * math.tan(theta))] = (200, 120, 40)
        picture[40:44, middle - 5 : middle + 6] = 0
        return picture


class PaddedCartPole(CartPole):
    """CartPole with observations as long as those of `station`, so that processing them costs the same."""

    def __init__(self) -> None:
        super().__init__("padded_cartpole", padding=len(get_world("station").observations) - len(STATE))
