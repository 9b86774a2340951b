"""Packed networks: a `PolicyNetwork` in flat arrays, for the compiled passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  # numba's products call it; loaded here, so that its threads can be limited
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import nn

from kerf.agents.adam import stepping
from kerf.agents.packing import offsets

if TYPE_CHECKING:
    from kerf.agents.network import PolicyNetwork


class Packed:
    """A network as `kerf.agents.passes` takes it: a copy of its parameters, renewed by `refresh`.

    Args:
        network: On the CPU; its parameters must be changed in place only.

    Attributes:
        parameters: `(P,)` float32.
        widths: `(S, L + 1)` int64, see `kerf.agents.packing`.
        relu: Whether the nonlinearity is ReLU; else it is tanh.
    """

    def __init__(self, network: PolicyNetwork) -> None:
        _one_blas_thread()
        settings = network.settings
        self.relu = settings.activation == "relu"
        heads = [[network.policy_head, network.value_head]]
        trunks = [network.policy_trunk]
        if network.value_trunk is not None:
            heads, trunks = [[network.policy_head], [network.value_head]], [*trunks, network.value_trunk]
        self.widths: NDArray[np.int64] = np.array(
            [[network.num_observations, *settings.hidden, sum(head.out_features for head in read)] for read in heads]
        )
        self._owners: list[nn.Parameter] = []
        for trunk, read in zip(trunks, heads, strict=True):
            for layer in trunk:
                self._owners += layer.parameters()  # weight, bias; a nonlinearity has none
            self._owners += [head.get_parameter(kind) for kind in ("weight", "bias") for head in read]
        self._sizes = [owner.numel() for owner in self._owners]
        self._sources = [owner.detach().view(-1) for owner in self._owners]
        self._flat = torch.empty(sum(self._sizes))
        self.parameters: NDArray[np.float32] = self._flat.numpy()
        self.refresh()

    def refresh(self) -> None:
        """Copy the network's present parameters."""
        torch.cat(self._sources, out=self._flat)

    def bind_gradient(self, gradient: torch.Tensor) -> None:
        """Make each parameter's `grad` a view of its part of `gradient` `(P,)`."""
        for owner, part in self.by_parameter(gradient).items():
            owner.grad = part

    def by_parameter(self, gradient: torch.Tensor) -> dict[nn.Parameter, torch.Tensor]:
        """Views of the parameters' parts of `gradient` `(P,)`, each of its parameter's shape."""
        parts = zip(self._owners, torch.split(gradient, self._sizes), strict=True)
        return {owner: part.view(owner.shape) for owner, part in parts}

    def stepping(self, optimizer: torch.optim.Optimizer, gradient: torch.Tensor) -> Callable[[], None]:
        """A function that steps the `optimizer` with `gradient`: `kerf.agents.adam.stepping` on the network's
        parameters, as they were last copied, or SGD's own step, which has no state to lay out."""
        if isinstance(optimizer, torch.optim.SGD):
            return optimizer.step
        return stepping(optimizer, self._owners, self._flat, gradient)

    def work_space(self) -> NDArray[np.float32]:
        """What `act` and `accumulate` need as `work`; one for each thread."""
        numbers: NDArray[np.float32] = torch.zeros(offsets(self.widths).end).numpy()  # well aligned
        return numbers


@cache
def _one_blas_thread() -> Any:
    """Limit BLAS to one thread in the whole process, from now on.

    Products of this size are not worth splitting, and two threads that each split theirs wait for each other.
    """
    return ThreadpoolController().limit(limits=1, user_api="blas")
