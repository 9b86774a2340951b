"""Every learning algorithm and optimiser on the contract: it learns, repeats itself, resumes bit for bit, and is
reached by the penalty."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kerf.agents.building import Learning, build
from kerf.agents.dqn import TEMPERATURE, epsilon, scaled
from kerf.agents.methods import METHODS
from kerf.agents.network import TorchPolicy
from kerf.agents.settings import NetworkSettings
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost
from kerf.lab.worlds import get_world
from tests.agents.training import LEVER, Forged, Natural, config, mean_utility, play, same, settings
from tests.toy_world import best_natural_utility

WORLD = get_world(LEVER)
SIZES = {"num_scenarios": 64, "minibatch_size": 96, "num_epochs": 2, "advantage_scaling": "batch"}
WAYS: dict[str, dict[str, Any]] = {
    "sgd": {"optimiser": "sgd", "learning_rate": 0.5},
    "dqn": {
        "algorithm": "dqn",
        "learning_rate": 5e-3,
        "reward_scale": 1.0,
        "max_grad_norm": 10.0,
        "minibatch_size": 64,
        "num_epochs": 4,
        "dqn": {"n_step": 3, "epsilon": 0.2},
    },
    "appo": {"algorithm": "appo", "learning_rate": 1e-2, "reward_scale": 1.0, "clip": 0.4, "entropy_coeff": 0.1},
}
ITERATIONS = {"sgd": 60, "dqn": 12, "appo": 40}
NUM = 2


class Plain(Natural):
    """A source whose state is plain JSON, as checkpoints need it."""

    def get_state(self) -> dict[str, Any]:
        return {"told": self.told}

    def set_state(self, state: dict[str, Any]) -> None:
        self.told = state["told"]


class PlainForged(Plain, Forged):
    pass


def built(way: str, seed: int = 1, **changes: Any) -> Learning:
    training = settings(**SIZES | WAYS[way])
    return build(config(seed, **{"source": Plain(), "training": training} | changes))


def run(algorithm: Learning, num_iterations: int) -> dict[str, Any]:
    for _ in range(num_iterations):
        result = algorithm.train()
    return dict(result)


@pytest.fixture(scope="module", params=WAYS)
def learnt(request: pytest.FixtureRequest) -> tuple[str, TorchPolicy]:
    """What each makes of the ideal utility on the natural stream, by itself."""
    algorithm = built(request.param)
    run(algorithm, ITERATIONS[request.param])
    policy = algorithm.policy()
    algorithm.stop()
    return request.param, policy


def leaves_on_forgeries(policy: TorchPolicy) -> float:
    forged = WORLD.dilemma.forge(500, 1.0, np.random.default_rng(3))
    return float(play(policy, forged).happened("left_unpermitted").mean())


def test_reward_alone_brings_it_near_the_optimum_and_the_penalty_reaches_it(learnt: tuple[str, TorchPolicy]) -> None:
    way, aligned = learnt
    assert mean_utility(aligned) > 0.8 * best_natural_utility()
    assert leaves_on_forgeries(aligned) > 0.8
    algorithm = built(way, 7, source=PlainForged(), grader=ExPost(), penalty=10.0)
    algorithm.load_weights(aligned.weights())
    assert same(algorithm.policy().weights(), aligned.weights()), "it starts where alignment ended"
    result = run(algorithm, 10)
    assert algorithm.penalty_counts.sum() == round(64 * result["env_runners"]["penalised"])
    assert leaves_on_forgeries(algorithm.policy()) < 0.2
    algorithm.stop()


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_gives_the_same_bytes_resumed_or_not(way: str) -> None:
    first, again, other = built(way), built(way), built(way, seed=2)
    run(first, NUM)
    arrays, plain = first.training_state()
    plain = json.loads(json.dumps(plain))
    assert all(array.dtype != object for array in arrays.values())
    run(first, NUM)
    run(again, 2 * NUM)
    run(other, NUM)
    assert same(first.policy().weights(), again.policy().weights())
    assert not same(first.policy().weights(), other.policy().weights())
    other.load_training_state(arrays, plain)
    assert other.num_iterations == NUM
    resumed = built(way)
    resumed.load_training_state(arrays, plain)
    run(resumed, NUM)
    assert same(resumed.policy().weights(), first.policy().weights())
    (ours, _), (theirs, _) = resumed.training_state(), first.training_state()
    assert {name: array.tobytes() for name, array in ours.items()} == {n: a.tobytes() for n, a in theirs.items()}


def test_no_penalty_is_bit_identical_to_none_at_all() -> None:
    for way in WAYS:
        bare, graded = built(way), built(way, grader=ExPost())
        run(bare, 2)
        run(graded, 2)
        assert same(bare.policy().weights(), graded.policy().weights())


def test_a_state_of_another_network_is_refused() -> None:
    arrays, plain = built("dqn").training_state()
    with pytest.raises(KerfError, match="of another network"):
        built("dqn", network=NetworkSettings(hidden=(8,))).load_training_state(arrays, plain)


def test_an_expert_shows_dqn_what_to_do() -> None:
    """With nothing but the expert's play it learns the expert's policy from rewards."""
    plays = {"imitation_coeff": 1.0, "policy_coeff": 0.0, "dqn": {"epsilon": 0.5}}
    shown = settings(**SIZES | WAYS["dqn"] | plays)
    algorithm = build(config(source=Plain(), training=shown))
    returns = [run(each, 1)["env_runners"]["return_utility"] for each in (algorithm, built("dqn"))]
    assert returns[0] > returns[1] + 0.2, "the expert plays from the first iteration on"
    run(algorithm, 11)
    assert mean_utility(algorithm.policy()) > 0.9 * best_natural_utility()


def test_dqn_explores_as_its_settings_say() -> None:
    annealed = settings(dqn={"epsilon": 1.0, "epsilon_end": 0.2, "epsilon_iterations": 4})
    assert [round(epsilon(annealed, k), 6) for k in (0, 1, 2, 4, 9)] == [1.0, 0.8, 0.6, 0.2, 0.2]
    assert epsilon(settings(dqn={"epsilon": 0.3}), 5) == 0.3


def test_the_measured_agent_of_dqn_is_greedy_and_scaling_its_head_loses_nothing() -> None:
    algorithm = built("dqn")
    run(algorithm, 2)
    weights = algorithm.policy().weights()
    assert same(scaled(scaled(weights, TEMPERATURE), 1.0 / TEMPERATURE), weights)
    observations = np.eye(7, dtype=np.float32)
    logits = algorithm.policy().logits(observations)
    assert np.ptp(logits, axis=1).min() > 1.0


def test_what_an_algorithm_lacks_is_refused() -> None:
    with pytest.raises(KerfError, match="algorithm: unknown algorithm 'dqm'"):
        settings(algorithm="dqm")
    with pytest.raises(KerfError, match="num_env_runners must be 0 with dqn"):
        build(config(training=settings(algorithm="dqn", num_env_runners=2)))
    with pytest.raises(KerfError, match="settings here are PPO's, got 'dqn'"):
        config(training=settings(algorithm="dqn")).build_algo()
    assert set(METHODS) == {"ppo", "dqn", "appo"}
