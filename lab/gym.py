"""Gymnasium environments of any world: one episode at a time, or the native batch.

Importing this module registers every known world as `kerf/<Name>-v0`, as gymnasium expects of a module that brings
environments: `gymnasium.make("kerf.lab.gym:kerf/Station-v0")` imports it and makes one. No world is loaded before then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.scenario import Scenarios
from kerf.lab.world import EventWords, Play, World, event_weights, natural
from kerf.lab.worlds import get_world, known_worlds

NAMESPACE = "kerf"
OBSERVATION_BOUND = 10.0
"""Bound of the observation space on both sides. Worlds scale observations to the order of 1."""
RENDER_MODES = ("rgb_array", "ansi")
RESERVE = 256
"""Scenarios drawn at a time, at least: drawing few at a time costs as much as drawing many."""

Info = dict[str, Any]
Given = str | Sequence[str] | NDArray[np.integer[Any]]
"""Scenarios as a user gives them: the text form of one, or of one for each episode, or rows `(F,)` or `(n, F)`."""


class _Episodes:
    """A batch of `n` episodes of one world, with the spaces and infos of gymnasium."""

    def __init__(self, world: str, n: int, weights: Mapping[str, float] | None, render_mode: str | None) -> None:
        if render_mode not in (None, *RENDER_MODES):
            raise unknown_name("render mode", str(render_mode), RENDER_MODES)
        from kerf.lab.reward import reward  # here, because it needs the compiler, and registering must not

        self._reward = reward
        self.world: World = get_world(world)
        for event in weights or ():
            if event not in self.world.events:
                raise unknown_name(f"event of {self.world.name}", event, self.world.events)
        self.n, self.render_mode = n, render_mode
        self.ideal = event_weights(self.world, self.world.ideal)
        self.weights = self.ideal if weights is None else event_weights(self.world, weights)
        self.scenarios: Scenarios = self.world.space.blank(0)
        self._reserve = self.scenarios
        self.play: Play | None = None
        self.t = 0
        self.actions = np.zeros((self.world.horizon, n), np.int64)
        self.past = np.zeros((self.world.horizon, n), np.uint64)

    def spaces(self) -> tuple[Box, Discrete[np.int64]]:
        """Observation and action space of one episode."""
        size = len(self.world.observations)
        return (
            Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, (size,), np.float32),
            Discrete(len(self.world.actions)),
        )

    @property
    def over(self) -> bool:
        return self.t == self.world.horizon

    def begin(
        self, options: Mapping[str, Any] | None, rng: np.random.Generator, reseeded: bool
    ) -> tuple[NDArray[np.float32], Info]:
        """Start on the scenarios in `options`, or on scenarios from the natural stream."""
        if reseeded:
            self._reserve = self._reserve[:0]
        for option in options or ():
            if option != "scenario":
                raise unknown_name("reset option", option, ("scenario",))
        given = (options or {}).get("scenario")
        self.scenarios = self._draw(rng) if given is None else self._parse(given)
        self.play, self.t = self.world.begin(self.scenarios), 0
        return self._observe(self.play), {"scenario": self.scenarios.copy()}

    def _draw(self, rng: np.random.Generator) -> Scenarios:
        if len(self._reserve) < self.n:
            self._reserve = natural(self.world, max(self.n, RESERVE), rng)
        drawn, self._reserve = self._reserve[: self.n], self._reserve[self.n :]
        return drawn

    def _parse(self, given: Given) -> Scenarios:
        space = self.world.space
        if isinstance(given, str):
            rows = space.from_text(given)[None]
        elif isinstance(given, list | tuple) and given and all(isinstance(text, str) for text in given):
            rows = np.stack([space.from_text(text) for text in given])
        else:
            wide = np.atleast_2d(np.asarray(given))
            rows = wide.astype(np.int16) if wide.dtype.kind in "iu" else wide
            if rows.dtype == np.int16 and (rows != wide).any():
                raise KerfError(f"{space.name}: a scenario's numbers must fit 16 bits, got {wide.tolist()}")
            space.validate(rows)
        if len(rows) not in (1, self.n):
            raise KerfError(f"options['scenario']: expected 1 scenario or {self.n}, got {len(rows)}")
        return np.repeat(rows, self.n // len(rows), axis=0)

    def _observe(self, play: Play) -> NDArray[np.float32]:
        observations = np.empty((self.n, len(self.world.observations)), np.float32)
        play.observe(observations)
        return observations

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Gymnasium's five results of a step, each with a leading axis of `n`."""
        if self.play is None or self.over:
            raise ResetNeeded(f"{self.world.name}: call reset() before step()")
        if actions.shape != (self.n,) or actions.min() < 0 or actions.max() >= len(self.world.actions):
            raise ValueError(
                f"{self.world.name}: expected {self.n} actions in [0, {len(self.world.actions) - 1}], got {actions}"
            )
        self.actions[self.t] = actions
        self.play.step(actions, self.past[self.t])
        rewards = self._reward(self.past[self.t : self.t + 1], self.weights)[0]
        info: Info = {"events": self._names(self.past[self.t])}
        self.t += 1
        if self.over:
            info["episode_events"] = self._names(np.bitwise_or.reduce(self.past, axis=0))
            info["ideal_utility"] = self._reward(self.past, self.ideal).sum(axis=0)
        return self._observe(self.play), rewards, np.full(self.n, self.over), np.zeros(self.n, np.bool_), info

    def _names(self, words: EventWords) -> NDArray[np.object_]:
        """The events of each word by name, `(n,)` tuples."""
        kinds, which = np.unique(words, return_inverse=True)
        table = np.empty(len(kinds), object)
        for row, word in enumerate(kinds.tolist()):
            table[row] = tuple(name for bit, name in enumerate(self.world.events) if word >> bit & 1)
        names: NDArray[np.object_] = table[which]
        return names

    def frame(self, episode: int) -> Any:
        """One episode as the render mode asks: `(H, W, 3)` uint8, a text, or None."""
        if self.render_mode is None:
            return None
        if self.play is None:
            raise ResetNeeded(f"{self.world.name}: call reset() before render()")
        draw = self.world.render_pixels if self.render_mode == "rgb_array" else self.world.render_text
        return draw(self.scenarios[episode], self.actions[: self.t, episode])


class WorldEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One episode of a world.

    Every episode lasts exactly `world.horizon` steps and ends with `terminated`: nothing comes after it, so there is
    nothing to bootstrap from. `info` holds `scenario` (its row, `(F,)` int16) after a reset, `events` (names of what
    happened in the step) after a step, and with the last step `episode_events` and `ideal_utility`, which is hidden
    from the agent and may differ from the reward.

    Args:
        world: Name of a known world, or `module:attribute`.
        weights: The reward: event -> weight, undiscounted and unscaled; None = the world's ideal utility.
        render_mode: `rgb_array`, `ansi` or None.

    Raises:
        KerfError: for an unknown world, event, render mode or reset option, or a scenario that the world cannot hold.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 6}  # noqa: RUF012  # gymnasium's

    def __init__(self, world: str, weights: Mapping[str, float] | None = None, render_mode: str | None = None) -> None:
        self._episodes = _Episodes(world, 1, weights, render_mode)
        self.render_mode = render_mode
        self.observation_space, self.action_space = self._episodes.spaces()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Start an episode: of `options["scenario"]` (its text or its row `(F,)`), or of the natural stream."""
        super().reset(seed=seed)
        observations, info = self._episodes.begin(options, self.np_random, reseeded=seed is not None)
        return observations[0], _first(info)

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, Info]:
        """Take one step; raises `ResetNeeded` once the episode is over."""
        observations, rewards, terminated, truncated, info = self._episodes.step(np.array([action], np.int64))
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), _first(info)

    def render(self) -> Any:
        return self._episodes.frame(0)


def _first(info: Info) -> Info:
    return {key: value[0] for key, value in info.items()}


class WorldVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """The native batch of a world: `num_envs` episodes in lockstep, by one call of its kernel a step.

    All episodes end together. The step after that is the reset (`AutoresetMode.NEXT_STEP`): its actions are ignored,
    its reward is 0. `info` is that of `WorldEnv`, each entry with a leading axis of `num_envs`.

    Args:
        world: As for `WorldEnv`.
        num_envs: Episodes played at a time, >= 1.
        weights: As for `WorldEnv`.
        render_mode: As for `WorldEnv`.
    """

    metadata: dict[str, Any] = WorldEnv.metadata | {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(
        self,
        world: str,
        num_envs: int = 1,
        weights: Mapping[str, float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise KerfError(f"num_envs must be >= 1, got {num_envs}")
        self._episodes = _Episodes(world, num_envs, weights, render_mode)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space, self.single_action_space = self._episodes.spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Start all episodes: of `options["scenario"]` (one for all, or one each), or of the natural stream."""
        super().reset(seed=seed)
        return self._episodes.begin(options, self.np_random, reseeded=seed is not None)

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Take one step in every episode, or start new ones if they are over."""
        if self._episodes.over:
            observations, info = self._episodes.begin(None, self.np_random, reseeded=False)
            going_on = np.zeros(self.num_envs, np.bool_)
            return observations, np.zeros(self.num_envs), going_on, going_on.copy(), info
        return self._episodes.step(np.asarray(actions, np.int64))

    def render(self) -> tuple[Any, ...] | None:
        """A frame of each episode."""
        if self.render_mode is None:
            return None
        return tuple(self._episodes.frame(episode) for episode in range(self.num_envs))


def environment_id(world: str) -> str:
    """The id under which the known world `world` is registered: `kerf/Station-v0`."""
    return f"{NAMESPACE}/{''.join(part.capitalize() for part in world.split('_'))}-v0"


def register_environments() -> None:
    """Register every known world with gymnasium; those that are registered already are left alone."""
    for world in known_worlds():
        if environment_id(world) not in gymnasium.registry:
            gymnasium.register(
                environment_id(world),
                entry_point="kerf.lab.gym:WorldEnv",
                vector_entry_point="kerf.lab.gym:WorldVectorEnv",
                kwargs={"world": world},
            )


register_environments()
