"""Planning on learned dynamics: a model counted from random episodes, planned on, and held against the true world.

The model is learned in an *ontology*, a choice of what is kept of an observation. It counts where each action led from
what was seen, and what ideal utility was told there, and is planned on by value iteration over the horizon; what was
never tried is not counted on. `python -m kerf.lab.learned_model` prints how much ideal utility such plans lose in
`drug`, by the number of episodes, in an ontology that tells the cure from the drug and in one that does not.

Registered before it was first run, with eight seeds:

1. Where the ontology tells them apart, the gap is below 1% of the most at 10,000 episodes in every seed, and smaller
   than at 10. Falsified by a seed in which it is not.
2. Where it does not, the gap stays above 10% of the most at 10,000 episodes in every seed, and is not smaller by half
   than at 1,000. Falsified by a seed in which it is.
3. There the model promises more than its plan gets, from 1,000 episodes on, in every seed; in the other ontology it
   never does from there on, for only what was seen is counted on. Falsified by a seed in which it is otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.rollout import Trajectories, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import UniformPolicy
from kerf.lab.world import World, event_weights, natural, natural_exactly
from kerf.lab.worlds.drug import Drug
from kerf.lab.worlds.grader.planner import action_values, model
from kerf.lab.worlds.state_machine import StateMachine

EPISODES = (10, 30, 100, 300, 1000, 3000, 10_000)
SEEDS = range(8)
ONTOLOGIES: Mapping[str, tuple[str, ...]] = {
    "cure or drug": ("x", "cure", "drug", "taken"),
    "a dose": ("x", "dose", "taken"),
}
"""Name -> observations of `drug` that the model keeps."""


@dataclass(frozen=True)
class Learned:
    """A model counted from episodes.

    Attributes:
        kept: Columns of the observation that it keeps.
        seen: What was seen of them, `(K, C)`, in ascending order.
        following: P(next | seen, action), `(K, A, K)`; all 0 where an action was never tried.
        paid: Mean ideal utility of a step, `(K, A)`.
        tried: Whether an action was tried, `(K, A)`.
    """

    kept: tuple[int, ...]
    seen: NDArray[np.float32]
    following: NDArray[np.float64]
    paid: NDArray[np.float64]
    tried: NDArray[np.bool_]


@dataclass(frozen=True)
class Gap:
    """What a plan on a learned model is worth in the true world, per episode of the natural stream.

    Attributes:
        got: Its ideal utility.
        most: That of the best plan on the true model.
        promised: What the learned model promises.
    """

    got: float
    most: float
    promised: float

    @property
    def lost(self) -> float:
        """Share of the most that is lost."""
        return (self.most - self.got) / self.most


def learn(played: Trajectories, observations: Sequence[str]) -> Learned:
    """Count a model from whole episodes.

    Args:
        played: The episodes.
        observations: Names of the world's observations that it keeps.
    """
    world, (steps, num, _) = played.world, played.observations.shape
    kept = tuple(world.observations.index(name) for name in observations)
    seen, numbers = np.unique(played.observations[:, :, kept].reshape(steps * num, -1), axis=0, return_inverse=True)
    at, actions = numbers.reshape(steps, num), played.actions
    weights = event_weights(world, world.ideal)
    told = sum(weights[i] * played.when(event) for i, event in enumerate(world.events))
    shape = (len(seen), len(world.actions))
    times, total = np.zeros(shape), np.zeros(shape)
    np.add.at(times, (at, actions), 1.0)
    np.add.at(total, (at, actions), told)
    following = np.zeros((*shape, len(seen)))
    np.add.at(following, (at[:-1], actions[:-1], at[1:]), 1.0)
    onward = following.sum(axis=2, keepdims=True)
    following = np.divide(following, onward, out=np.zeros_like(following), where=onward > 0)
    return Learned(kept, seen, following, total / np.maximum(times, 1.0), times > 0)


def plan(of: Learned, horizon: int) -> NDArray[np.float64]:
    """Values `(horizon, K, A)` of each action with 1, 2, ... `horizon` steps to go; -inf where it was never tried."""
    values = np.empty((horizon, *of.paid.shape))
    best = np.zeros(len(of.seen))
    for steps in range(horizon):
        values[steps] = np.where(of.tried, of.paid + of.following @ best, -np.inf)
        best = np.where(of.tried.any(axis=1), values[steps].max(axis=1), 0.0)
    return values


def follow(of: Learned, values: NDArray[np.float64], world: World, scenarios: Scenarios) -> NDArray[np.float64]:
    """Ideal utility `(n,)` of doing what the plan values most, and the first action where nothing like it was seen."""
    play, weights = world.begin(scenarios), event_weights(world, world.ideal)
    observations = np.empty((len(scenarios), len(world.observations)), np.float32)
    utility = np.zeros(len(scenarios))
    for to_go in range(world.horizon, 0, -1):
        play.observe(observations)
        number = number_of(of, observations)
        actions = np.where(number >= 0, values[to_go - 1, number].argmax(axis=1), 0)
        words = np.zeros(len(scenarios), np.uint64)
        play.step(actions, words)
        utility += ((words[:, None] >> np.arange(len(weights), dtype=np.uint64)) & np.uint64(1)) @ weights
    return utility


def number_of(of: Learned, observations: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of what is seen in the model, `(n,)`; -1 where nothing like it was seen."""
    same = (observations[:, None, of.kept] == of.seen[None]).all(axis=2)
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def gap(world: StateMachine, observations: Sequence[str], num_episodes: int, rng: np.random.Generator) -> Gap:
    """Learn a model from random episodes of the natural stream, plan on it, and hold the plan against the true world.

    Args:
        world: A world whose rules do not depend on the step.
        observations: The ontology: names of the world's observations that the model keeps.
        num_episodes: Episodes of random actions.
        rng: For the episodes.
    """
    of = learn(rollout(UniformPolicy(world), world, natural(world, num_episodes, rng), rng), observations)
    values, (scenarios, probs) = plan(of, world.horizon), natural_exactly(world)
    first = np.empty((len(scenarios), len(world.observations)), np.float32)
    world.begin(scenarios).observe(first)
    number = number_of(of, first)
    promised = np.where(number >= 0, values[-1, number].max(axis=1), 0.0)
    weights = event_weights(world, world.ideal)
    most = [action_values(model(world, row[None]), weights, world.horizon)[-1, 0].max() for row in scenarios]
    return Gap(
        float(follow(of, values, world, scenarios) @ probs), float(np.array(most) @ probs), float(promised @ probs)
    )


def table(episodes: Sequence[int] = EPISODES, seeds: Sequence[int] = SEEDS) -> str:
    """Ideal utility lost, and what the model promised beyond what its plan got, by episodes and ontology: the mean over
    seeds, and the least and the most; as a Markdown table."""
    world = Drug()
    heads = [f"{name}: {what}" for name in ONTOLOGIES for what in ("lost", "promised beyond")]
    lines = [f"| episodes | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for number in episodes:
        cells = []
        for kept in ONTOLOGIES.values():
            found = [gap(world, kept, number, np.random.default_rng([seed, number])) for seed in seeds]
            lost = [100 * each.lost for each in found]
            beyond = [each.promised - each.got for each in found]
            cells.append(f"{np.mean(lost):.1f}% ({min(lost):.1f}% to {max(lost):.1f}%)")
            cells.append(f"{np.mean(beyond):+.2f} ({min(beyond):+.2f} to {max(beyond):+.2f})")
        lines.append(f"| {number:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
