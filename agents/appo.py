"""RLlib's APPO on the stock path: its learner (V-trace, clipped surrogate, target policy), fed with our episodes.

RLlib runs this learner in a thread of its own and feeds it from remote env runners as they finish, so that no two runs
are equal. Here it is asked for one update after another, on minibatches of whole episodes, so that a seed decides on
everything; what is off-policy is what the minibatches of an iteration make so. The network is PPO's, in the same
meaning, and its agents are aligned by PPO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.appo import APPO, APPOConfig
from ray.rllib.algorithms.appo.torch.appo_torch_learner import APPOTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import Learner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS, TargetNetworkAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS, NUM_ENV_STEPS_TRAINED_LIFETIME

from kerf.agents.config import REPLAYED, KerfConfig
from kerf.agents.env_runner import log_probability
from kerf.agents.learner import register_optimiser
from kerf.agents.module import KerfModule
from kerf.agents.network import PolicyNetwork, Weights
from kerf.agents.player import Acting, Actor, Played
from kerf.agents.scenario_loop import ScenarioLoop
from kerf.agents.stock_path import EpisodeRunner, configured, is_target, load_network_state, network_state


def build(config: KerfConfig) -> KerfAPPO:
    """Build RLlib's APPO (`kerf.agents.building`)."""
    stock = configured(StockAPPOConfig(), config, APPORunner, KerfAPPOLearner)
    settings, horizon = config.settings, stock.horizon
    stock.rl_module(
        rl_module_spec=RLModuleSpec(
            module_class=KerfAPPOModule,
            model_config={"network": config.network.model_dump(), "weights_seed": config.torch_seed("weights")},
        )
    )
    rows = episodes_of_minibatch(config, horizon) * horizon
    stock.training(
        lr=settings.learning_rate,
        gamma=settings.gamma,
        clip_param=settings.clip,
        vf_loss_coeff=2.0 * settings.value_coeff,  # RLlib halves the squared error
        entropy_coeff=settings.entropy_coeff,
        grad_clip=settings.max_grad_norm,
        train_batch_size_per_learner=rows,
        use_circular_buffer=False,
        circular_buffer_num_batches=1,
        circular_buffer_iterations_per_batch=1,
        # In minibatches; RLlib multiplies it by their size, which is that of the last updates only on average.
        target_network_update_freq=settings.appo.target_every
        * settings.num_epochs
        * settings.num_scenarios
        * horizon
        / rows,
    )
    algorithm: KerfAPPO = stock.build_algo()
    return algorithm


def episodes_of_minibatch(config: KerfConfig, horizon: int) -> int:
    """Whole episodes in a minibatch, which has at most `minibatch_size` steps unless an episode alone has more."""
    return max(1, min(config.settings.minibatch_size // horizon, config.settings.num_scenarios))


class StockAPPOConfig(APPOConfig):
    """RLlib's settings, and ours as `lab`."""

    lab: KerfConfig
    horizon: int

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or KerfAPPO)


class KerfAPPOModule(KerfModule, TargetNetworkAPI):
    """PPO's module with a target policy."""

    network: PolicyNetwork

    def make_target_networks(self) -> None:
        self._target_network = make_target_network(self.network)

    def get_target_network_pairs(self) -> list[tuple[PolicyNetwork, PolicyNetwork]]:
        return [(self.network, self._target_network)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {TARGET_NETWORK_ACTION_DIST_INPUTS: self._target_network.logits(batch[Columns.OBS])}


class KerfAPPOLearner(APPOTorchLearner):
    """RLlib's APPO learner, asked for one update after another instead of by a thread of its own."""

    def build(self) -> None:
        super().build()
        self.shutdown()  # the thread

    def update(self, *, training_data: TrainingData, timesteps: Any, **kwargs: Any) -> Any:
        return Learner.update(self, training_data=training_data, timesteps=timesteps)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        register_optimiser(self, module_id, self.config.lab.settings)


class APPORunner(EpisodeRunner):
    """Plays by the policy itself; what it packs are the columns that the learner takes, episode by episode."""

    def actor(self, rows: slice) -> Actor:
        return Acting(self.module.network)

    def packed(self, played: Played) -> dict[str, NDArray[Any]]:
        """Columns `(n, T, ...)`."""
        trajectories, horizon = played.trajectories, self.world.horizon
        rewards = self.lab.settings.reward_scale * (played.paid - played.penalty)
        ends = np.zeros(rewards.shape, np.bool_)
        ends[horizon - 1] = True
        columns: dict[str, NDArray[Any]] = {
            Columns.OBS: trajectories.observations,
            Columns.ACTIONS: trajectories.actions,
            Columns.ACTION_LOGP: log_probability(trajectories),
            Columns.REWARDS: rewards.astype(np.float32),
            Columns.TERMINATEDS: ends,
            Columns.LOSS_MASK: np.ones(rewards.shape, np.bool_),
        }
        return {name: np.ascontiguousarray(np.swapaxes(column, 0, 1)) for name, column in columns.items()}


class KerfAPPO(ScenarioLoop, APPO):
    """RLlib's APPO on whole batches of scenarios. `train()` is one iteration: ask, play, learn, tell.

    The result of `train()` holds `env_runners/{elicited, penalised, return_utility, return_penalty}` as PPO's does, and
    `learners/default_policy/{policy_loss, vf_loss, entropy}` of the last minibatch.
    """

    @classmethod
    def get_default_config(cls) -> StockAPPOConfig:
        return StockAPPOConfig()

    @property
    def lab(self) -> KerfConfig:
        lab: KerfConfig = self.config.lab
        return lab

    def setup(self, config: Any) -> None:
        super().setup(config)
        self.num_trained = 0

    def training_step(self) -> None:
        asked, settings = self.ask(), self.lab.settings
        self.env_runner.begin(asked, self.num_iterations)
        columns = self.env_runner.sample()
        self.metrics.aggregate([self.env_runner.get_metrics()], key=ENV_RUNNER_RESULTS)
        rng = np.random.default_rng(self.lab.seed_sequence(self.num_iterations, REPLAYED))
        size = episodes_of_minibatch(self.lab, self.world.horizon)
        for _ in range(settings.num_epochs):
            order = rng.permutation(settings.num_scenarios)
            for start in range(0, len(order), size):
                self._update(columns, order[start : start + size])
        self._show_weights()
        played = self.env_runner.played
        self.tell(asked, played.episodes, np.count_nonzero(played.penalty, axis=1), {})

    def _update(self, columns: Mapping[str, NDArray[Any]], episodes: NDArray[np.int64]) -> None:
        """One update on some episodes of a batch."""
        rows = {name: column[episodes] for name, column in columns.items()}
        flat = {name: torch.from_numpy(column.reshape(-1, *column.shape[2:])) for name, column in rows.items()}
        num_rows = len(flat[Columns.ACTIONS])
        self.num_trained += num_rows
        results = self.learner_group.update(
            batch=MultiAgentBatch({DEFAULT_MODULE_ID: SampleBatch(flat)}, env_steps=num_rows),
            timesteps={NUM_ENV_STEPS_TRAINED_LIFETIME: self.num_trained},
        )
        self.metrics.aggregate(results, key=LEARNER_RESULTS)

    def load_weights(self, weights: Weights) -> None:
        super().load_weights(weights)
        self.learner_group._learner.module[DEFAULT_MODULE_ID]._target_network.load(weights)

    def _weights(self) -> Weights:
        return {name: tensor for name, tensor in super()._weights().items() if not is_target(name)}

    def training_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        learner = self.learner_group._learner
        return network_state(learner), {
            "num_iterations": self.num_iterations,
            "source": self.stateful_source().get_state(),
            "trained": self.num_trained,
            "target_at": int(learner._last_update_ts_by_mid[DEFAULT_MODULE_ID]),
        }

    def load_training_state(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        learner = self.learner_group._learner
        load_network_state(learner, arrays)
        learner._last_update_ts_by_mid[DEFAULT_MODULE_ID] = plain["target_at"]
        self.num_trained = int(plain["trained"])
        self.stateful_source().set_state(plain["source"])
        self.num_iterations = int(plain["num_iterations"])
        self._show_weights()
