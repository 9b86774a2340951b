"""Peer of `kerf bench train`: Stable-Baselines3's PPO on a world, through gymnasium, singly or as a batch.

Run by `kerf.runs.bench.peer_side`. Policy and state value share their hidden layers. All settings not given here keep
the defaults of Stable-Baselines3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from kerf.lab.gym import WorldVectorEnv, environment_id

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class NativeBatch(VecEnv):
    """`WorldVectorEnv` with the interface of Stable-Baselines3: new episodes begin in the step that ends the old
    ones."""

    def __init__(self, world: str, num_envs: int) -> None:
        self._envs = WorldVectorEnv(world, num_envs)
        super().__init__(num_envs, self._envs.single_observation_space, self._envs.single_action_space)
        self._actions = np.zeros(num_envs, np.int64)
        self._utility = 0.0
        self.episode_utility = 0.0
        """Mean ideal utility of the episodes that ended last."""

    def reset(self) -> NDArray[np.float32]:
        self._utility = 0.0
        return self._envs.reset(seed=self._seeds[0])[0]

    def step_async(self, actions: NDArray[np.int64]) -> None:
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], list[dict[str, Any]]]:
        observations, rewards, over, _, _ = self._envs.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._utility += float(rewards.mean())
        if over[0]:  # all episodes end at the same step
            for info, last in zip(infos, observations, strict=True):
                info["terminal_observation"] = last
            self.episode_utility, self._utility = self._utility, 0.0
            observations, _ = self._envs.reset()
        return observations, rewards, over, infos

    def close(self) -> None:
        self._envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self._envs, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the episodes of a batch have no attributes of their own")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("the episodes of a batch have no methods of their own")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


class Trunk(BaseFeaturesExtractor):
    """The hidden layers that policy and state value share."""

    def __init__(self, observation_space: gymnasium.spaces.Box, hidden: Sequence[int], activation: str) -> None:
        super().__init__(observation_space, features_dim=hidden[-1])
        widths = [*observation_space.shape, *hidden]
        layers = [(nn.Linear(*pair), ACTIVATIONS[activation]()) for pair in pairwise(widths)]
        self.layers = nn.Sequential(*(part for layer in layers for part in layer))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layers(observations)
        return features


class StableBaselines:
    """`iterations` of PPO."""

    packages = ("stable-baselines3", "torch", "gymnasium", "numpy")

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        torch.set_num_threads(sizes["cores"])
        self.num_steps = sizes["num_envs"] * sizes["num_steps"] * sizes["iterations"]
        self._envs: VecEnv
        if sizes["native"]:
            self._envs = NativeBatch(sizes["world"], sizes["num_envs"])
        else:
            self._envs = make_vec_env(f"kerf.lab.gym:{environment_id(sizes['world'])}", sizes["num_envs"], seed=0)
        self._model = PPO(
            "MlpPolicy",
            self._envs,
            n_steps=sizes["num_steps"],
            batch_size=sizes["minibatch_size"],
            n_epochs=sizes["num_epochs"],
            learning_rate=sizes["learning_rate"],
            gamma=sizes["gamma"],
            gae_lambda=sizes["gae_lambda"],
            clip_range=sizes["clip"],
            vf_coef=sizes["value_coeff"],
            ent_coef=sizes["entropy_coeff"],
            max_grad_norm=sizes["max_grad_norm"],
            policy_kwargs={
                "features_extractor_class": Trunk,
                "features_extractor_kwargs": {"hidden": sizes["hidden"], "activation": sizes["activation"]},
                "net_arch": [],
            },
            seed=0,
            device="cpu",
        )

    def run(self) -> None:
        self._model.learn(self.num_steps, reset_num_timesteps=False)

    def score(self) -> float:
        """Mean ideal utility of the last episodes."""
        if isinstance(self._envs, NativeBatch):
            return self._envs.episode_utility
        return float(np.mean([episode["r"] for episode in self._model.ep_info_buffer or ()]))


def build(sizes: Mapping[str, Any]) -> StableBaselines:
    return StableBaselines(sizes)
