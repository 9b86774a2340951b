"""Gated recurrent unit over whole episodes, and its gradient through time, written out for a CPU.

torch's unit goes through a dozen operations a step, each of which autograd remembers; with the small units of agents
that takes longer than the arithmetic. Here a step is a matrix product and one pass over the gates, forward and
backward, in the equations of `torch.nn.GRU`:

    r = s(i_r + h W_r^T + b_r),  z = s(i_z + h W_z^T + b_z),  n = tanh(i_n + r (h W_n^T + b_n)),  h' = n + z (h - n)

with s the logistic function, i the gates of the input and h what is remembered. Everything below and above the unit is
autograd's.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.agents.kernels import tanh_forward
from kerf.agents.packing import padded
from kerf.agents.products import multiply
from kerf.lab.compiled import compiled, fused

_HALF, _ONE = np.float32(0.5), np.float32(1.0)


class ThroughTime(torch.autograd.Function):
    """The unit over whole episodes, which begin without a memory; float32, on the CPU."""

    @staticmethod
    def forward(ctx: Any, of_input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """What is remembered after each step, `(T, n, M)`.

        Args:
            ctx: torch's, for the backward pass.
            of_input: `(T, n, 3 M)`, the gates of the input: reset, update, new.
            weight: `(3 M, M)`, of the gates of the memory.
            bias: `(3 M,)`, of the same.
        """
        given = of_input.detach().contiguous().numpy()
        weights = weight.detach().contiguous().numpy()
        horizon, n, width = given.shape
        units = width // 3
        transposed, biases = beside_each_other(weights, bias.detach().numpy())
        states = np.zeros((horizon + 1, n, units), np.float32)
        gates, candidates = np.empty((horizon, n, width), np.float32), np.empty((horizon, n, units), np.float32)
        forward(given, transposed, biases, states, gates, candidates)
        ctx.kept = weights, states, gates, candidates
        return torch.from_numpy(states[1:])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients of the arguments of `forward`, from that of its result, `(T, n, M)`."""
        weights, states, gates, candidates = ctx.kept
        of_input, of_memory = np.empty_like(gates), np.empty_like(gates)
        backward(gradient.contiguous().numpy(), padded_rows(weights), states, gates, candidates, of_input, of_memory)
        flat = torch.from_numpy(of_memory).flatten(0, 1)
        of_weight = flat.T @ torch.from_numpy(states[:-1]).flatten(0, 1)
        return torch.from_numpy(of_input), of_weight, flat.sum(dim=0)


def beside_each_other(
    weights: NDArray[np.float32], biases: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The three gates of `weights` `(3 M, k)` and `biases` `(3 M,)` for a product with `(n, k)` inputs: `(k, 3 m)` and
    `(3 m,)`, each gate padded with zeros to m columns, a multiple of `kerf.agents.products.LANES`."""
    rows, inputs = weights.shape
    units = rows // 3
    wide = padded(units)
    transposed, beside = np.zeros((inputs, 3, wide), np.float32), np.zeros((3, wide), np.float32)
    transposed[:, :, :units] = weights.reshape(3, units, inputs).transpose(2, 0, 1)
    beside[:, :units] = biases.reshape(3, units)
    return transposed.reshape(inputs, -1), beside.reshape(-1)


def padded_rows(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """`weights` `(k, M)` with rows that are padded with zeros to a multiple of `kerf.agents.products.LANES`."""
    wide = np.zeros((len(weights), padded(weights.shape[1])), np.float32)
    wide[:, : weights.shape[1]] = weights
    return wide


@compiled
def advance(of_input, of_memory, memory, after):
    """One step of the unit.

    Args:
        of_input: `(n, 3 m)`, the gates of the input: reset, update and new, each padded to m columns. They become what
            the gates are: r, z, n.
        of_memory: `(n, 3 m)`, the gates of the memory.
        memory: `(n, M)`, before the step.
        after: `(n, M)`, overwritten: after it.
    """
    wide, units = of_input.shape[1] // 3, memory.shape[1]
    for i in range(len(memory)):
        gates, remembered = of_input[i], of_memory[i]
        for j in range(2 * wide):  # the logistic function, by way of tanh
            gates[j] = _HALF * (gates[j] + remembered[j])
        tanh_forward(gates[: 2 * wide])
        for j in range(2 * wide):
            gates[j] = _HALF + _HALF * gates[j]
        for j in range(wide):
            gates[2 * wide + j] += gates[j] * remembered[2 * wide + j]
        tanh_forward(gates[2 * wide :])
        for j in range(units):
            new = gates[2 * wide + j]
            after[i, j] = new + gates[wide + j] * (memory[i, j] - new)


@compiled
def _spread(narrow, wide_rows, units, wide):
    """Copy `(n, 3 M)` to `(n, 3 m)`, gate by gate."""
    for i in range(len(narrow)):
        for gate in range(3):
            for j in range(units):
                wide_rows[i, gate * wide + j] = narrow[i, gate * units + j]


@compiled
def forward(of_input, transposed, biases, states, gates, candidates):
    """Fill in `states` `(T + 1, n, M)` from the first on, which is given, `gates` `(T, n, 3 M)`: r, z, n, and
    `candidates` `(T, n, M)`, the gate n of the memory. `transposed` and `biases` are those of `beside_each_other`."""
    horizon, n, width = of_input.shape
    units, wide = width // 3, transposed.shape[1] // 3
    flat = transposed.reshape(-1)
    inner, remembered = np.zeros((n, 3 * wide), np.float32), np.empty((n, 3 * wide), np.float32)
    for t in range(horizon):
        before = states[t]
        multiply(
            n, 3 * wide, units, before.reshape(-1), 0, units, 1, flat, 0, 3 * wide,
            biases, 0, 0, remembered.reshape(-1), 0, 3 * wide,
        )  # fmt: skip
        _spread(of_input[t], inner, units, wide)
        advance(inner, remembered, before, states[t + 1])
        for i in range(n):
            for gate in range(3):
                for j in range(units):
                    gates[t, i, gate * units + j] = inner[i, gate * wide + j]
            for j in range(units):
                candidates[t, i, j] = remembered[i, 2 * wide + j]


@fused
def _back(grad, carried, before, gates, candidate, of_input, of_memory):
    """One step back, for one episode: `carried` `(M,)`, the gradient from later steps, becomes the part of it that goes
    by the update gate; `of_input` and `of_memory` `(3 M,)` are overwritten."""
    units = len(grad)
    for j in range(units):
        r, z, n = gates[j], gates[units + j], gates[2 * units + j]
        total = grad[j] + carried[j]
        of_new = total * (_ONE - z) * (_ONE - n * n)
        of_reset = of_new * candidate[j] * r * (_ONE - r)
        of_update = total * (before[j] - n) * z * (_ONE - z)
        of_input[j], of_input[units + j], of_input[2 * units + j] = of_reset, of_update, of_new
        of_memory[j], of_memory[units + j], of_memory[2 * units + j] = of_reset, of_update, of_new * r
        carried[j] = total * z


@compiled
def backward(grad, weights, states, gates, candidates, of_input, of_memory):
    """From `grad` `(T, n, M)`, with respect to what is remembered after each step, the gradients with respect to the
    gates of the input and of the memory, `(T, n, 3 M)` each. `weights` `(3 M, M)` are those of `padded_rows`."""
    horizon, n, units = grad.shape
    wide = weights.shape[1]
    flat = weights.reshape(-1)
    carried = np.zeros((n, wide), np.float32)
    for t in range(horizon - 1, -1, -1):
        for i in range(n):
            _back(
                grad[t, i], carried[i, :units], states[t, i], gates[t, i], candidates[t, i], of_input[t, i],
                of_memory[t, i],
            )  # fmt: skip
        multiply(
            n, wide, 3 * units, of_memory[t].reshape(-1), 0, 3 * units, 1, flat, 0, wide,
            carried.reshape(-1), 0, wide, carried.reshape(-1), 0, wide,
        )  # fmt: skip
