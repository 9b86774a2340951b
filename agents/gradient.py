"""Gradient of the learner's loss (`kerf.agents.loss`) on a minibatch: by torch's autograd, or written out for a CPU.

At steps that a latent adversary attacks (`kerf.agents.latent`), all terms but the state value's are those of the
perturbed policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import clip_grad_norm_

from kerf.agents import kernels
from kerf.agents.adam import clip
from kerf.agents.effective_steps import (
    NORM_EPSILON,
    OTHER_TERMS,
    PENALTY,
    PENALTY_ADVANTAGE,
    UTILITY,
    Gradients,
    part_columns,
    part_settings,
)
from kerf.agents.latent import LATENT_TERMS, perturbed
from kerf.agents.loss import Columns, losses
from kerf.agents.network import PolicyNetwork
from kerf.agents.packed import Packed
from kerf.agents.passes import accumulate
from kerf.agents.probe import ProbePenalty
from kerf.agents.recurrent import RecurrentNetwork
from kerf.agents.routing import Route, without_penalty
from kerf.agents.settings import TrainingSettings
from kerf.agents.threads import in_parallel
from kerf.lab.errors import KerfError

Terms = Mapping[str, torch.Tensor | float]
"""The loss, its terms by name (unweighted means over the rows), the norm of the gradient before it was clipped, and
`grad_clip_share`, 1 if that made it shorter and else 0."""

NUM_LANES = 2
"""Partial sums of the gradient of a minibatch, and so the most threads that help."""

LANE_ROWS = 1024
"""A minibatch of at most so many rows is not split."""

_NO_EXPERT = np.empty(0, np.int64)


class Gradient(Protocol):
    """Computes the clipped gradient of the loss on a minibatch."""

    def __call__(self, columns: Columns, rows: torch.Tensor) -> Terms:
        """Write the clipped gradient on the minibatch `rows` `(n,)` of `columns` into every parameter's `grad`."""

    def parts(self, columns: Columns, rows: torch.Tensor) -> Mapping[str, Gradients]:
        """The gradient there of each part of `kerf.agents.effective_steps`, not clipped; changes no `grad`.

        `utility` may be absent if the loss has no other terms. `columns` holds `PENALTY_ADVANTAGE`.
        """


class Autograd:
    """The gradient of `losses` by torch's autograd, on any device: the reference.

    Args:
        forward: `(n, D)` observations -> logits and state values. With several learners, one that averages gradients.
        network: The network of `forward`. If it has a memory, a minibatch holds whole episodes, step by step, and
            `forward` gets them as `(T, episodes, D)`.
        settings: Weights of the terms, clips.
        latent_scale: Unit of `latent_radius`.
        average: Averages a tensor in place over all learners; None if there is only one. For `parts` alone.
        route: What the penalty may change; None: everything.
        probe: A penalty on a probe of the network; None: there is none. Not for several learners.
        horizon: T, the steps of an episode.
    """

    def __init__(
        self,
        forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
        network: PolicyNetwork | RecurrentNetwork,
        settings: TrainingSettings,
        latent_scale: float = 1.0,
        average: Callable[[torch.Tensor], None] | None = None,
        route: Route | None = None,
        probe: ProbePenalty | None = None,
        horizon: int = 1,
    ) -> None:
        self._route, self._probe = route, probe
        self._remembers, self._horizon = isinstance(network, RecurrentNetwork), horizon
        self._forward, self._parameters, self._settings = forward, list(network.parameters()), settings
        self._network, self._radius = network, settings.latent_radius * latent_scale
        self._parts, self._average = part_settings(settings), average

    def __call__(self, columns: Columns, rows: torch.Tensor) -> Terms:
        routed: Gradients = {}
        if self._route is not None:
            routed, columns = self.part(columns, rows, PENALTY), without_penalty(columns)
        minibatch = {name: column.index_select(0, rows) for name, column in columns.items()}
        logits, state_values, attack = self._outputs(self._forward, minibatch)
        loss, terms = losses(logits, state_values, minibatch, self._settings)
        terms |= attack
        if self._probe is not None:
            assert isinstance(self._network, PolicyNetwork), "the config checks it"
            terms["probe_loss"] = self._probe.loss(self._network, minibatch)
            loss = terms["loss"] = loss + self._probe.coeff * terms["probe_loss"]
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()
        for parameter, gradient in routed.items():
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        norm = clip_grad_norm_(self._parameters, self._settings.max_grad_norm, foreach=True)
        is_clipped = (norm + NORM_EPSILON > self._settings.max_grad_norm).float()
        statistics = {name: term.detach() for name, term in terms.items()}
        return statistics | {"grad_norm": norm, "grad_clip_share": is_clipped}

    def parts(self, columns: Columns, rows: torch.Tensor) -> Mapping[str, Gradients]:
        return {part: self.part(columns, rows, part) for part in self._parts}

    def part(self, columns: Columns, rows: torch.Tensor, part: str) -> Gradients:
        """The gradient of one part."""
        minibatch = {name: column.index_select(0, rows) for name, column in part_columns(columns, part).items()}
        logits, state_values, _ = self._outputs(self._network, minibatch)
        loss, _ = losses(logits, state_values, minibatch, self._parts[part])
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True, materialize_grads=True)
        if self._average is not None:
            for gradient in gradients:
                self._average(gradient)
        found = dict(zip(self._parameters, gradients, strict=True))
        return found if self._route is None or part != PENALTY else self._route.confined(found)

    def _outputs(
        self, forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]], minibatch: Columns
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Logits, attacked if there is an adversary, state values, and what is told of the attack."""
        observations = minibatch["observations"]
        if self._remembers:
            along_steps = forward(observations.unflatten(0, (self._horizon, -1)))
            logits, state_values = (output.flatten(0, 1) for output in along_steps)
        else:
            logits, state_values = forward(observations)
        attack: dict[str, torch.Tensor] = {}
        if self._radius > 0:
            num_steps, head = self._settings.latent_steps, self._network.policy_head
            logits, attack = perturbed(logits, minibatch, head.weight, self._radius, num_steps)
        return logits, state_values, attack


class _Lane:
    """Sums the gradients of some rows of a minibatch."""

    def __init__(self, packed: Packed, settings: TrainingSettings, latent_scale: float) -> None:
        self.gradient: NDArray[np.float32] = np.zeros_like(packed.parameters)
        self.sums = np.zeros(len(kernels.TERMS))
        self.latent_sums = np.zeros(len(LATENT_TERMS))
        self._packed, self._work = packed, packed.work_space()
        self._no_anchor = np.empty((0, 0), np.float32)
        self._not_attacked = np.empty(0, np.bool_)
        self._clip = np.float32(settings.clip)
        self._radius, self._steps = settings.latent_radius * latent_scale, settings.latent_steps

    def run(
        self,
        columns: Mapping[str, NDArray[Any]],
        rows: NDArray[np.int64],
        num_rows: int,
        weights: tuple[np.float32, ...],
    ) -> None:
        """Sum over `rows` of `columns`, part of a minibatch of `num_rows`, with these `weights` of the terms."""
        self.gradient[:] = 0.0
        self.sums[:] = 0.0
        self.latent_sums[:] = 0.0
        packed = self._packed
        accumulate(
            columns["observations"], rows, columns["actions"], columns["action_logp"], columns["advantage"],
            columns["value_target"], columns.get("expert_action", _NO_EXPERT),
            columns.get("anchor_logp", self._no_anchor), weights, self._clip, np.float32(1.0 / num_rows),
            packed.parameters, self.gradient, packed.widths, packed.relu, self._work, self.sums,
            columns.get("attacked", self._not_attacked), self._radius, self._steps, self.latent_sums,
        )  # fmt: skip


def _weights(settings: TrainingSettings) -> tuple[np.float32, ...]:
    """The weights of the terms, as kernels take them."""
    weights = (
        settings.policy_coeff, settings.value_coeff, settings.entropy_coeff, settings.imitation_coeff,
        settings.anchor_coeff,
    )  # fmt: skip
    return tuple(np.float32(weight) for weight in weights)


class WrittenOut:
    """The same gradient, up to rounding, written out for a CPU and about twice as fast.

    A large minibatch is split into two lanes, on two threads if there are two; results do not depend on the number of
    threads, bit for bit.

    Args:
        network: The gradient is with respect to its parameters, which must be changed in place only.
        settings: Weights of the terms, clips.
        average: Called with the gradient `(P,)` to average it in place over all learners; None if there is only one.
        num_threads: The most threads to use.
        latent_scale: Unit of `latent_radius`.
        route: What the penalty may change; None: everything.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        settings: TrainingSettings,
        average: Callable[[torch.Tensor], None] | None = None,
        num_threads: int = 1,
        latent_scale: float = 1.0,
        route: Route | None = None,
    ) -> None:
        self._route = route
        self._packed = Packed(network)
        self._lanes = [_Lane(self._packed, settings, latent_scale) for _ in range(NUM_LANES)]
        self._gradient = torch.zeros(len(self._packed.parameters))
        self._flat_gradient: NDArray[np.float32] = self._gradient.numpy()
        self._packed.bind_gradient(self._gradient)
        self._average, self._num_threads = average, num_threads
        self._max_norm = settings.max_grad_norm
        self._term_weights = _weights(settings)
        self._parts = part_settings(settings)
        if not any(getattr(settings, term) for term in OTHER_TERMS):
            del self._parts[UTILITY]  # it is what the other two leave
        policy, imitation, anchor = settings.policy_coeff, settings.imitation_coeff, settings.anchor_coeff
        self._weights = np.array([-settings.entropy_coeff, settings.value_coeff, 0.0, policy, 0.0, imitation, anchor])
        is_reported = [True, True, True, policy > 0, policy > 0, imitation > 0, anchor > 0]
        self._reported = [name for name, is_on in zip(kernels.TERMS, is_reported, strict=True) if is_on]
        self._attacks = settings.latent_radius > 0

    def __call__(self, columns: Columns, rows: torch.Tensor) -> Terms:
        routed: Gradients = {}
        if self._route is not None:
            routed, columns = self.part(columns, rows, PENALTY), without_penalty(columns)
        lanes = self._run(columns, rows.numpy(), len(rows), self._term_weights)
        for parameter, gradient in self._packed.by_parameter(self._gradient).items() if routed else ():
            gradient += routed[parameter]
        norm = clip(self._flat_gradient, self._max_norm)
        means = np.sum([lane.sums for lane in lanes], axis=0) / len(rows)
        terms = dict(zip(kernels.TERMS, means.tolist(), strict=True))
        loss = float(means @ self._weights)
        reported = {name: terms[name] for name in self._reported} | {"loss": loss, "grad_norm": norm}
        reported["grad_clip_share"] = float(norm + NORM_EPSILON > self._max_norm)
        if self._attacks:
            attack = np.sum([lane.latent_sums for lane in lanes], axis=0) / len(rows)
            reported |= dict(zip(LATENT_TERMS, attack.tolist(), strict=True))
        return reported

    def parts(self, columns: Columns, rows: torch.Tensor) -> Mapping[str, Gradients]:
        return {part: self.part(columns, rows, part) for part in self._parts}

    def part(self, columns: Columns, rows: torch.Tensor, part: str) -> Gradients:
        """The gradient of one part."""
        used = rows
        if part == PENALTY:  # the others add nothing
            used = rows[columns[PENALTY_ADVANTAGE][rows] != 0.0]
        self._run(part_columns(columns, part), used.numpy(), len(rows), _weights(self._parts[part]))
        found = self._packed.by_parameter(self._gradient.clone())
        return found if self._route is None or part != PENALTY else self._route.confined(found)

    def _run(
        self, columns: Columns, rows: NDArray[np.int64], num_rows: int, weights: tuple[np.float32, ...]
    ) -> Sequence[_Lane]:
        """Leave the gradient on `rows`, of a minibatch of `num_rows`, in the common array, averaged over all learners
        and not clipped; the lanes that worked on it."""
        plain = {name: column.numpy() for name, column in columns.items()}
        parts = np.array_split(rows, NUM_LANES if num_rows > LANE_ROWS else 1)
        lanes = self._lanes[: len(parts)]
        self._packed.refresh()
        in_parallel(
            [partial(lane.run, plain, part, num_rows, weights) for lane, part in zip(lanes, parts, strict=True)],
            self._num_threads,
        )
        np.add(lanes[0].gradient, lanes[-1].gradient if len(lanes) > 1 else 0.0, out=self._flat_gradient)
        if self._average is not None:
            self._average(self._gradient)
        return lanes

    def stepping(self, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
        """A function that steps the `optimizer` with the last gradient; valid until its state is next loaded."""
        return self._packed.stepping(optimizer, self._gradient)


def make_gradient(
    network: PolicyNetwork | RecurrentNetwork,
    forward: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    settings: TrainingSettings,
    device: torch.device,
    average: Callable[[torch.Tensor], None] | None = None,
    num_threads: int = 1,
    latent_scale: float = 1.0,
    route: Route | None = None,
    probe: ProbePenalty | None = None,
    horizon: int = 1,
) -> Gradient:
    """The implementation that `settings.gradient` selects, for a `network` on `device`; other arguments as in its
    class.

    Raises:
        KerfError: for `written_out` on another device than a CPU, or with a probe, for which it has no term.
    """
    on_cpu = device.type == "cpu"
    if settings.gradient == "written_out" and probe is not None:
        raise KerfError("gradient: a penalty on a probe is not written out; try auto")
    if settings.gradient == "written_out" and not on_cpu:
        raise KerfError(f"gradient: written_out needs a learner on a CPU, and this one is on {device}; try auto")
    if isinstance(network, RecurrentNetwork):  # autograd around the memory, which alone is written out
        network.written_out = on_cpu and settings.gradient != "autograd"
    if settings.gradient == "autograd" or not on_cpu or probe is not None or isinstance(network, RecurrentNetwork):
        return Autograd(forward, network, settings, latent_scale, average, route, probe, horizon)
    return WrittenOut(network, settings, average, num_threads, latent_scale, route)
