"""RLlib's DQN on the stock path: its training step, replay buffer, learner and loss, fed with our episodes.

Ours are the episodes (scenarios from the source, played as a whole batch and graded), the network, and the state that
travels in checkpoints. RLlib's dueling network is the one that PPO trains (`kerf.agents.network.PolicyNetwork`), read
in another way: the policy head is the advantage stream and the value head the state-value stream,
`Q(o, a) = V(o) + A(o, a) - mean A(o, .)`, in units of scaled reward. The agent that is measured plays
softmax(Q / TEMPERATURE), so that a network of the same form holds it.

Alignment by imitation means here to learn from the expert's play: of the episodes the share
`imitation_coeff / (imitation_coeff + policy_coeff)` is played by the world's expert, with the same share of random
actions as all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.dqn import DQN, DQNConfig
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME

from kerf.agents.config import REPLAYED, KerfConfig
from kerf.agents.learner import register_optimiser
from kerf.agents.network import PolicyNetwork, TorchPolicy, Weights
from kerf.agents.player import Actor, Played
from kerf.agents.replay_state import load_replay, replay_state
from kerf.agents.scenario_loop import ScenarioLoop, without_ray
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.agents.stock_path import EpisodeRunner, configured, is_target, load_network_state, network_state
from kerf.lab.errors import KerfError
from kerf.lab.world import World

TEMPERATURE = 2.0**-10
"""What the agent divides Q by, in units of scaled reward: it plays the best action, unless others are worth as much
to that accuracy. A power of two, so that weights are scaled without rounding."""

_HEAD = "policy_head."


def build(config: KerfConfig) -> KerfDQN:
    """Build RLlib's DQN (`kerf.agents.building`).

    Raises:
        KerfError: if the network has two trunks.
    """
    if not config.network.shared_trunk:
        raise KerfError("network.shared_trunk must be true with DQN, whose two streams share their hidden layers")
    stock = configured(StockDQNConfig(), config, DQNRunner, KerfDQNLearner)
    stock.rl_module(
        rl_module_spec=RLModuleSpec(
            module_class=KerfQModule,
            model_config={
                "network": config.network.model_dump(),
                "weights_seed": config.torch_seed("weights"),
                "dueling": True,
                "double_q": True,
                "num_atoms": 1,
                "epsilon": 0.0,
            },
        )
    )
    settings, horizon = config.settings, stock.horizon
    steps = settings.num_scenarios * horizon
    stock.training(
        lr=settings.learning_rate,
        gamma=settings.gamma,
        grad_clip=settings.max_grad_norm,
        train_batch_size_per_learner=min(settings.minibatch_size, steps),
        training_intensity=float(settings.num_epochs),
        n_step=min(settings.dqn.n_step, horizon),
        target_network_update_freq=settings.dqn.target_every * steps,
        num_steps_sampled_before_learning_starts=0,
        replay_buffer_config={"capacity": max(settings.dqn.capacity, steps)},
    )
    algorithm: KerfDQN = stock.build_algo()
    return algorithm


def epsilon(settings: TrainingSettings, iteration: int) -> float:
    """The share of random actions of iteration `iteration`, counted from 0."""
    dqn = settings.dqn
    if dqn.epsilon_end is None:
        return dqn.epsilon
    done = min(1.0, iteration / dqn.epsilon_iterations)
    return dqn.epsilon + done * (dqn.epsilon_end - dqn.epsilon)


class StockDQNConfig(DQNConfig):
    """RLlib's settings, and ours as `lab`."""

    lab: KerfConfig
    horizon: int

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or KerfDQN)


class KerfQModule(DefaultDQNTorchRLModule):
    """`PolicyNetwork` as RLlib's dueling double DQN sees it. `model_config` is that of `kerf.agents.module.KerfModule`
    and what RLlib adds for DQN."""

    def setup(self) -> None:
        self.uses_dueling, self.uses_double_q, self.num_atoms = True, True, 1
        self.network = PolicyNetwork(
            int(self.observation_space.shape[0]),
            int(self.action_space.n),
            NetworkSettings(**self.model_config["network"]),
            torch.Generator().manual_seed(self.model_config["weights_seed"]),
        )

    def make_target_networks(self) -> None:
        self._target_network = make_target_network(self.network)

    def get_target_network_pairs(self) -> list[tuple[PolicyNetwork, PolicyNetwork]]:
        return [(self.network, self._target_network)]

    def get_non_inference_attributes(self) -> list[str]:
        return ["_target_network"]

    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Any]:
        return self._q_values(self.network, batch)

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        return self._q_values(self._target_network, batch)

    def get_initial_state(self) -> dict[str, Any]:
        return {}

    def _q_values(self, network: PolicyNetwork, batch: dict[str, Any]) -> dict[str, Any]:
        """RLlib's dueling streams on this network."""
        values: dict[str, Any] = self._qf_forward_helper(
            batch,
            lambda inputs: {ENCODER_OUT: network.policy_trunk(inputs[Columns.OBS])},
            {"af": network.policy_head, "vf": network.value_head},
        )
        return values


class KerfDQNLearner(DQNTorchLearner):
    """RLlib's DQN learner, with the optimiser that our settings name."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        register_optimiser(self, module_id, self.config.lab.settings)


class EpsilonGreedy:
    """Plays some episodes by the best advantage, or by the world's expert, but a share of actions at random.

    Args:
        network: Its policy head is the advantage stream.
        share: Of random actions.
        world: Whose expert plays.
        demonstrated: `(n,)` bool, the episodes that it plays.
    """

    def __init__(self, network: PolicyNetwork, share: float, world: World, demonstrated: NDArray[np.bool_]) -> None:
        self._policy, self._share, self._world, self._demonstrated = TorchPolicy(network), share, world, demonstrated
        self._state_values: list[NDArray[np.float32]] = []

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        advantages, values = self._policy.outputs(observations)
        self._state_values.append(values + advantages.max(axis=1) - advantages.mean(axis=1))
        best = advantages.argmax(axis=1)
        if self._demonstrated.any():
            best = np.where(self._demonstrated, self._world.expert(observations), best)
        n, num_actions = advantages.shape
        rare = self._share / num_actions
        logits = np.full((n, num_actions), math.log(rare) if rare > 0.0 else -np.inf, np.float32)
        logits[np.arange(n), best] = math.log(1.0 - self._share + rare)
        return logits

    def state_values(self) -> NDArray[np.float32]:
        return np.stack(self._state_values)


class DQNRunner(EpisodeRunner):
    """Plays epsilon-greedily; its episodes are those that RLlib's replay buffer takes."""

    def actor(self, rows: slice) -> Actor:
        share = epsilon(self.lab.settings, self.iteration)
        return EpsilonGreedy(self.module.network, share, self.world, self.demonstrated()[rows])

    def packed(self, played: Played) -> Sequence[SingleAgentEpisode]:
        """Whole episodes, terminated: what is observed after the last step is never used."""
        trajectories, scale = played.trajectories, self.lab.settings.reward_scale
        observations = np.concatenate([trajectories.observations, np.zeros_like(trajectories.observations[:1])])
        rewards = scale * (played.paid - played.penalty)
        space, actions = self.spaces
        return [
            SingleAgentEpisode(
                id_=f"{self.iteration}-{row}",
                observations=list(observations[:, row].copy()),
                actions=list(trajectories.actions[:, row]),
                rewards=list(rewards[:, row]),
                infos=[{}] * len(observations),
                terminated=True,
                observation_space=space,
                action_space=actions,
                len_lookback_buffer=0,
            ).to_numpy()
            for row in range(len(trajectories))
        ]


class KerfDQN(ScenarioLoop, DQN):
    """RLlib's DQN on whole batches of scenarios. `train()` is one iteration: ask, play, replay and learn, tell.

    `num_epochs` is how often a step is replayed on average. The result of `train()` holds `env_runners/{elicited,
    penalised, return_utility, return_penalty}` as PPO's does, and `learners/default_policy/{qf_loss, qf_mean,
    td_error_mean}` of the last minibatch.
    """

    @classmethod
    def get_default_config(cls) -> StockDQNConfig:
        return StockDQNConfig()

    @property
    def lab(self) -> KerfConfig:
        lab: KerfConfig = self.config.lab
        return lab

    def training_step(self) -> None:
        asked = self.ask()
        self.local_replay_buffer.rng = np.random.default_rng(self.lab.seed_sequence(self.num_iterations, REPLAYED))
        self.env_runner.begin(asked, self.num_iterations)
        with without_ray():
            super().training_step()
        self._show_weights()
        played = self.env_runner.played
        self.tell(asked, played.episodes, np.count_nonzero(played.penalty, axis=1), {})

    def policy(self) -> TorchPolicy:
        network = self.env_runner.module.network
        return TorchPolicy.from_weights(
            network.num_observations, network.num_actions, self.lab.network, scaled(self._weights(), 1.0 / TEMPERATURE)
        )

    def load_weights(self, weights: Weights) -> None:
        own = scaled(weights, TEMPERATURE)
        super().load_weights(own)
        module = self.learner_group._learner.module[DEFAULT_MODULE_ID]
        module._target_network.load(own)

    def _weights(self) -> Weights:
        return {name: tensor for name, tensor in super()._weights().items() if not is_target(name)}

    def training_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        arrays, plain = replay_state(self.local_replay_buffer)
        learner = self.learner_group._learner
        return arrays | network_state(learner), {
            "num_iterations": self.num_iterations,
            "source": self.stateful_source().get_state(),
            "replay": plain,
            "steps": int(self.metrics.peek((ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME), default=0)),
            "target_at": int(learner.last_update_ts_by_mid[DEFAULT_MODULE_ID]),
        }

    def load_training_state(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        learner = self.learner_group._learner
        load_network_state(learner, arrays)
        load_replay(self.local_replay_buffer, arrays, plain["replay"], *self.env_runner.spaces)
        learner.last_update_ts_by_mid[DEFAULT_MODULE_ID] = plain["target_at"]
        self.stateful_source().set_state(plain["source"])
        self.num_iterations = int(plain["num_iterations"])
        self.env_runner.count(plain["steps"])
        self.metrics.aggregate([self.env_runner.get_metrics()], key=ENV_RUNNER_RESULTS)
        self._show_weights()


def scaled(weights: Weights, factor: float) -> Weights:
    """`weights` with the policy head's multiplied by `factor`."""
    return {
        name: (tensor * np.float32(factor)).astype(np.float32) if name.startswith(_HEAD) else tensor
        for name, tensor in weights.items()
    }
