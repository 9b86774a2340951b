"""Adam (Kingma & Ba 2015) on all parameters of a network at once, compiled, for a CPU.

torch steps through the parameters tensor by tensor, in several passes; for networks of some thousand weights that takes
longer than the arithmetic. Here they are one array, as `kerf.agents.packing` lays them out. The moments stay in the
state of torch's optimiser, so that either can go on where the other stopped.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator"
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.lab.compiled import compiled

_ONE = np.float32(1.0)


@compiled
def adam(parameters, gradient, mean, square, rate, beta1, beta2, root_correction, epsilon):  # type: ignore[no-untyped-def]
    """One step, in place, on flat float32 arrays `(P,)`.

    Args:
        parameters: Changed.
        gradient: With respect to them.
        mean, square: The running means of the gradient and of its square, changed.
        rate: Learning rate over 1 - `beta1`^t, where t counts the steps from 1; like all that follow, float32.
        beta1, beta2: What remains of the two means.
        root_correction: The root of 1 - `beta2`^t.
        epsilon: Added to the root of `square`.
    """
    for i in range(len(parameters)):
        g = gradient[i]
        mean[i] += (_ONE - beta1) * (g - mean[i])
        square[i] = beta2 * square[i] + (_ONE - beta2) * g * g
        parameters[i] -= rate * mean[i] / (np.sqrt(square[i]) / root_correction + epsilon)


@compiled
def clip(gradient, longest):  # type: ignore[no-untyped-def]  # compiled
    """Shorten `gradient` `(P,)` to the norm `longest` if it is longer, in place; returns the norm that it had.

    It is infinite if single precision cannot hold the squares, which Adam needs, too.
    """
    lanes = 16  # so that as many squares are added at once
    sums = np.zeros(lanes)
    whole = len(gradient) - len(gradient) % lanes
    for start in range(0, whole, lanes):
        for lane in range(lanes):
            sums[lane] += gradient[start + lane] * gradient[start + lane]
    total = 0.0
    for lane in range(lanes):
        total += sums[lane]
    for i in range(whole, len(gradient)):
        total += gradient[i] * gradient[i]
    norm = np.sqrt(total)
    scale = longest / (norm + 1e-6)
    if scale < 1.0:
        for i in range(len(gradient)):
            gradient[i] *= np.float32(scale)
    return norm


def stepping(
    optimizer: torch.optim.Optimizer,
    owners: Sequence[torch.nn.Parameter],
    parameters: torch.Tensor,
    gradient: torch.Tensor,
) -> Callable[[], None]:
    """`optimizer.step`, compiled, until its state is next loaded or its groups change.

    Args:
        optimizer: On `owners`, on the CPU, with one group and neither weight decay nor variants of the algorithm. What
            it keeps of each moves into common arrays; a state that was never stepped begins at zero.
        owners: The parameters, in the order of the arrays.
        parameters: `(P,)`: what `owners` hold whenever a step begins; they are given what it makes of that.
        gradient: `(P,)`.
    """
    (group,) = optimizer.param_groups
    sizes, (beta1, beta2) = [owner.numel() for owner in owners], group["betas"]
    kept = {kind: torch.zeros(len(parameters)) for kind in ("exp_avg", "exp_avg_sq")}
    steps = torch.zeros(len(owners))
    views = {kind: torch.split(array, sizes) for kind, array in kept.items()}
    for index, owner in enumerate(owners):
        ours = {"step": steps[index]} | {kind: views[kind][index].view(owner.shape) for kind in kept}
        before: dict[str, Any] = optimizer.state[owner]
        for kind, tensor in ours.items():
            if kind in before:
                tensor.copy_(before[kind])
        optimizer.state[owner] = ours
    targets = [owner.detach().view(-1) for owner in owners]
    sources = list(torch.split(parameters, sizes))
    flat: list[NDArray[np.float32]] = [array.numpy() for array in (parameters, gradient, *kept.values())]
    count, b1, b2, epsilon = int(steps[0]), np.float32(beta1), np.float32(beta2), np.float32(group["eps"])

    def step() -> None:
        nonlocal count
        count += 1
        steps.fill_(count)
        rate = np.float32(group["lr"] / (1.0 - beta1**count))
        adam(*flat, rate, b1, b2, np.float32((1.0 - beta2**count) ** 0.5), epsilon)
        torch._foreach_copy_(targets, sources)

    return step
