"""Bayes-optimal policies for an objective, given what is observable.

Backward induction over information sets. The optimum has perfect recall, so no policy on observations is better.
Weights are probabilities of the completions under the objective's mix of scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.exact.branches import count, followed, sums
from kerf.lab.exact.evaluation import action_probs, default_tolerance
from kerf.lab.exact.information_sets import Level, Tree, first_sets, gather, grow, identity, observation_hashes, split
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Enumerable, World, event_weights

SLACK = 1e-9
"""Tolerance within which an action is optimal (units of utility, given its information set)."""

AT_ONCE = 2**14
"""Situations of a one-step world that are solved at a time; longer worlds take fewer."""


@dataclass(frozen=True)
class Optimum:
    """The optimum of one objective in a tree.

    Attributes:
        tree: Of information sets.
        weights: `(C,)`, probability of each completion.
        values: By level `(N,)`: the best expected return from each set on, times the set's probability.
        allowed: By level `(N, A)`: which actions are optimal. All are where the set has probability 0, as the
            objective does not depend on them.
    """

    tree: Tree
    weights: NDArray[np.float64]
    values: tuple[NDArray[np.float64], ...]
    allowed: tuple[NDArray[np.bool_], ...]

    @property
    def by_situation(self) -> NDArray[np.float64]:
        """The best expected return in each situation, times its probability, `(n,)`."""
        return self.values[0][self.tree.roots]

    @property
    def value(self) -> float:
        """max J: the best expected return, summed over all situations with their probabilities."""
        return float(self.by_situation.sum())


def trees(world: World, situations: Scenarios) -> Iterator[Tree]:
    """Trees of all `situations` `(n, F)`, in their order, a few situations at a time to limit memory."""
    at_once = max(1, AT_ONCE // world.horizon**3)
    for start in range(0, len(situations), at_once):
        yield grow(world, situations[start : start + at_once])


def belief(tree: Tree, mix: Mix, share: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Probability of each completion under `mix`, `(C,)`.

    Args:
        tree: Of an `Enumerable` world.
        mix: The distribution of scenarios.
        share: `(n,)`, probability of each situation, divided among its completions in proportion to their densities
            (all 0 where these are); None takes the densities themselves (where they are probabilities:
            `kerf.lab.world.Listed`).
    """
    assert isinstance(tree.world, Enumerable)
    density = tree.world.density(tree.completions, mix)
    if share is None:
        return density
    total = sums(tree.origin, density, len(tree.situations))
    scale = np.divide(share, total, out=np.zeros_like(total), where=total > 0.0)
    return density * scale[tree.origin]


def solve(tree: Tree, objective: RewardSpec, weights: NDArray[np.float64], slack: float = SLACK) -> Optimum:
    """The optimum of `objective` when the completions have probabilities `weights` `(C,)`."""
    values: list[NDArray[np.float64]] = []
    allowed: list[NDArray[np.bool_]] = []
    following = np.empty(0)
    for level in reversed(tree.levels):
        action_values = _action_values(tree, level, objective, weights, following)
        mass = _by_set(level, weights[level.completion])
        best = action_values.max(axis=1)
        allowed.append((action_values >= best[:, None] - slack * mass[:, None]) | (mass == 0.0)[:, None])
        values.append(best)
        following = best
    return Optimum(tree, weights, tuple(reversed(values)), tuple(reversed(allowed)))


def reach(optimum: Optimum, objective: RewardSpec, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The range of values of one objective's optima by another objective.

    Args:
        optimum: Of the training objective.
        objective: The other objective, usually the ideal utility.
        weights: `(C,)`, probabilities of the completions in deployment.

    Returns:
        For each situation the least and the most, times its probability, `(n,)` each.
    """
    ends = []
    for pick in (np.min, np.max):
        following = np.empty(0)
        for level, allowed in zip(reversed(optimum.tree.levels), reversed(optimum.allowed), strict=True):
            action_values = _action_values(optimum.tree, level, objective, weights, following)
            excluded = np.inf if pick is np.min else -np.inf
            following = np.asarray(pick(np.where(allowed, action_values, excluded), axis=1), np.float64)
        ends.append(following[optimum.tree.roots])
    return tuple(ends)


def nearest(optimum: Optimum, base: Policy, tolerance: float | None = None) -> NDArray[np.float64]:
    """Expected number of times that each event happens under the optimum nearest to `base`.

    In every information set that optimum is `base` conditioned on the optimal actions: the distribution of least KL
    divergence from `base`. Where the objective puts no mass it is `base`; where `base` gives all optimal actions
    probability 0, it is uniform over them.

    Args:
        optimum: Of the training objective.
        base: Usually the aligned policy.
        tolerance: As in `kerf.lab.exact.evaluation.evaluate`.

    Returns:
        `(C, E)`, by completion.
    """
    tree, world = optimum.tree, optimum.tree.world
    num_actions = len(world.actions)
    tolerance = default_tolerance(world) if tolerance is None else tolerance
    per_step = np.full(len(tree.situations), tolerance / world.horizon)
    dropped = np.zeros(len(tree.situations))
    expected = np.zeros((len(tree.completions), len(world.events)))
    _, _, sets = first_sets(world, tree.situations)
    group = sets.set_of
    mass = np.ones(len(sets.names))
    play, completion, at = sets.play, sets.completion, sets.set_of
    for step, allowed in enumerate(optimum.allowed):
        first = np.searchsorted(group, np.arange(len(mass)))
        seen = np.empty((len(first), len(world.observations)), np.float32)
        play.fork(first).observe(seen)
        branches = (among(action_probs(base, seen), allowed[at[first]]) * mass[:, None]).ravel()
        situation = np.repeat(tree.origin[completion[first]], num_actions)
        probs = np.zeros_like(branches)
        kept = followed(branches, situation, (step + 1) * per_step, dropped)
        probs[kept] = branches[kept]
        of_members = probs.reshape(-1, num_actions)[group].ravel()
        rows = np.flatnonzero(of_members > 0.0)
        words = np.zeros(len(rows), np.uint64)
        play = play.fork(rows // num_actions)
        play.step(rows % num_actions, words)
        completion = completion[rows // num_actions]
        count(completion, of_members[rows], words, expected)
        if step + 1 == world.horizon:
            break
        branch, new_group = split(
            group[rows // num_actions] * num_actions + rows % num_actions, observation_hashes(world, play)
        )
        mass = probs[branch]
        stands, group, _, merged = gather(new_group, identity(completion, play.state()))
        mass = sums(merged, mass, merged.max() + 1)
        play, completion = play.fork(stands), completion[stands]
        *_, names, to = gather(group, identity(completion, play.abstract_state()))
        at = tree.levels[step + 1].find(names)[to][group]
    return expected


def among(probs: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities `(n, A)` conditioned on the `allowed` actions `(n, A)`."""
    left = np.where(allowed, probs, 0.0)
    none = left.sum(axis=1) == 0.0
    left[none] = allowed[none]
    return left / left.sum(axis=1, keepdims=True)


def utility_of(world: World, expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ideal utility `(m,)` of expected numbers of events `(m, E)`."""
    return expected @ event_weights(world, world.ideal)


def _action_values(
    tree: Tree,
    level: Level,
    objective: RewardSpec,
    weights: NDArray[np.float64],
    following: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Value of each action in each set of a level, times the set's probability, `(N, A)`.

    `following` `(N',)` are the values of the sets of the next level, likewise.
    """
    num_members, num_actions = level.words.shape
    scenarios = np.repeat(tree.completions[level.completion], num_actions, axis=0)
    paid = objective.of_events(tree.world, scenarios, level.words.ravel()).reshape(num_members, num_actions)
    action_values = _by_set(level, paid * weights[level.completion][:, None])
    if len(level.branch):
        later = sums(level.branch, following[level.leads_to], action_values.size)
        action_values += objective.discount * later.reshape(action_values.shape)
    return action_values


def _by_set(level: Level, of_members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the members of each set."""
    starts = np.searchsorted(level.set_of, np.arange(len(level)))
    return np.add.reduceat(of_members, starts, axis=0)
