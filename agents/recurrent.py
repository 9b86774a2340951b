"""Network with a memory: a gated recurrent unit between the hidden layers and the heads, and a policy that plays.

The unit is that of Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", in torch's form
(`torch.nn.GRU`). `RecurrentNetwork` learns from whole episodes, by gradients through time; `RecurrentPolicy` plays step
by step, with the products of `kerf.agents.products`, so that an episode is the same whatever else is in its batch.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kerf.agents.kernels import relu_forward, tanh_forward
from kerf.agents.network import Network, NetworkPolicy, trunk
from kerf.agents.packing import padded
from kerf.agents.products import multiply
from kerf.agents.settings import NetworkSettings
from kerf.agents.through_time import ThroughTime, advance, beside_each_other
from kerf.lab.errors import KerfError

ROWS = 512
"""Episodes that are played together: their activations stay in a core's cache."""


class RecurrentNetwork(Network):
    """Hidden layers, a gated recurrent unit of `settings.memory` units, a policy head and a state-value head.

    Initial weights are those of `kerf.agents.network.PolicyNetwork`; the unit's are orthogonal, gate by gate where they
    read the memory, and its biases 0.

    Attributes:
        written_out: Whether the unit is `kerf.agents.through_time`'s, for a CPU, and not torch's.
    """

    written_out = False

    def __init__(
        self, num_observations: int, num_actions: int, settings: NetworkSettings, generator: torch.Generator | None
    ) -> None:
        super().__init__(num_observations, num_actions, settings, generator)
        if settings.memory < 1:
            raise KerfError("memory: a recurrent network has at least 1 unit that remembers, got 0")
        self.trunk = trunk(num_observations, settings, generator)
        self.unit = _GRU(settings.hidden[-1] if settings.hidden else num_observations, settings.memory)
        if generator is not None:
            nn.init.orthogonal_(self.unit.weight_ih_l0, generator=generator)
            for gate in self.unit.weight_hh_l0.detach().chunk(3):  # views
                nn.init.orthogonal_(gate, generator=generator)
            nn.init.zeros_(self.unit.bias_ih_l0)
            nn.init.zeros_(self.unit.bias_hh_l0)
        self.add_heads(settings.memory, generator)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole episodes `(T, n, D)` -> logits `(T, n, A)` and state values `(T, n)`."""
        inputs, unit = self.trunk(observations), self.unit
        if self.written_out:
            of_input = nn.functional.linear(inputs, unit.weight_ih_l0, unit.bias_ih_l0)
            features = ThroughTime.apply(of_input, unit.weight_hh_l0, unit.bias_hh_l0)
        else:
            features, _ = unit(inputs)
        return self.policy_head(features), self.value_head(features).squeeze(-1)

    def state_values(self, observations: torch.Tensor) -> torch.Tensor:
        """`(T, n, D)` -> `(T, n)`, expected discounted future scaled reward."""
        return self(observations)[1]


class _GRU(nn.GRU):
    """A unit without initialisation, for which torch would use its global generator."""

    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def reset_parameters(self) -> None:
        pass


class RecurrentPolicy(NetworkPolicy[RecurrentNetwork]):
    """A policy with a memory (`kerf.lab.rollout.Recurrent`).

    Args:
        network: On the CPU. Its weights are copied here: later training does not change how this policy plays.
    """

    kind = "recurrent"
    network_class = RecurrentNetwork

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__(network)
        self.memory_size = network.settings.memory
        self._relu = network.settings.activation == "relu"
        self._layers = [_laid_out(layer.weight, layer.bias) for layer in network.trunk if isinstance(layer, nn.Linear)]
        unit = network.unit
        self._of_input = _gates(unit.weight_ih_l0, unit.bias_ih_l0)
        self._of_memory = _gates(unit.weight_hh_l0, unit.bias_hh_l0)
        heads = network.policy_head, network.value_head
        self._heads = _laid_out(*(torch.cat([getattr(head, part) for head in heads]) for part in ("weight", "bias")))

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raises `KerfError`: without its memory it is not known what it does."""
        raise KerfError(
            "what an agent with a memory (network.memory) does follows from all that it has seen in an episode, not "
            "from one observation, which is all that is known here; use an agent without a memory"
        )

    def recall(
        self, observations: NDArray[np.float32], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`(n, D)` and the memory before it `(n, M)` -> logits `(n, A)`, and the memory after it."""
        logits, _, after = self.outputs(observations, memory)
        return logits, after

    def outputs(
        self, observations: NDArray[np.float32], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The same, with the state values `(n,)` in units of scaled reward between the two."""
        n, num_actions = len(observations), self.network.num_actions
        logits, state_values = np.empty((n, num_actions), np.float32), np.empty(n, np.float32)
        after = np.empty((n, self.memory_size), np.float32)
        for start in range(0, n, ROWS):
            rows = slice(start, start + ROWS)
            features = np.ascontiguousarray(observations[rows])
            for layer in self._layers:
                features = _product(features, layer)
                (relu_forward if self._relu else tanh_forward)(features.reshape(-1))
            before = np.ascontiguousarray(memory[rows])
            advance(_product(features, self._of_input), _product(before, self._of_memory), before, after[rows])
            found = _product(after[rows], self._heads)
            logits[rows], state_values[rows] = found[:, :num_actions], found[:, num_actions]
        return logits, state_values, after


_Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights `(k, m)` and biases `(m,)` of a layer with k inputs, padded to m outputs, a multiple of 16."""


def _laid_out(weight: torch.Tensor, bias: torch.Tensor) -> _Layer:
    """The layer with `weight` `(outputs, inputs)` and `bias` `(outputs,)`."""
    outputs, inputs = weight.shape
    transposed, biases = np.zeros((inputs, padded(outputs)), np.float32), np.zeros(padded(outputs), np.float32)
    transposed[:, :outputs], biases[:outputs] = weight.detach().numpy().T, bias.detach().numpy()
    return transposed, biases


def _gates(weight: torch.Tensor, bias: torch.Tensor) -> _Layer:
    """The three gates of torch's `weight` `(3 M, inputs)` and `bias` `(3 M,)`: reset, update, new."""
    return beside_each_other(weight.detach().numpy(), bias.detach().numpy())


def _product(inputs: NDArray[np.float32], layer: _Layer) -> NDArray[np.float32]:
    """What the layer makes of `inputs`, `(n, k)` or padded columns more: `(n, m)`."""
    weight, bias = layer
    (steps, columns), n = weight.shape, len(inputs)
    out = np.empty((n, columns), np.float32)
    multiply(
        n, columns, steps, inputs.reshape(-1), 0, inputs.shape[1], 1, weight.reshape(-1), 0, columns,
        bias, 0, 0, out.reshape(-1), 0, columns,
    )  # fmt: skip
    return out
