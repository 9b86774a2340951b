"""Facts about RLlib 2.60 that the training path relies on: if one of them changes, it shows here first."""

from __future__ import annotations

import inspect
import random
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
import tree
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.effective_steps import FIGURES
from kerf.agents.env_runner import KerfEnvRunner
from kerf.agents.learner import KerfLearner
from kerf.lab.grader import Rule
from tests.agents.training import config, same, train


@pytest.fixture(scope="module")
def algorithm() -> KerfAlgorithm:
    return config().build_algo()


def test_the_version_is_the_one_that_was_checked() -> None:
    assert ray.__version__ == "2.60.0"


def test_it_is_an_rllib_algorithm(algorithm: KerfAlgorithm) -> None:
    assert isinstance(algorithm, PPO)
    assert isinstance(algorithm.env_runner, EnvRunner)
    assert isinstance(algorithm.learner_group._learner, PPOTorchLearner)
    assert algorithm.config.seed is None


@pytest.mark.usefixtures("one_ray")
def test_rllib_drops_settings_of_minus_one_and_the_sign_survives(tmp_path: Path) -> None:
    lossy = PPOConfig()
    lossy.grad_clip = -1
    assert PPOConfig.from_state(lossy.get_state()).grad_clip is None
    turned = config(grader=Rule(), penalty=1.0, penalty_sign=-1).build_algo()
    assert turned.config.signed_penalty == -1.0
    assert KerfAlgorithm.from_checkpoint(turned.save_to_path(str(tmp_path))).config.signed_penalty == -1.0
    assert turned.train()["env_runners"]["return_penalty"] < 0


def test_set_state_is_called_by_the_name_of_its_parameter() -> None:
    for owner in (KerfEnvRunner, KerfLearner, KerfAlgorithm):
        inspect.signature(owner.set_state).bind(None, state={})


def test_weights_for_inference_include_the_critic(algorithm: KerfAlgorithm) -> None:
    state = algorithm.learner_group.get_state(components="learner/rl_module", inference_only=True)
    names = state["learner"]["rl_module"][DEFAULT_MODULE_ID]
    assert {"network.value_head.weight", "network.value_head.bias"} <= set(names)


def test_rllib_gates_older_weights_and_our_learner_does_not(algorithm: KerfAlgorithm) -> None:
    learner = algorithm.learner_group._learner
    older = learner.get_state()
    older[WEIGHTS_SEQ_NO] = 1
    before = algorithm.policy().weights()
    train(algorithm, 3)
    newer = algorithm.policy().weights()
    PPOTorchLearner.set_state(learner, dict(older))
    assert same(algorithm.policy().weights(), newer)
    learner.set_state(dict(older))
    assert same(algorithm.policy().weights(), before)


def test_states_do_not_share_memory_with_the_live_weights(algorithm: KerfAlgorithm) -> None:
    before = algorithm.policy()
    held = algorithm._weights()
    train(algorithm, 1)
    assert same(held, before.weights())


def test_rllibs_view_of_the_module_is_up_to_date(algorithm: KerfAlgorithm) -> None:
    weights = train(algorithm, 1)
    assert same(algorithm.get_module().network.weights(), weights)


def test_a_build_without_a_seed_leaves_global_generators_alone() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002  # the global generators are the point
    torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()  # noqa: NPY002
    train(config().build_algo(), 1)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tobytes() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_build_leaves_nothing_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "results"))
    config().build_algo().train()
    assert not (tmp_path / "results").exists()


def test_every_number_in_a_result_is_finite(algorithm: KerfAlgorithm) -> None:
    algorithm.train()
    result = algorithm.train()
    parts = {key: result[key] for key in ("env_runners", "learners")}
    numbers = {path[-1]: number for path, number in tree.flatten_with_path(parts)}
    assert len(numbers) > 10
    assert {name for name, number in numbers.items() if not np.isfinite(number)} <= set(FIGURES), (
        "measured now and then"
    )
