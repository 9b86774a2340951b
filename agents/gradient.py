"""The learner's loss, and two ways to its gradient on a minibatch: torch's autograd, and written out for a CPU.

The loss is a weighted sum of PPO's clipped surrogate, the squared error of the state value, an entropy bonus,
cross-entropy to the expert, and KL(pi || pi_0) to a frozen policy. A term with weight 0 is not in the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from agents import kernels
from agents.network import PolicyNetwork
from agents.passes import MAX_ROWS, BySize, parameters
from agents.settings import TrainingSettings
from lab.errors import KerfError

Columns = Mapping[str, torch.Tensor]
"""A batch of N rows: the columns of `agents.env_runner.Sample`, but with `advantage` for the two advantages, combined
and scaled, and `anchor_logp` for `anchor_logits`."""

Terms = Mapping[str, torch.Tensor | float]
"""The loss, its terms by name (unweighted means over the rows), and the norm of the gradient before it was clipped."""

_NO_EXPERT = np.empty(0, np.int64)


class Gradient(Protocol):
    """A way to the gradient."""

    def __call__(self, columns: Columns, rows: torch.Tensor) -> Terms:
        """Leave the gradient on the minibatch `rows` `(n,)` of `columns`, clipped, in every parameter's `grad`."""


def losses(
    logits: torch.Tensor, state_values: torch.Tensor, minibatch: Columns, settings: TrainingSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a minibatch, and its terms by name.

    Args:
        logits: `(n, A)`.
        state_values: `(n,)`.
        minibatch: Columns of these n rows.
        settings: Weights and clip.
    """
    log_probabilities = torch.log_softmax(logits, dim=-1)
    probabilities = log_probabilities.exp()
    entropy = -(probabilities * log_probabilities).sum(dim=-1).mean()
    taken = log_probabilities.gather(-1, minibatch["actions"].unsqueeze(-1)).squeeze(-1)
    log_ratio = taken - minibatch["action_logp"]
    ratio = log_ratio.exp()
    value_loss = (state_values - minibatch["value_target"]).square().mean()
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


class Autograd:
    """torch's, of `losses`, on any device: the reference.

    Args:
        forward: `(n, D)` observations -> logits and state values. With several learners, one that averages gradients.
        network: Whose parameters those are.
        settings: Weights of the terms, clips.
    """

    def __init__(
        self,
        forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
        network: PolicyNetwork,
        settings: TrainingSettings,
    ) -> None:
        self._forward, self._parameters, self._settings = forward, list(network.parameters()), settings

    def __call__(self, columns: Columns, rows: torch.Tensor) -> Terms:
        minibatch = {name: column.index_select(0, rows) for name, column in columns.items()}
        loss, terms = losses(*self._forward(minibatch["observations"]), minibatch, self._settings)
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()
        norm = clip_grad_norm_(self._parameters, self._settings.max_grad_norm, foreach=True)
        return {name: term.detach() for name, term in terms.items()} | {"grad_norm": norm}


class WrittenOut:
    """The same numbers, to rounding, and some three times as fast, on a CPU.

    Args:
        network: Whose parameters it is with respect to; they must be changed in place only.
        settings: Weights of the terms, clips.
        average: Called with the gradient `(P,)` to average it in place over all learners; None if there is only one.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        settings: TrainingSettings,
        average: Callable[[torch.Tensor], None] | None = None,
    ) -> None:
        owners = parameters(network)
        self._gradient = torch.zeros(sum(owner.numel() for owner in owners))
        for owner, part in zip(owners, self._gradient.split([owner.numel() for owner in owners]), strict=True):
            owner.grad = part.view(owner.shape)
        self._passes = BySize(network, self._gradient)
        self._average = average
        self._no_anchor = np.empty((0, network.num_actions), np.float32)
        self._max_norm, self._clip = settings.max_grad_norm, np.float32(settings.clip)
        self._coefficients = tuple(
            np.float32(coefficient)
            for coefficient in (
                settings.policy_coeff, settings.value_coeff, settings.entropy_coeff, settings.imitation_coeff,
                settings.anchor_coeff,
            )
        )  # fmt: skip
        policy, value, entropy, imitation, anchor = self._coefficients
        self._weights = np.array([-entropy, value, 0.0, policy, 0.0, imitation, anchor])
        reported = [True, True, True, policy > 0, policy > 0, imitation > 0, anchor > 0]
        self._reported = [name for name, is_on in zip(kernels.TERMS, reported, strict=True) if is_on]

    @torch.no_grad()
    def __call__(self, columns: Columns, rows: torch.Tensor) -> Terms:
        plain = {name: column.numpy() for name, column in columns.items()}
        sums = np.zeros(len(kernels.TERMS))
        share = np.float32(1.0 / len(rows))
        self._passes.refresh()
        self._gradient.zero_()
        for part in rows.split(MAX_ROWS):
            passes = self._passes.of(len(part))
            torch.index_select(columns["observations"], 0, part, out=passes.observations)
            passes.forward()
            kernels.loss_gradient(
                passes.outputs, passes.pull, part.numpy(), plain["actions"], plain["action_logp"],
                plain["advantage"], plain["value_target"], plain.get("expert_action", _NO_EXPERT),
                plain.get("anchor_logp", self._no_anchor), self._coefficients, self._clip, share, sums,
            )  # fmt: skip
            passes.backward()
        if self._average is not None:
            self._average(self._gradient)
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient.mul_(torch.clamp(self._max_norm / (norm + 1e-6), max=1.0))
        means = sums / len(rows)
        terms = dict(zip(kernels.TERMS, means.tolist(), strict=True))
        return {name: terms[name] for name in self._reported} | {
            "loss": float(means @ self._weights),
            "grad_norm": norm,
        }


def make_gradient(
    network: PolicyNetwork,
    forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    settings: TrainingSettings,
    device: torch.device,
    average: Callable[[torch.Tensor], None] | None = None,
) -> Gradient:
    """The way that `settings.gradient` asks for, for a `network` on `device`; other arguments as in its class.

    Raises:
        KerfError: if it asks for the one that needs a CPU, on something else.
    """
    on_cpu = device.type == "cpu"
    if settings.gradient == "written_out" and not on_cpu:
        raise KerfError(f"gradient: written_out needs a learner on a CPU, and this one is on {device}; try auto")
    if settings.gradient == "autograd" or not on_cpu:
        return Autograd(forward, network, settings)
    return WrittenOut(network, settings, average)
