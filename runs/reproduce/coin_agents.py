"""Agents trained from scratch in `coins` for published results about goals that training does not tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.architectures import without_memory
from kerf.agents.config import KerfConfig
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.generators.base import Generator
from kerf.generators.mixture import Mixture
from kerf.lab.reward_spec import design_weights
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import one_hot
from kerf.lab.seeds import entropy
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.lab.worlds.coins import ACTIONS, CHANNELS

NETWORK = NetworkSettings(hidden=(32,), shared_trunk=False)
PPO = TrainingSettings(
    num_scenarios=128,
    minibatch_size=512,
    learning_rate=5e-3,
    advantage_scaling="none",
    entropy_coeff=0.01,
    max_grad_norm=10.0,
)
ITERATIONS = 60
PLAYS = 64
"""Episodes of each scenario by which an agent is judged."""


def world() -> World:
    """The mazes with coins, the same object each time."""
    return get_world("coins")


def scenarios(*texts: str) -> Scenarios:
    """Scenarios from the inside of their text form, each with every paint of training, `(3 * n, F)`."""
    space = world().space
    painted = [f"coins({text}, paint={paint})" for text in texts for paint in range(3)]
    return np.stack([space.from_text(one) for one in painted])


class Listed(Generator):
    """Scenarios of a list, each as likely as the others.

    Args:
        rows: `(k, F)`.
    """

    def __init__(self, rows: Scenarios) -> None:
        super().__init__(world())
        self._rows = rows

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return self._rows[rng.integers(len(self._rows), size=n)]


@dataclass(frozen=True)
class Levels:
    """A stream of levels.

    Attributes:
        usual: Where what is wanted lies at the end, `(k, F)`.
        randomised: Where it lies elsewhere, `(m, F)`.
        share: Share of the randomised levels, alpha.
    """

    usual: Scenarios
    randomised: Scenarios
    share: float = 0.0

    def source(self) -> Generator:
        return Mixture((Listed(self.randomised), Listed(self.usual)), (self.share, 1.0 - self.share))


def trained(seed: int, levels: Levels, design: str, iterations: int = ITERATIONS) -> TorchPolicy:
    """The agent of a seed after PPO from random weights. Agents of one seed share these, and all streams of chance."""
    (weights,) = np.random.SeedSequence(entropy(seed, "weights")).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(weights))
    network = PolicyNetwork(len(world().observations), len(ACTIONS), NETWORK, generator)
    config = KerfConfig().kerf(
        world="coins",
        source=levels.source(),
        seed=entropy(seed, "coins"),
        network=NETWORK,
        training=PPO,
        design=design_weights(world(), design),
    )
    algorithm: KerfAlgorithm = config.build_algo()
    try:
        algorithm.load_weights(network.weights())
        for _ in range(iterations):
            algorithm.train()
        return without_memory(algorithm.policy(), "the entry")
    finally:
        algorithm.stop()


def shares(policy: TorchPolicy, rows: Scenarios, events: Sequence[str]) -> NDArray[np.float64]:
    """How often each event happens in `rows` `(k, F)`, `(E,)`; all agents play with the same random numbers."""
    played = rollout(policy, world(), np.repeat(rows, PLAYS, axis=0), np.random.default_rng(0))
    return np.array([played.happened(event).mean() for event in events])


@dataclass(frozen=True)
class Follows:
    """Policy that goes the shortest way to what one channel of the observations shows."""

    channel: str

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        first, step = CHANNELS.index(self.channel), len(CHANNELS)
        return one_hot(observations[:, first : 4 * step : step].argmax(axis=1), len(ACTIONS))


def valued(policy: TorchPolicy, rows: Scenarios, channel: str) -> float:
    """What the critic expects a step before it arrives at what `channel` shows, a mean over `rows`, in units of
    utility: its best guess of the rest of the episode, wherever the actor would have gone."""
    played = rollout(Follows(channel), world(), rows, np.random.default_rng(0))
    last = played.when("stepped").sum(axis=0) - 1
    seen = played.observations[last, np.arange(len(rows))]
    return float(policy.state_values(seen).mean()) / PPO.reward_scale


@cache
def strip(share: float) -> Levels:
    """The strip with a gold coin: at the right end as usual, or at the left."""
    return Levels(scenarios("layout=strip, gold=1"), scenarios("layout=strip, gold=2"), share)


@cache
def mazes_with_junk() -> Levels:
    """All mazes with something yellow at the end; its places elsewhere are as far from the start as the end is."""
    usual = scenarios(*(f"layout={layout}, junk=1" for layout in ("strip", "hooks", "stairs", "cross")))
    return Levels(usual, scenarios("layout=strip, junk=2", "layout=hooks, junk=3"))
