"""Forward and backward passes of a `PolicyNetwork` on a CPU, written out over buffers that are allocated once.

The matrix products are torch's, what lies between them is compiled (`agents.kernels`). torch's modules and autograd
compute the same, to rounding, and more than twice as slowly at the sizes that agents have here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from agents import kernels

if TYPE_CHECKING:
    from agents.network import PolicyNetwork

MAX_ROWS = 1024
"""Rows that should go through at a time: few enough for their activations to stay in a core's cache."""

MAX_SIZES = 4
"""Batch sizes for which buffers are kept."""


class _Activation(NamedTuple):
    forward: Callable[..., None]
    backward: Callable[..., None]


_ACTIVATIONS: Mapping[str, _Activation] = {
    "tanh": _Activation(kernels.tanh_forward, kernels.tanh_backward),
    "relu": _Activation(kernels.relu_forward, kernels.relu_backward),
}


class _Stack:
    """A trunk and the heads that read it: `(n, D)` to `(K, n)`, the outputs of all heads below each other.

    Outputs are transposed because they are few: the product is more than twice as fast that way round, and what is
    computed from them runs along the rows. All views of the buffers are made here: to make them anew each time would
    take longer than much of what is done to them.
    """

    def __init__(
        self, trunk: nn.Sequential, heads: Sequence[nn.Linear], activation: _Activation, out: torch.Tensor
    ) -> None:
        layers = _linear(trunk)
        self._activation, self._out = activation, out
        # Detached, these still share the parameters' memory: who trains or loads parameters in place changes these.
        self._weights = [layer.weight.detach() for layer in layers]
        self._weights_turned = [weight.t() for weight in self._weights]
        self._biases = [layer.bias.detach().numpy() for layer in layers]
        self._head_weights = [head.weight.detach() for head in heads]
        self._head_biases = [head.bias.detach() for head in heads]
        self._head_weight = torch.empty(len(out), heads[0].in_features)
        self._head_bias = torch.empty(len(out))
        self._head_bias_column = self._head_bias.unsqueeze(1)
        self._hidden = [torch.empty(out.shape[1], layer.out_features) for layer in layers]
        self._hidden_values = [hidden.numpy() for hidden in self._hidden]

    def refresh(self) -> None:
        torch.cat(self._head_weights, out=self._head_weight)
        torch.cat(self._head_biases, out=self._head_bias)

    def forward(self, observations: torch.Tensor) -> None:
        features = observations
        for turned, bias, hidden, values in zip(
            self._weights_turned, self._biases, self._hidden, self._hidden_values, strict=True
        ):
            torch.mm(features, turned, out=hidden)
            self._activation.forward(values, bias)
            features = hidden
        torch.addmm(self._head_bias_column, self._head_weight, features.t(), out=self._out)

    def attach(self, pull: torch.Tensor, gradient: torch.Tensor) -> None:
        """Make `backward` go from `pull` `(K, n)` to `gradient`: weight and bias layer by layer, the heads' last."""
        shapes: list[tuple[int, ...]] = []
        for weight in (*self._weights, self._head_weight):
            shapes += [tuple(weight.shape), (len(weight),)]
        parts = gradient.split([math.prod(shape) for shape in shapes])
        views = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        *self._weight_gradients, self._head_weight_gradient = views[::2]
        *self._bias_gradients, self._head_bias_gradient = [view.numpy() for view in views[1::2]]
        self._pull, self._pull_values, self._pull_turned = pull, pull.numpy(), pull.t()
        self._pulls = [torch.empty_like(hidden) for hidden in self._hidden]
        self._pulls_values = [below.numpy() for below in self._pulls]
        self._pulls_turned = [below.t() for below in self._pulls]

    def backward(self, observations: torch.Tensor) -> None:
        inputs = [observations, *self._hidden]
        self._head_weight_gradient.addmm_(self._pull, inputs[-1])
        kernels.add_row_sums(self._pull_values, self._head_bias_gradient)
        pull, weight = self._pull_turned, self._head_weight
        for index in range(len(self._weights) - 1, -1, -1):
            torch.mm(pull, weight, out=self._pulls[index])
            self._activation.backward(
                self._pulls_values[index], self._hidden_values[index], self._bias_gradients[index]
            )
            self._weight_gradients[index].addmm_(self._pulls_turned[index], inputs[index])
            pull, weight = self._pulls[index], self._weights[index]


class Passes:
    """The passes of one network on batches of one size. Its parameters are shared, and must be changed in place only.

    Args:
        network: On the CPU.
        num_rows: n, best at most `MAX_ROWS`.
        gradient: `(P,)`, to which `backward` adds; one number for each of `parameters(network)`. None if there is
            nothing to learn.

    Attributes:
        observations: `(n, D)`, what goes in unless `forward` is given something else.
        outputs: `(A + 1, n)` float32: the logits, and below them the state values, of the last forward pass.
        pull: `(A + 1, n)` float32: the gradient of a loss with respect to `outputs`, to be filled in before `backward`.
    """

    def __init__(self, network: PolicyNetwork, num_rows: int, gradient: torch.Tensor | None = None) -> None:
        activation = _ACTIVATIONS[network.settings.activation]
        outputs = torch.empty(network.num_actions + 1, num_rows)
        pull = torch.empty_like(outputs)
        self.observations = torch.empty(num_rows, network.num_observations)
        self.outputs, self.pull = outputs.numpy(), pull.numpy()
        self._stacks, first, start = [], 0, 0
        for trunk, heads in _stacks(network):
            rows = slice(first, first + sum(head.out_features for head in heads))
            self._stacks.append(_Stack(trunk, heads, activation, outputs[rows]))
            if gradient is not None:
                stop = start + sum(parameter.numel() for parameter in _parameters(trunk, heads))
                self._stacks[-1].attach(pull[rows], gradient[start:stop])
                start = stop
            first = rows.stop

    def refresh(self) -> None:
        """To be called before `forward` whenever the parameters may have changed."""
        for stack in self._stacks:
            stack.refresh()

    def forward(self, observations: torch.Tensor | None = None) -> None:
        """Fill `outputs`."""
        for stack in self._stacks:
            stack.forward(self.observations if observations is None else observations)

    def backward(self) -> None:
        """Add to the gradient what `pull` comes to, after a `forward` on `observations`."""
        for stack in self._stacks:
            stack.backward(self.observations)


class BySize:
    """`Passes` for batches of whatever size comes; keeps those of the sizes that came last.

    Args:
        network, gradient: Those of `Passes`.
    """

    def __init__(self, network: PolicyNetwork, gradient: torch.Tensor | None = None) -> None:
        self._network, self._gradient = network, gradient
        self._passes: dict[int, Passes] = {}
        self._fresh: set[int] = set()

    def refresh(self) -> None:
        """To be called before `of` whenever the parameters may have changed."""
        self._fresh.clear()

    def of(self, num_rows: int) -> Passes:
        """Those for so many rows."""
        if num_rows not in self._passes:
            if len(self._passes) == MAX_SIZES:
                del self._passes[next(iter(self._passes))]
            self._passes[num_rows] = Passes(self._network, num_rows, self._gradient)
            self._fresh.discard(num_rows)
        if num_rows not in self._fresh:
            self._passes[num_rows].refresh()
            self._fresh.add(num_rows)
        return self._passes[num_rows]


def parameters(network: PolicyNetwork) -> list[nn.Parameter]:
    """All parameters, in the order in which their gradients lie."""
    return [parameter for trunk, heads in _stacks(network) for parameter in _parameters(trunk, heads)]


def _stacks(network: PolicyNetwork) -> list[tuple[nn.Sequential, list[nn.Linear]]]:
    """Each trunk with the heads that read it; in their order, the policy's outputs come first."""
    if network.value_trunk is None:
        return [(network.policy_trunk, [network.policy_head, network.value_head])]
    return [(network.policy_trunk, [network.policy_head]), (network.value_trunk, [network.value_head])]


def _parameters(trunk: nn.Sequential, heads: Sequence[nn.Linear]) -> list[nn.Parameter]:
    below = [parameter for layer in _linear(trunk) for parameter in (layer.weight, layer.bias)]
    return [*below, *(head.weight for head in heads), *(head.bias for head in heads)]


def _linear(trunk: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in trunk if isinstance(layer, nn.Linear)]
