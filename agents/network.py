"""Network of the agent: an MLP with a policy head and a state-value head, and a policy that plays with it.

`PolicyNetwork` has the weights, `TorchPolicy` plays with them (numpy in, numpy out). `kerf.agents.recurrent` has the
same with a memory, and `kerf.agents.architectures` chooses. `kerf.agents.module` wraps them for RLlib, so that playing
does not import it.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kerf.agents.packed import Packed
from kerf.agents.passes import act
from kerf.agents.settings import NetworkSettings
from kerf.lab.errors import KerfError
from kerf.lab.world import World

Weights = Mapping[str, NDArray[np.float32]]
"""Named parameters of a `PolicyNetwork`, float32."""

_ACTIVATIONS: Mapping[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
N = TypeVar("N", bound="Network")
_HIDDEN_GAIN, _POLICY_GAIN, _VALUE_GAIN = math.sqrt(2.0), 0.01, 1.0


class Network(nn.Module):
    """What every agent's network has: heads for policy and state value, and weights that can be copied out and in.

    Args:
        num_observations: D, length of an observation.
        num_actions: A.
        settings: The network's settings.
        generator: Draws the initial weights; None leaves them uninitialised, to be loaded. torch's global generator is
            not used.
    """

    policy_head: nn.Linear
    value_head: nn.Linear

    def __init__(
        self, num_observations: int, num_actions: int, settings: NetworkSettings, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.num_observations = num_observations
        self.num_actions = num_actions
        self.settings = settings

    def add_heads(self, width: int, generator: torch.Generator | None) -> None:
        """Add the heads, which read `width` features; `generator` draws their initial weights, if there is one."""
        self.policy_head = linear(width, self.num_actions, _POLICY_GAIN, generator)
        self.value_head = linear(width, 1, _VALUE_GAIN, generator)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of all parameters, by name."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state_dict().items()}

    def load(self, weights: Weights) -> None:
        """Load `weights`. Raises `KerfError` unless names and shapes are exactly those of this network."""
        own = self.state_dict()
        if set(weights) != set(own):
            raise KerfError(f"weights: expected the tensors {sorted(own)}, got {sorted(weights)}; another network?")
        for name, tensor in own.items():
            if tuple(weights[name].shape) != tuple(tensor.shape):
                raise KerfError(
                    f"weights: {name} must have shape {tuple(tensor.shape)}, got {tuple(weights[name].shape)}; "
                    "another network or another world?"
                )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(torch.tensor(weights[name]))


class PolicyNetwork(Network):
    """An MLP with a policy head and a state-value head.

    Initial weights are orthogonal (gain sqrt 2; the policy head 0.01, so that the first policy is nearly uniform; the
    value head 1), biases 0, as in Andrychowicz et al. 2021, "What matters in on-policy reinforcement learning?".

    Args:
        num_observations: D, length of an observation.
        num_actions: A.
        settings: Widths, nonlinearity, shared or separate trunks.
        generator: Draws the initial weights; None leaves them uninitialised, to be loaded. torch's global generator is
            not used.
    """

    def __init__(
        self, num_observations: int, num_actions: int, settings: NetworkSettings, generator: torch.Generator | None
    ) -> None:
        super().__init__(num_observations, num_actions, settings, generator)
        width = settings.hidden[-1] if settings.hidden else num_observations
        self.policy_trunk = trunk(num_observations, settings, generator)
        self.value_trunk = None if settings.shared_trunk else trunk(num_observations, settings, generator)
        self.add_heads(width, generator)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`(n, D)` observations -> logits `(n, A)` and state values `(n,)`."""
        features = self.policy_trunk(observations)
        value_features = features if self.value_trunk is None else self.value_trunk(observations)
        return self.policy_head(features), self.value_head(value_features).squeeze(-1)

    def logits(self, observations: torch.Tensor) -> torch.Tensor:
        """`(n, D)` -> `(n, A)`."""
        return self.policy_head(self.policy_trunk(observations))

    def state_values(self, observations: torch.Tensor) -> torch.Tensor:
        """`(n, D)` -> `(n,)`, expected discounted future scaled reward."""
        trunk = self.policy_trunk if self.value_trunk is None else self.value_trunk
        return self.value_head(trunk(observations)).squeeze(-1)


class _Linear(nn.Linear):
    """A layer without initialisation: torch would use its global generator, and `skip_init`, which would not, imports
    sympy."""

    def reset_parameters(self) -> None:
        pass


def linear(inputs: int, outputs: int, gain: float, generator: torch.Generator | None) -> nn.Linear:
    """A layer with orthogonal weights and biases 0; without a `generator` they are left uninitialised."""
    layer = _Linear(inputs, outputs)
    if generator is not None:
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
    return layer


def trunk(inputs: int, settings: NetworkSettings, generator: torch.Generator | None) -> nn.Sequential:
    """The hidden layers of `settings`."""
    layers: list[nn.Module] = []
    for width in settings.hidden:
        layers += [linear(inputs, width, _HIDDEN_GAIN, generator), _ACTIVATIONS[settings.activation]()]
        inputs = width
    return nn.Sequential(*layers)


def weights_digest(weights: Weights) -> str:
    """SHA-256 (hex) of names, shapes and bytes, in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(f"{name}{tuple(weights[name].shape)}".encode())
        sha.update(np.ascontiguousarray(weights[name], "<f4").tobytes())
    return sha.hexdigest()


class NetworkPolicy(ABC, Generic[N]):
    """A policy that plays with a network: numpy observations in, numpy logits out, no gradients.

    Args:
        network: On the CPU. Not copied: freeze or copy it first if it is trained elsewhere.

    Attributes:
        kind: Name of its entry in a card (`kerf.agents.export`).
        network_class: The class of its network.
    """

    kind: ClassVar[str]
    network_class: type[N]

    def __init__(self, network: N) -> None:
        self.network = network

    @abstractmethod
    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n, D)` float32 -> `(n, A)` float32; raises as `kerf.lab.rollout.Policy` says."""

    @classmethod
    def from_weights(cls, num_observations: int, num_actions: int, settings: NetworkSettings, weights: Weights) -> Self:
        """A policy with a copy of `weights`. Raises `KerfError` if they do not fit."""
        network = cls.network_class(num_observations, num_actions, settings, None)
        network.load(weights)
        return cls(network.requires_grad_(False).eval())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of all parameters, by name."""
        return self.network.weights()

    def card(self) -> dict[str, Any]:
        """All else that is needed to load it."""
        return self.network.settings.model_dump(mode="json")

    @classmethod
    def from_card(cls, card: Mapping[str, Any], world: World, weights: Weights) -> Self:
        """The policy with this `card` and `weights`. Raises `KerfError` if they do not fit each other or `world`."""
        return cls.from_weights(len(world.observations), len(world.actions), NetworkSettings(**card), weights)


class TorchPolicy(NetworkPolicy[PolicyNetwork]):
    """A policy that acts on what it observes now."""

    kind = "network"
    network_class = PolicyNetwork

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__(network)
        self._packed = Packed(network)
        self._work = self._packed.work_space()

    def outputs(self, observations: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`(n, D)` float32 -> logits `(n, A)` and state values `(n,)` in units of scaled reward, both float32."""
        n, packed = len(observations), self._packed
        logits = np.empty((n, self.network.num_actions), np.float32)
        state_values = np.empty(n, np.float32)
        packed.refresh()
        act(
            np.ascontiguousarray(observations),
            packed.parameters,
            packed.widths,
            packed.relu,
            self._work,
            logits,
            state_values,
        )
        return logits, state_values

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n, D)` float32 -> `(n, A)` float32."""
        return self.outputs(observations)[0]

    def state_values(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n, D)` float32 -> `(n,)` float32, in units of scaled reward."""
        return self.outputs(observations)[1]
