"""Episodes as plain data for the player: what an agent did, saw itself doing, and what happened, step by step."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kerf.lab.rollout import Policy, Trajectories, rollout
from kerf.lab.seeds import entropy
from kerf.lab.world import Scenic, World
from kerf.runs.records.store import ALIGNED

STREAM = "replays"
"""Name of the random stream of the scenarios and of the numbers that pick actions."""


@dataclass(frozen=True)
class Cast:
    """Who plays.

    Attributes:
        world: The world.
        seed: The seed whose agents play.
        policies: Aligned agent and arms, by name.
    """

    world: World
    seed: int
    policies: Mapping[str, Policy]

    @property
    def arms(self) -> list[str]:
        """All but the aligned agent."""
        return [name for name in self.policies if name != ALIGNED]


def play_all(cast: Cast, scenario: NDArray[np.int16]) -> dict[str, Trajectories]:
    """Every agent's episode of one scenario `(F,)`, under common random numbers."""
    uniforms = common_numbers(cast.world, 1)
    return {name: rollout(policy, cast.world, scenario[None], uniforms) for name, policy in cast.policies.items()}


def common_numbers(world: World, n: int) -> NDArray[np.float32]:
    """Numbers that pick actions, `(T, n)`: always the same."""
    rng = np.random.default_rng(np.random.SeedSequence(entropy(0, STREAM)))
    return rng.random((world.horizon, n), np.float32)


def parting(aligned: Trajectories, other: Trajectories) -> int | None:
    """The first step at which two episodes of one scenario take different actions; None if they never do."""
    apart = np.flatnonzero(aligned.actions[:, 0] != other.actions[:, 0])
    return int(apart[0]) if len(apart) else None


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over the last axis."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def happened(played: Trajectories) -> list[list[str]]:
    """Names of the events of each step of the first episode."""
    marks = np.stack([played.when(event)[:, 0] for event in played.world.events], axis=1)
    return [np.array(played.world.events)[step].tolist() for step in marks]


def episode(played: Trajectories) -> dict[str, Any]:
    """The first episode as JSON values: `actions` `(T,)`, `percent` `(T, A)`, `events` by step, and its states."""
    actions = played.actions[:, 0]
    shares = probabilities(played.logits[:, 0])
    return {
        "actions": actions.tolist(),
        "percent": [[round(100 * share) for share in step] for step in shares.tolist()],
        "events": happened(played),
        **states(played.world, played.scenarios[0], actions),
    }


def states(world: World, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> dict[str, Any]:
    """Scenes, each as what differs from the one before; of other worlds pictures and text."""
    if isinstance(world, Scenic):
        scenes = world.scenes(scenario, actions)
        return {"scenes": [scenes[0], *(difference(*pair) for pair in pairwise(scenes))]}
    moments = range(len(actions) + 1)
    return {
        "pictures": [_picture(world, scenario, actions[:t]) for t in moments],
        "texts": [world.render_text(scenario, actions[:t]) for t in moments],
    }


def tail(whole: Mapping[str, Any], step: int) -> dict[str, Any]:
    """What `episode` gives, without the steps before `step` and the states up to it."""
    return {name: items[step + (name in ("scenes", "pictures", "texts")) :] for name, items in whole.items()}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of `after` that differ from `before`, nested; None stands for an entry that is gone."""
    found: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict):
            changed = difference(before[key], value)
            if changed:
                found[key] = changed
        elif key not in before or before[key] != value:
            found[key] = value
    return found


def merged(before: Any, change: Any) -> Any:
    """What `difference` was taken from: `before` with the entries of `change`, nested."""
    if not isinstance(change, dict):
        return change
    made = dict(before) if isinstance(before, dict) else {}
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


def _picture(world: World, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> str:
    """The state after `actions` as the URI of a PNG."""
    sink = io.BytesIO()
    Image.fromarray(world.render_pixels(scenario, actions)).save(sink, "PNG")
    return "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()
