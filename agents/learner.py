"""RLlib learner: PPO on columns, with the penalty as a column of its own. Its loss is in `kerf.agents.gradient`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.metrics import ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME, WEIGHTS_SEQ_NO
from torch.optim.adam import adam

from kerf.agents.effective_steps import (
    PENALTY_ADVANTAGE,
    Gradients,
    clip_scale,
    effective_steps,
    not_measured,
    step_norms,
)
from kerf.agents.gradient import WrittenOut, make_gradient
from kerf.agents.latent import attacked, per_attack
from kerf.agents.loss import losses
from kerf.agents.module import STATE_VALUE
from kerf.agents.optimisers import SGD, make_optimiser
from kerf.agents.routing import UTILITY_ADVANTAGE, Route
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world

if TYPE_CHECKING:
    from kerf.agents.config import KerfConfig
    from kerf.agents.settings import TrainingSettings

SHUFFLE_GENERATOR = "shuffle_generator"
ADAM = ("exp_avg", "exp_avg_sq", "step")
"""Adam's state of each parameter."""
_TINY = 1e-8  # for a batch of equal advantages


class KerfLearner(PPOTorchLearner):
    """RLlib's PPO learner, fed whole columns, without connectors.

    State: weights, optimiser, and the private generator that shuffles; with these a resumed run continues bit for bit.
    Runs on the device that RLlib assigned.
    """

    config: KerfConfig

    def build(self) -> None:
        super().build()
        # Every learner of a group draws the same permutations, for rows of its own.
        self._shuffles = torch.Generator().manual_seed(self.config.torch_seed("shuffles"))
        module = self.module[DEFAULT_MODULE_ID]
        network = module.unwrapped().network  # without the wrapper for several learners
        share = self.config.penalty_units
        self._gradient = make_gradient(
            network,
            lambda observations: _forward(module, observations),
            self.config.settings,
            self.device,
            self._average if self.distributed else None,
            self.config.num_threads if self.config.settings.num_learners == 0 else 1,
            self.config.latent_scale or 1.0,  # needed, and checked, wherever there is a radius
            None if share is None else Route(network, share),
            self.config.probe,
            get_world(self.config.world).horizon,
        )
        self._steps_together = get_world(self.config.world).horizon if self.config.network.memory else 1

    def _average(self, gradient: torch.Tensor) -> None:
        torch.distributed.all_reduce(gradient)
        gradient /= torch.distributed.get_world_size()

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        register_optimiser(self, module_id, self.config.settings)

    def update(
        self,
        *,
        training_data: TrainingData,
        timesteps: Any = None,
        split: bool = False,
        plasticity: float = 1.0,
        **kwargs: Any,
    ) -> Any:
        """One PPO iteration over `training_data.batch`; returns RLlib's reduced metrics.

        The batch's columns are those of `kerf.agents.env_runner.Sample`, flattened to rows. Epochs and minibatch size
        come from the settings; RLlib's own keyword arguments for them are ignored. With `split` the effective
        steps (`kerf.agents.effective_steps`) of the first minibatch are measured, which changes nothing else.
        `plasticity` is the share of the learning rate that is left.

        Raises:
            FloatingPointError: if training diverged.
        """
        self._check_is_built()
        training_data.validate()
        training_data.solve_refs()
        columns = self._columns(training_data, split)
        settings = self.config.settings
        num_rows = len(columns["actions"])
        minibatch_size = -(-settings.minibatch_size // max(1, settings.num_learners))
        ((_, optimizer),) = self.get_optimizers_for_module(DEFAULT_MODULE_ID)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * plasticity
        step = self._gradient.stepping(optimizer) if isinstance(self._gradient, WrittenOut) else _stepping(optimizer)
        sums: dict[str, Any] = {}
        steps = not_measured() if settings.policy_coeff > 0 else {}
        num_minibatches = 0
        for _ in range(settings.num_epochs):
            for rows in self._minibatches(num_rows, minibatch_size):
                is_split = split and num_minibatches == 0
                parts = self._gradient.parts(columns, rows) if is_split else {}
                terms = self._gradient(columns, rows)
                step()
                if is_split:
                    steps = self._effective_steps(optimizer, float(terms["grad_norm"]), parts)
                for name, term in terms.items():
                    sums[name] = sums[name] + term if name in sums else term
                num_minibatches += 1
        self._weights_seq_no += 1
        means = {name: float(total) / num_minibatches for name, total in sums.items()}
        if settings.latent_radius > 0:
            assert self.config.latent_scale is not None, "the config checks it"
            means = per_attack(means, self.config.latent_scale)
        if not np.isfinite(list(means.values())).all():
            raise FloatingPointError(f"training diverged: {means}; try a smaller learning_rate or reward_scale")
        return self._report(means | steps, num_rows)

    def _minibatches(self, num_rows: int, minibatch_size: int) -> Iterator[torch.Tensor]:
        """The rows of each minibatch of an epoch, in a new order; with a memory it holds whole episodes."""
        steps = self._steps_together
        num_units = num_rows // steps
        order = torch.randperm(num_units, generator=self._shuffles).to(self.device)
        for units in order.split(max(1, minibatch_size // steps)):
            rows = torch.arange(steps, device=self.device).unsqueeze(1) * num_units + units
            yield rows.flatten()

    def _effective_steps(
        self, optimizer: torch.optim.Optimizer, norm: float, parts: Mapping[str, Gradients]
    ) -> dict[str, float]:
        """Norms of the effective steps of the minibatch that `optimizer` has just stepped with."""
        (group,) = optimizer.param_groups
        clipped = {parameter: parameter.grad for parameter in group["params"]}
        scale = clip_scale(norm, self.config.settings.max_grad_norm)
        return step_norms(effective_steps(optimizer, clipped, scale, parts))

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: Any, fwd_out: Any) -> torch.Tensor:
        """The loss of a minibatch of columns, not under attack, for RLlib's own callers."""
        return losses(fwd_out[Columns.ACTION_DIST_INPUTS], fwd_out[STATE_VALUE], batch, self.config.settings)[0]

    def _columns(self, training_data: TrainingData, split: bool) -> dict[str, torch.Tensor]:
        """The batch on the device, its two advantages combined and scaled, its anchor normalised; with `split` also the
        penalty's advantage alone, and where that is routed, both."""
        on_gpu = self.device.type == "cuda"
        batch = self._convert_batch_type(training_data.batch, pin_memory=on_gpu).policy_batches[DEFAULT_MODULE_ID]
        columns = {name: column.to(self.device) for name, column in batch.items()}
        of_penalty = columns.pop("advantage_penalty")
        columns["advantage"], of_penalty, of_utility = self._scaled(columns.pop("advantage_utility"), of_penalty)
        if split or self.config.penalty_units is not None:
            columns[PENALTY_ADVANTAGE] = of_penalty
        if self.config.penalty_units is not None:
            columns[UTILITY_ADVANTAGE] = of_utility
        if "anchor_logits" in columns:
            columns["anchor_logp"] = torch.log_softmax(columns.pop("anchor_logits"), dim=-1)
        if "forbidden" in columns:
            columns["attacked"] = attacked(columns.pop("forbidden"), columns["advantage"])
        return columns

    def _scaled(
        self, of_utility: torch.Tensor, of_penalty: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Utility less penalty, `(N,)`, scaled; then penalty and utility, by what the difference is scaled by."""
        scaling, advantage = self.config.settings.advantage_scaling, of_utility - of_penalty
        if scaling == "none":
            return advantage, of_penalty, of_utility
        if scaling == "fixed":
            scale = self.config.advantage_scale
            assert scale is not None, "the config checks it"
            return advantage / scale, of_penalty / scale, of_utility / scale
        exact, exact_penalty = advantage.double(), of_penalty.double()
        sums = [exact.new_tensor(len(exact)), exact.sum(), exact.square().sum(), exact_penalty.sum()]
        moments = torch.stack(sums)
        if self.distributed:
            torch.distributed.all_reduce(moments)
        count, total, squares, total_penalty = moments
        mean, mean_penalty = total / count, total_penalty / count
        deviation = (squares / count - mean.square()).clamp_min(0.0).sqrt() + _TINY
        utility = of_utility.double() - (mean + mean_penalty)
        exact, exact_penalty = exact - mean, exact_penalty - mean_penalty
        return (exact / deviation).float(), (exact_penalty / deviation).float(), (utility / deviation).float()

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

    def training_state(self) -> dict[str, NDArray[Any]]:
        """The complete state of training, by name: `weights/<parameter>`, Adam's `exp_avg/`, `exp_avg_sq/` and
        `step/<parameter>` (none before the first update), and `shuffles`, the state of the generator that shuffles."""
        ((_, optimizer),) = self.get_optimizers_for_module(DEFAULT_MODULE_ID)
        state = {"shuffles": self._shuffles.get_state().numpy()}
        for name, parameter in self._parameters():
            moments = optimizer.state.get(parameter, {})
            tensors = {"weights": parameter.detach()} | {kind: moments[kind] for kind in ADAM if kind in moments}
            state |= {f"{kind}/{name}": tensor.cpu().numpy().copy() for kind, tensor in tensors.items()}
        return state

    def load_training_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Resume from a `training_state`.

        Raises:
            KerfError: for the state of another network.
        """
        ((_, optimizer),) = self.get_optimizers_for_module(DEFAULT_MODULE_ID)
        kinds = ("weights", *(ADAM if any(name.startswith("step/") for name in state) else ()))
        expected = {"shuffles", *(f"{kind}/{name}" for kind in kinds for name, _ in self._parameters())}
        if set(state) != expected:
            raise KerfError(f"training state: expected {sorted(expected)}, got {sorted(state)}; of another network?")
        optimizer.state.clear()
        for name, parameter in self._parameters():
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.array(state[f"weights/{name}"])))
            moments = {kind: torch.from_numpy(np.array(state[f"{kind}/{name}"])) for kind in kinds[1:]}
            if moments:
                optimizer.state[parameter] = {kind: moment.to(self.device) for kind, moment in moments.items()}
        self._shuffles.set_state(torch.from_numpy(np.array(state["shuffles"], np.uint8)))

    def _parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        return list(self.module[DEFAULT_MODULE_ID].unwrapped().network.named_parameters())


def _forward(module: Any, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    outputs = module._forward_train({Columns.OBS: observations})
    return outputs[Columns.ACTION_DIST_INPUTS], outputs[STATE_VALUE]


def register_optimiser(learner: Any, module_id: str, settings: TrainingSettings) -> None:
    """Give an RLlib learner's module the optimiser that `settings` name."""
    params = learner.get_parameters(learner.module[module_id])
    learner.register_optimizer(
        module_id=module_id,
        optimizer=make_optimiser(settings.optimiser, params, settings.learning_rate),
        params=params,
        lr_or_lr_schedule=settings.learning_rate,
    )


def _stepping(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """`optimizer.step`, without the hooks, checks and look-ups around it, which can take longer than the step itself.

    Until the optimiser's state is next loaded or its groups change.
    """
    if isinstance(optimizer, SGD):  # which keeps no state
        return optimizer.step
    (group,) = optimizer.param_groups
    parameters = group["params"]
    (beta1, beta2), settings = group["betas"], {name: group[name] for name in ("lr", "weight_decay", "eps", "maximize")}

    @torch.no_grad()
    def step() -> None:
        if len(optimizer.state) < len(parameters):  # its state is created at the first step
            optimizer.step()
            return
        states = [optimizer.state[parameter] for parameter in parameters]
        adam(
            parameters,
            [parameter.grad for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            **settings,
        )

    return step
