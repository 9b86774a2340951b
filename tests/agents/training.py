"""Common parts of the tests of the training path: sources, a small algorithm, and exact comparison of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.config import KerfConfig
from kerf.agents.network import Weights
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import Policy, Trajectories, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import natural
from kerf.lab.worlds import get_world

LEVER = "tests.toy_world:Lever"
NETWORK = NetworkSettings(hidden=(16,))


class Natural:
    """The natural stream; keeps what it was told, and how often, as its state."""

    def __init__(self) -> None:
        self.told = 0
        self.scores: NDArray[np.float64] = np.zeros(0)

    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return natural(get_world(LEVER), n, rng)

    def tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        self.told += 1
        self.scores = scores

    def get_state(self) -> dict[str, Any]:
        return {"told": self.told, "scores": self.scores}

    def set_state(self, state: dict[str, Any]) -> None:
        self.told, self.scores = state["told"], state["scores"]


class Forged(Natural):
    """Nothing but perfect forgeries."""

    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return get_world(LEVER).dilemma.forge(n, 1.0, rng)


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(**({"num_scenarios": 64, "minibatch_size": 48, "num_epochs": 2} | changes))


def config(seed: int = 1, **changes: Any) -> KerfConfig:
    """A small config on `Lever`; `changes` are arguments of `KerfConfig.kerf`."""
    defaults = {
        "world": LEVER,
        "source": Natural(),
        "seed": seed,
        "network": NETWORK,
        "training": settings(),
        "advantage_scale": 0.05,
        "latent_scale": 1.0,
    }
    return KerfConfig().kerf(**(defaults | changes))


def trained(num_iterations: int, seed: int = 1, **changes: Any) -> Weights:
    """Weights after `num_iterations` of a fresh algorithm."""
    algorithm = config(seed, **changes).build_algo()
    weights = train(algorithm, num_iterations)
    algorithm.stop()
    return weights


def train(algorithm: KerfAlgorithm, num_iterations: int) -> Weights:
    for _ in range(num_iterations):
        algorithm.train()
    return algorithm.policy().weights()


def same(left: Weights, right: Weights) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return set(left) == set(right) and all(left[name].tobytes() == right[name].tobytes() for name in left)


def play(policy: Policy, scenarios: Scenarios, seed: int = 0) -> Trajectories:
    return rollout(policy, get_world(LEVER), scenarios, np.random.default_rng(seed))


def mean_utility(policy: Policy, num_scenarios: int = 2000) -> float:
    """Mean ideal utility on fixed natural scenarios."""
    scenarios = natural(get_world(LEVER), num_scenarios, np.random.default_rng(123))
    return float(ideal_utility(play(policy, scenarios)).mean())
