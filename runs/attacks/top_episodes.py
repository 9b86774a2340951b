"""Top episodes of an attack: the scenarios with the most frequent forbidden acts, replayed as text and pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kerf.lab.rollout import Policy, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

PLAYS = 32
"""Replays per scenario."""

SHOWN = 10
"""Maximum number of scenarios shown."""

AFTER = 2
"""Steps shown after the act."""

FRAME_MS = 350
"""Duration of an animation frame, in milliseconds."""


@dataclass(frozen=True)
class ReplayedScenario:
    """A scenario of an attack, with one episode of it.

    Attributes:
        world: Its world.
        scenario: `(F,)`.
        score: The attack objective when the scenario was found.
        successes: Number of the `PLAYS` replays in which the forbidden act was done without need.
        actions: `(T,)`, actions of one replay; of a successful one, if there is any.
        happened: `(T,)`, the names of the events at each of its steps.
        act: Step of the forbidden act in it, or None.
    """

    world: World
    scenario: NDArray[np.int16]
    score: float
    successes: int
    actions: NDArray[np.int64]
    happened: tuple[tuple[str, ...], ...]
    act: int | None

    @property
    def shown(self) -> int:
        """Number of steps to show."""
        return len(self.actions) if self.act is None else min(len(self.actions), self.act + 1 + AFTER)

    def text(self) -> str:
        """The scenario, its success rate, the agent's actions, and the state in which it did the forbidden act."""
        lines = [
            self.world.space.to_text(self.scenario),
            f"  score {self.score:.2f}; done without need in {self.successes} of {PLAYS} fresh plays",
            f"  {self.course()}",
        ]
        until = self.shown if self.act is None else self.act + 1
        state = self.world.render_text(self.scenario, self.actions[:until])
        return "\n".join([*lines, *(f"    {line}" for line in state.splitlines())])

    def record(self) -> dict[str, Any]:
        """The record as plain JSON values, without the state."""
        return {
            "scenario": self.world.space.to_text(self.scenario),
            "score": self.score,
            "plays": PLAYS,
            "successes": self.successes,
            "course": self.course(),
        }

    def course(self) -> str:
        """Actions until just after the act, with their events: `east x3, use (left, left_unpermitted)`."""
        steps = [(self.world.actions[action], self.happened[t]) for t, action in enumerate(self.actions[: self.shown])]
        words = []
        for (action, events), group in groupby(steps):
            number = len(list(group))
            words.append(action + (f" x{number}" if number > 1 else "") + (f" ({', '.join(events)})" if events else ""))
        return ", ".join(words)

    def animation(self) -> bytes:
        """The episode until just after the act, as an animated GIF."""
        frames = [self._picture(t) for t in range(self.shown + 1)]
        sink = io.BytesIO()
        frames[0].save(sink, "GIF", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, optimize=False)
        return sink.getvalue()

    def strip(self) -> bytes:
        """The first state, the states before and after the act, and the last state shown, side by side, as PNG."""
        act = self.act if self.act is not None else self.shown // 2
        moments = sorted({0, act, min(act + 1, self.shown), self.shown})
        pictures = [self._picture(t) for t in moments]
        width, height = pictures[0].size
        strip = Image.new("RGB", (len(pictures) * width + (len(pictures) - 1) * GAP, height), "white")
        for index, picture in enumerate(pictures):
            strip.paste(picture, (index * (width + GAP), 0))
        sink = io.BytesIO()
        strip.save(sink, "PNG")
        return sink.getvalue()

    def _picture(self, t: int) -> Image.Image:
        return Image.fromarray(self.world.render_pixels(self.scenario, self.actions[:t]))


GAP = 8
"""Pixels between the pictures of a strip."""


def top_episodes(
    policy: Policy,
    world: World,
    scenarios: Scenarios,
    scores: NDArray[np.float64],
    rng: np.random.Generator,
) -> list[ReplayedScenario]:
    """Replay `scenarios` `(k, F)` and return those with the most successes, at most `SHOWN`; ties keep their order."""
    episodes = [
        play_again(policy, world, scenario, score, rng)
        for scenario, score in zip(scenarios, scores.tolist(), strict=True)
    ]
    return sorted(episodes, key=lambda each: -each.successes)[:SHOWN]


def play_again(
    policy: Policy, world: World, scenario: NDArray[np.int16], score: float, rng: np.random.Generator
) -> ReplayedScenario:
    """Replay `scenario` `(F,)` `PLAYS` times and keep one episode, a successful one if there is any."""
    played = rollout(policy, world, np.tile(scenario, (PLAYS, 1)), rng)
    succeeded = played.happened(world.dilemma.needless)
    row = int(succeeded.argmax())
    acted = played.when(world.dilemma.forbidden)[:, row]
    happened = np.stack([played.when(event)[:, row] for event in world.events], axis=1)
    return ReplayedScenario(
        world,
        scenario,
        score,
        int(succeeded.sum()),
        played.actions[:, row],
        tuple(tuple(np.array(world.events)[step].tolist()) for step in happened),
        int(acted.argmax()) if acted.any() else None,
    )
