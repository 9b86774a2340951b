"""The learner: PPO on columns, with the penalty as a column of its own and three optional losses.

The loss of a minibatch is a weighted sum of PPO's clipped surrogate, the squared error of the state value, an entropy
bonus, cross-entropy to the expert, and KL(pi || pi_0) to a frozen policy. A term with weight 0 is not in the sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.metrics import ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME, WEIGHTS_SEQ_NO
from torch.nn.utils import clip_grad_norm_

from agents.network import STATE_VALUE

if TYPE_CHECKING:
    from agents.config import KerfConfig

SHUFFLE_GENERATOR = "shuffle_generator"
_TINY = 1e-8  # keeps a batch of equal advantages finite


class KerfLearner(PPOTorchLearner):
    """RLlib's PPO learner, fed whole columns, without connectors.

    State: weights, optimiser, and the private generator that shuffles; together they make a resumed run continue bit
    for bit. Runs on whatever device RLlib gave it.
    """

    config: KerfConfig

    def build(self) -> None:
        super().build()
        # Every learner of a group draws the same permutations, each of its own rows.
        self._shuffles = torch.Generator().manual_seed(self.config.torch_seed("shuffles"))

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        params = self.get_parameters(self._module[module_id])
        optimizer = torch.optim.Adam(params, lr=self.config.settings.learning_rate, fused=True)
        self.register_optimizer(
            module_id=module_id,
            optimizer=optimizer,
            params=params,
            lr_or_lr_schedule=self.config.settings.learning_rate,
        )

    def update(self, *, training_data: TrainingData, timesteps: Any = None, **kwargs: Any) -> Any:
        """One PPO iteration over `training_data.batch`; returns RLlib's reduced metrics.

        The batch's columns are those of `agents.env_runner.Sample`, flattened to rows. Epochs and minibatch size come
        from the settings; RLlib's own keyword arguments for them are not looked at.

        Raises:
            FloatingPointError: if training diverged.
        """
        self._check_is_built()
        training_data.validate()
        training_data.solve_refs()
        columns = self._columns(training_data)
        settings = self.config.settings
        num_rows = len(columns["actions"])
        minibatch_size = -(-settings.minibatch_size // max(1, settings.num_learners))
        module = self.module[DEFAULT_MODULE_ID]
        (_, optimizer), params = self.get_optimizers_for_module(DEFAULT_MODULE_ID)[0], list(module.parameters())
        sums: dict[str, torch.Tensor] = {}
        num_minibatches = 0
        for _ in range(settings.num_epochs):
            order = torch.randperm(num_rows, generator=self._shuffles).to(self.device)
            for rows in order.split(minibatch_size):
                minibatch = {name: column.index_select(0, rows) for name, column in columns.items()}
                outputs = module._forward_train({Columns.OBS: minibatch["observations"]})
                loss, terms = self._losses(outputs, minibatch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                terms["grad_norm"] = clip_grad_norm_(params, settings.max_grad_norm, foreach=True)
                optimizer.step()
                for name, term in terms.items():
                    sums[name] = sums[name] + term.detach() if name in sums else term.detach()
                num_minibatches += 1
        self._weights_seq_no += 1
        means = {name: float(total) / num_minibatches for name, total in sums.items()}
        if not np.isfinite(list(means.values())).all():
            raise FloatingPointError(f"training diverged: {means}; try a smaller learning_rate or reward_scale")
        return self._report(means, num_rows)

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: Any, fwd_out: Any) -> torch.Tensor:
        """The loss of a minibatch of columns, for RLlib's own callers."""
        return self._losses(fwd_out, batch)[0]

    def _columns(self, training_data: TrainingData) -> dict[str, torch.Tensor]:
        """The batch on the device, its two advantages combined and scaled, its anchor normalised."""
        batch = self._convert_batch_type(training_data.batch).policy_batches[DEFAULT_MODULE_ID]
        columns = {name: column.to(self.device) for name, column in batch.items()}
        combined = columns.pop("advantage_utility") - columns.pop("advantage_penalty")
        columns["advantage"] = self._scaled(combined)
        if "anchor_logits" in columns:
            columns["anchor_logp"] = torch.log_softmax(columns.pop("anchor_logits"), dim=-1)
        return columns

    def _scaled(self, advantage: torch.Tensor) -> torch.Tensor:
        scaling = self.config.settings.advantage_scaling
        if scaling == "none":
            return advantage
        if scaling == "frozen":
            return advantage / self.config.advantage_scale
        exact = advantage.double()
        moments = torch.stack([exact.new_tensor(len(exact)), exact.sum(), exact.square().sum()])
        if self.distributed:
            torch.distributed.all_reduce(moments)
        count, total, squares = moments
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0.0).sqrt()
        return ((exact - mean) / (deviation + _TINY)).float()

    def _losses(
        self, outputs: dict[str, torch.Tensor], minibatch: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a minibatch, and its terms by name (unweighted means over the rows)."""
        settings = self.config.settings
        log_probabilities = torch.log_softmax(outputs[Columns.ACTION_DIST_INPUTS], dim=-1)
        probabilities = log_probabilities.exp()
        entropy = -(probabilities * log_probabilities).sum(dim=-1).mean()
        taken = log_probabilities.gather(-1, minibatch["actions"].unsqueeze(-1)).squeeze(-1)
        log_ratio = taken - minibatch["action_logp"]
        ratio = log_ratio.exp()
        value_loss = (outputs[STATE_VALUE] - minibatch["value_target"]).square().mean()
        # KL to the policy that acted, by the low-variance estimator k3 of Schulman 2020, "Approximating KL divergence".
        terms = {"entropy": entropy, "value_loss": value_loss, "kl": (ratio - 1.0 - log_ratio).mean()}
        loss = settings.value_coeff * value_loss
        if settings.policy_coeff > 0:
            advantage = minibatch["advantage"]
            clipped = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
            terms["policy_loss"] = -torch.minimum(advantage * ratio, advantage * clipped).mean()
            terms["clip_fraction"] = (ratio != clipped).float().mean()
            loss = loss + settings.policy_coeff * terms["policy_loss"]
        if settings.entropy_coeff > 0:
            loss = loss - settings.entropy_coeff * entropy
        if settings.imitation_coeff > 0:
            expert = log_probabilities.gather(-1, minibatch["expert_action"].unsqueeze(-1))
            terms["imitation_loss"] = -expert.mean()
            loss = loss + settings.imitation_coeff * terms["imitation_loss"]
        if settings.anchor_coeff > 0:
            terms["anchor_kl"] = (probabilities * (log_probabilities - minibatch["anchor_logp"])).sum(dim=-1).mean()
            loss = loss + settings.anchor_coeff * terms["anchor_kl"]
        terms["loss"] = loss
        return loss, terms

    def _report(self, means: dict[str, float], num_rows: int) -> Any:
        self._log_trainable_parameters()  # logged once, as RLlib does, these counts are NaN from then on
        self.metrics.log_dict(means, key=DEFAULT_MODULE_ID, window=1)
        self.metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), num_rows, reduce="lifetime_sum")
        return self.metrics.reduce()

    def get_state(self, components: Any = None, *, not_components: Any = None, **kwargs: Any) -> dict[str, Any]:
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(SHUFFLE_GENERATOR, components, not_components):
            state[SHUFFLE_GENERATOR] = self._shuffles.get_state().numpy()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        if COMPONENT_RL_MODULE in state and WEIGHTS_SEQ_NO in state:
            self._weights_seq_no = -1  # RLlib would silently refuse weights that are older than the present ones
        super().set_state(state)
        if SHUFFLE_GENERATOR in state:
            self._shuffles.set_state(torch.from_numpy(np.array(state[SHUFFLE_GENERATOR], np.uint8)))
