"""Peer of `kerf bench train`: rejax's PPO on gymnax's CartPole-v1, compiled into one XLA program.

Run by `kerf.runs.bench.peer_side` in its own environment, which has jax. Settings that rejax does not offer keep its
defaults: gradients are clipped element by element, not by their norm, and the critic's loss is clipped too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnax
import jax
from gymnax.environments import spaces
from jax import numpy as jnp
from rejax import PPO


class Padded:
    """A gymnax environment with observations padded with zeros to `size` numbers."""

    def __init__(self, env: Any, size: int) -> None:
        self.env, self.size = env, size

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # rejax copies its arguments, and a copy under construction has none yet
            raise AttributeError(name)
        return getattr(self.env, name)

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(-jnp.inf, jnp.inf, (self.size,), jnp.float32)

    def reset(self, key: Any, params: Any) -> tuple[Any, Any]:
        observation, state = self.env.reset(key, params)
        return self._padded(observation), state

    def step(self, key: Any, state: Any, action: Any, params: Any) -> tuple[Any, Any, Any, Any, Any]:
        observation, state, reward, done, info = self.env.step(key, state, action, params)
        return self._padded(observation), state, reward, done, info

    def _padded(self, observation: Any) -> Any:
        return jnp.pad(observation, (0, self.size - len(observation)))


class Rejax:
    """`iterations` of PPO under one `lax.scan`."""

    packages = ("rejax", "gymnax", "jax", "jaxlib", "flax", "optax")

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        num_envs, num_steps, iterations = sizes["num_envs"], sizes["num_steps"], sizes["iterations"]
        self.num_steps = num_envs * num_steps * iterations
        env, env_params = gymnax.make("CartPole-v1")
        if sizes["num_observations"] > 4:
            env = Padded(env, sizes["num_observations"])
        algorithm = PPO.create(
            env=env,
            env_params=env_params,
            num_envs=num_envs,
            num_steps=num_steps,
            num_minibatches=num_envs * num_steps // sizes["minibatch_size"],
            num_epochs=sizes["num_epochs"],
            learning_rate=sizes["learning_rate"],
            gamma=sizes["gamma"],
            gae_lambda=sizes["gae_lambda"],
            clip_eps=sizes["clip"],
            vf_coef=sizes["value_coeff"],
            ent_coef=sizes["entropy_coeff"],
            max_grad_norm=sizes["max_grad_norm"],
            agent_kwargs={"hidden_layer_sizes": tuple(sizes["hidden"]), "activation": sizes["activation"]},
        )

        def iteration(state: Any, _: None) -> tuple[Any, None]:
            return algorithm.train_iteration(state), None

        def train(state: Any) -> Any:
            return jax.lax.scan(iteration, state, None, iterations)[0]

        self._train = jax.jit(train, donate_argnums=0)
        self._state = jax.jit(algorithm.init_state)(jax.random.PRNGKey(0))

    def run(self) -> None:
        self._state = jax.block_until_ready(self._train(self._state))

    def score(self) -> float:
        """Mean age of the episodes in progress, in steps; episodes end when the pole falls, or after 500 steps."""
        return float(self._state.env_state.time.mean())


def build(sizes: Mapping[str, Any]) -> Rejax:
    return Rejax(sizes)
