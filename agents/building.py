"""Building of a learning algorithm from its config, by the name that the config's settings give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kerf.agents.architectures import AnyNetworkPolicy
from kerf.agents.methods import METHODS
from kerf.agents.network import Weights

if TYPE_CHECKING:
    from kerf.agents.config import KerfConfig


class Learning(Protocol):
    """A learning algorithm at work.

    It must be deterministic: the same config gives the same weights, whether or not it was resumed in between.

    Attributes:
        num_iterations: Iterations done.
        penalty_counts: `(T,)`, how many episodes of the last iteration were penalised at each step.
    """

    num_iterations: int
    penalty_counts: NDArray[np.int64]

    def train(self) -> Mapping[str, Any]:
        """One iteration; RLlib's result."""

    def policy(self) -> AnyNetworkPolicy:
        """The present policy, detached."""

    def load_weights(self, weights: Weights) -> None:
        """Go on from the policy with these weights."""

    def training_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The complete state of training, without a pickle: arrays by name, and plain JSON values."""

    def load_training_state(self, arrays: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        """Resume from a `training_state` of an algorithm of the same config."""

    def stop(self) -> None:
        """Release all resources."""


def build(config: KerfConfig) -> Learning:
    """Build the algorithm that `config.settings.algorithm` names."""
    make: Callable[[KerfConfig], Learning] = import_module(METHODS[config.settings.algorithm].module).build
    return make(config)
