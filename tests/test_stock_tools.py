"""The stock road stays open: other people's PPO trains on `station`, by nothing but gymnasium's interface."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest
import ray
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env

from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.agents.stock import stock_ppo

ENVIRONMENT = "kerf.lab.gym:kerf/Station-v0"
NUM_STEPS = 20_000
NUM_ENVS = 32
HORIZON = 24

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A private Ray."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.usefixtures("cluster")
def test_rllib_ppo_trains_on_the_native_batch() -> None:
    training = TrainingSettings(num_scenarios=200, minibatch_size=500, num_epochs=2)
    config = stock_ppo("station", NetworkSettings(hidden=(32, 32)), training, NUM_ENVS).debugging(seed=0)
    algorithm = config.build_algo()
    try:
        results: list[dict[str, Any]] = [algorithm.train()]
        while results[-1]["num_env_steps_sampled_lifetime"] < NUM_STEPS:
            results.append(algorithm.train())
            assert len(results) <= 2 * NUM_STEPS // (200 * HORIZON), "it does not get on"
    finally:
        algorithm.stop()
    for result in results:
        losses = result["learners"]["default_policy"]
        for name in ("total_loss", "policy_loss", "vf_loss", "entropy"):
            assert math.isfinite(float(losses[name])), name
        assert math.isfinite(result["env_runners"]["episode_return_mean"])
        assert result["env_runners"]["episode_len_mean"] == HORIZON


def test_stable_baselines3_ppo_trains_on_single_episodes() -> None:
    check_env(gymnasium.make(ENVIRONMENT).unwrapped)
    envs = make_vec_env(ENVIRONMENT, n_envs=NUM_ENVS, seed=0)
    model = PPO("MlpPolicy", envs, n_steps=125, batch_size=1000, n_epochs=2, seed=0, device="cpu")
    model.learn(NUM_STEPS)
    assert model.num_timesteps >= NUM_STEPS
    losses = model.logger.name_to_value
    for name in ("train/loss", "train/value_loss", "train/policy_gradient_loss", "train/approx_kl"):
        assert math.isfinite(losses[name]), name
    lengths = [episode["l"] for episode in model.ep_info_buffer or ()]
    assert lengths
    assert set(lengths) == {HORIZON}
    assert all(math.isfinite(parameter.sum().item()) for parameter in model.policy.parameters())
