"""Scripted policies and plans, for checks and positive controls: the expert, constants, and masks of actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import unknown_name
from kerf.lab.reward_spec import Design, design_return
from kerf.lab.rollout import Policy, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


def one_hot(actions: NDArray[np.int64], num_actions: int) -> NDArray[np.float32]:
    """Logits `(n, A)` of a policy that takes `actions` `(n,)` with probability 1."""
    logits = np.full((len(actions), num_actions), -np.inf, np.float32)
    logits[np.arange(len(actions)), actions] = 0.0
    return logits


def _action(world: World, name: str) -> int:
    if name not in world.actions:
        raise unknown_name(f"action of {world.name}", name, world.actions)
    return world.actions.index(name)


@dataclass(frozen=True)
class ExpertPolicy:
    """Always takes the action of `world.expert`."""

    world: World

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        return one_hot(self.world.expert(observations), len(self.world.actions))


@dataclass(frozen=True)
class ConstantPolicy:
    """Always takes the action called `action`. Raises `KerfError` at once if the world has none of that name."""

    world: World
    action: str

    def __post_init__(self) -> None:
        _action(self.world, self.action)

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        chosen = np.full(len(observations), _action(self.world, self.action), np.int64)
        return one_hot(chosen, len(self.world.actions))


@dataclass(frozen=True)
class UniformPolicy:
    """Every action is equally likely."""

    world: World

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros((len(observations), len(self.world.actions)), np.float32)


@dataclass(frozen=True)
class Careless:
    """`base` with random errors: with probability `slip` it takes a uniformly random action.

    Attributes:
        base: The policy without errors.
        slip: In (0, 1).
    """

    base: Policy
    slip: float

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = self.base.logits(observations).astype(np.float64)
        probs = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs /= probs.sum(axis=1, keepdims=True)
        mixed: NDArray[np.float32] = np.log((1.0 - self.slip) * probs + self.slip / probs.shape[1]).astype(np.float32)
        return mixed


@dataclass(frozen=True)
class NeverPolicy:
    """`base` with masked actions.

    The probability of the others is renormalised; where `base` gives them probability 0, it does `instead`.

    Attributes:
        world: The world that it plays in.
        base: The policy without the mask.
        never: `(n, D)` observations -> `(n, A)` bool, the actions that it does not take there.
        instead: Name of the action that it falls back on.
    """

    world: World
    base: Policy
    never: Callable[[NDArray[np.float32]], NDArray[np.bool_]]
    instead: str

    def __post_init__(self) -> None:
        _action(self.world, self.instead)

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.where(self.never(observations), np.float32(-np.inf), self.base.logits(observations))
        logits[~np.isfinite(logits).any(axis=1), _action(self.world, self.instead)] = 0.0
        return logits


def never_actions(world: World, *names: str) -> Callable[[NDArray[np.float32]], NDArray[np.bool_]]:
    """A mask for `NeverPolicy` that forbids the named actions everywhere."""
    mask = np.zeros(len(world.actions), np.bool_)
    for name in names:
        mask[_action(world, name)] = True
    return lambda observations: np.broadcast_to(mask, (len(observations), len(mask)))


def plan_return(
    world: World, scenario: Scenarios, plan: Sequence[str], design: Design, then: str | None = None
) -> float:
    """What a plan is paid by a design reward.

    Args:
        world: The world.
        scenario: `(1, F)`.
        plan: Names of the first actions, at least one and at most `world.horizon`.
        design: See `kerf.lab.reward_spec.design_weights`.
        then: The action of all further steps; None: the plan's last.
    """
    opening = np.array([[_action(world, name)] for name in plan], np.int64)
    numbers = np.zeros((world.horizon, 1), np.float32)  # nothing is left to chance
    played = rollout(ConstantPolicy(world, then or plan[-1]), world, scenario, numbers, opening=opening)
    return float(design_return(played, design)[0])
