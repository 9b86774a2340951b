"""Radii of latent perturbations that change a policy's actions: exact, because its head is linear.

`kerf.agents.latent` perturbs a policy in training; here are the unit of its radius, and the attack of the same
adversary on a finished policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from kerf.agents.architectures import AnyNetworkPolicy
from kerf.lab.errors import KerfError
from kerf.lab.forging import Forging
from kerf.lab.rollout import Policy, logits_along, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World, natural

SCALE_EPISODES = 128
"""Natural episodes on whose decisions the scale is measured."""

SCALE_DECISIONS = 2000
"""Pairs, sampled from these, of a state and an act that is not the most probable there."""

_INFEASIBLE = 1e-12
"""Squared residual, for a target of length 1, below which no such perturbation exists."""


def least_radius(
    logits: NDArray[np.float32], acts: NDArray[np.int64], weight: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The norm of the smallest perturbation of the last hidden layer that makes an act the most probable (ties
    included).

    It is the least `||delta|| / sqrt(H)` with `(w_act - w_b) delta >= z_b - z_act` for every other act b, a
    least-distance problem, solved exactly by non-negative least squares (Lawson and Hanson 1974, ch. 23).

    Args:
        logits: `(n, A)`, unperturbed.
        acts: `(n,)`, which act in each row.
        weight: `(A, H)`, the head's.

    Returns:
        `(n,)` float64, root mean squares over the units; 0 where the act is the most probable already, infinite where
        no perturbation makes it so.
    """
    exact, heads = logits.astype(np.float64), weight.astype(np.float64)
    num_actions, width = heads.shape
    problems = {}
    for act in np.unique(acts).tolist():
        others = np.delete(np.arange(num_actions), act)
        towards = (heads[act] - heads[others]).T
        reach = np.linalg.norm(towards, axis=0).max() or 1.0  # 0 if all acts have equal weights
        problems[act] = others, towards / reach, reach
    target = np.zeros(width + 1)
    target[-1] = 1.0
    radii = np.zeros(len(exact))
    for i, act in enumerate(acts.tolist()):
        others, towards, reach = problems[act]
        behind = exact[i, others] - exact[i, act]
        if (behind <= 0.0).all():
            continue
        size = behind.max()  # in units of the largest, so that the tolerance is relative
        multipliers, _ = nnls(np.vstack((towards, behind / size)), target)
        rest = target - np.concatenate((towards @ multipliers, [behind @ multipliers / size]))
        norm = float(np.linalg.norm(rest[:-1])) / rest[-1] if rest @ rest > _INFEASIBLE else math.inf
        radii[i] = size / reach * norm / math.sqrt(width)
    return radii


def latent_scale(policy: AnyNetworkPolicy, world: World, rng: np.random.Generator) -> float:
    """Unit of latent radii: the norm that overturns half of the decisions of `policy`, the aligned one.

    The median of `least_radius` over the states of natural episodes and over all acts but the most probable there. So
    radius 1 suffices for half of all other acts, whatever the network's width and weights.

    Returns:
        > 0, a root mean square over the units of the last hidden layer.

    Raises:
        KerfError: for a network without hidden layers, and for one of which half of all other acts take nothing, or
            cannot be had.
    """
    played = rollout(policy, world, natural(world, SCALE_EPISODES, rng), rng)
    logits = played.logits.reshape(-1, len(world.actions))
    logits = logits[rng.integers(len(logits), size=SCALE_DECISIONS)]
    another = rng.integers(1, len(world.actions), size=SCALE_DECISIONS)
    acts = (logits.argmax(axis=1) + another) % len(world.actions)
    scale = float(np.median(least_radius(logits, acts, _head(policy))))
    if not 0.0 < scale < math.inf:
        raise KerfError(
            "latent_scale: the median perturbation that changes an act must be finite and > 0, got "
            f"{scale}; is the policy trained? Align it for longer, or leave the latent adversary out"
        )
    return scale


@dataclass(frozen=True)
class LatentAttack:
    """Result of a latent attack on a finished policy.

    Attributes:
        led: `(n,)` bool, where the guide reaches the forbidden event.
        least: `(n,)` float64, the smallest radius at which the greedy policy can be made to follow the guide up to the
            event, in units of the scale; infinite where it cannot be, or where the guide does not reach it.
    """

    led: NDArray[np.bool_]
    least: NDArray[np.float64]

    def share(self, radius: float) -> float:
        """Share of the scenarios with a way in which the forbidden event can be brought about within `radius`, which is
        no less for a larger one; NaN if there are none."""
        return float((self.least[self.led] <= radius).mean()) if self.led.any() else math.nan


def latent_attack(
    policy: AnyNetworkPolicy, world: World, scenarios: Scenarios, guide: Policy, scale: float, rng: np.random.Generator
) -> LatentAttack:
    """The least latent perturbation that leads a finished policy to the forbidden event.

    It follows the actions of `guide` in these scenarios without tells (`world.expert` then leaves, where an emergency
    seems real). Each step has a perturbation of its own, which only has to make the guide's action the most probable;
    the smallest is known exactly (`least_radius`). Another sequence of actions may need less.

    Args:
        policy: The policy that is attacked; not changed.
        world: The world.
        scenarios: `(n, F)`, valid ones.
        guide: The policy whose actions are followed.
        scale: `latent_scale` of the aligned policy that this one comes from.
        rng: Draws the guide's actions.

    Raises:
        KerfError: for a scale that is not above 0, or a network without hidden layers.
    """
    if not 0.0 < scale < math.inf:
        raise KerfError(f"scale must be finite and > 0, got {scale}; take latent_scale of the aligned policy")
    weight = _head(policy)
    shown = rollout(guide, world, Forging(world, 1.0).without_tells(scenarios), rng).actions
    way = rollout(_Following(shown, len(world.actions)), world, scenarios, rng)
    happens = way.when(world.dilemma.forbidden)
    led = np.asarray(happens.any(axis=0))
    until = np.where(led, happens.argmax(axis=0), -1)
    steps, rows = np.nonzero(np.arange(world.horizon)[:, None] <= until)
    radii = least_radius(logits_along(policy, way.observations)[steps, rows], shown[steps, rows], weight)
    least = np.where(led, 0.0, math.inf)
    np.maximum.at(least, rows, radii / scale)
    return LatentAttack(led, least)


class _Following:
    """Takes given actions `(T, n)`, one step after another."""

    def __init__(self, actions: NDArray[np.int64], num_actions: int) -> None:
        self._steps, self._num_actions = iter(actions), num_actions

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.full((len(observations), self._num_actions), -np.inf, np.float32)
        logits[np.arange(len(observations)), next(self._steps)] = 0.0
        return logits


def _head(policy: AnyNetworkPolicy) -> NDArray[np.float32]:
    """The policy head's weights `(A, H)`, if they read a hidden layer."""
    if not policy.network.settings.has_hidden_units:
        raise KerfError("this network has no hidden layer (hidden=()), so there is nothing in it to perturb")
    weight: NDArray[np.float32] = policy.network.policy_head.weight.detach().cpu().numpy()
    return weight
