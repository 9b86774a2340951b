"""RLlib's own PPO on a world: the baseline of the lab's training path."""

from __future__ import annotations

import gymnasium
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from kerf.agents.config import ppo_settings
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.lab.gym import environment_id
from kerf.lab.worlds import get_world


def stock_ppo(world: str, network: NetworkSettings, training: TrainingSettings, num_envs: int) -> PPOConfig:
    """Stock PPO with our settings, as far as it has them, on the world's native gymnasium batch in this process.

    Settings that our own training path has, too, are equal (network, batch of whole episodes, minibatches, epochs,
    PPO's coefficients); all others are RLlib's defaults: env runner, connectors, learner, standardised advantages.

    Args:
        world: Name of a registered world.
        network: Trunk of policy and state value.
        training: `num_env_runners`, `num_learners`, `reward_scale`, and the settings of losses that stock PPO lacks
            are ignored.
        num_envs: Episodes played in parallel.
    """
    return (
        PPOConfig()
        .environment(f"kerf.lab.gym:{environment_id(world)}")
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=num_envs,
            gym_env_vectorize_mode=gymnasium.VectorizeMode.VECTOR_ENTRY_POINT,
            rollout_fragment_length="auto",
        )
        .learners(num_learners=0)
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=list(network.hidden),
                fcnet_activation=network.activation,
                vf_share_layers=network.shared_trunk,
            )
        )
        .training(**ppo_settings(training, training.num_scenarios * get_world(world).horizon))
    )
