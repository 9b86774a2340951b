"""torch's optimisers, without importing torch's compiler.

torch imports its compiler (800 modules, 1 to 2 s) when an optimiser is made and when it first steps, even if nothing is
compiled. Here the same functions run without it; their results are the same bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch

_add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
_zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
_adam_step = inspect.unwrap(torch.optim.Adam.step)
_sgd_step = inspect.unwrap(torch.optim.SGD.step)


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _add_param_group(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        _zero_grad(self, set_to_none)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody here passes a closure
        _adam_step(self)


class SGD(torch.optim.SGD):
    """`torch.optim.SGD`."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _add_param_group(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        _zero_grad(self, set_to_none)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody here passes a closure
        _sgd_step(self)


AnyOptimiser = Adam | SGD
OPTIMISERS: Mapping[str, type[AnyOptimiser]] = MappingProxyType({"adam": Adam, "sgd": SGD})
"""The optimisers by the names that settings give them."""


def make_optimiser(name: str, parameters: Iterable[torch.nn.Parameter], learning_rate: float) -> AnyOptimiser:
    """The optimiser `name` of `parameters`, in one fused kernel: it steps through all of them at once."""
    return OPTIMISERS[name](parameters, lr=learning_rate, fused=True)
