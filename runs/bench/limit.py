"""Speed limit of the learner: its bare arithmetic in torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch


class BareTorch:
    """Forward and backward passes of an MLP over a batch, in minibatches, without a loss, an optimiser or autograd.

    Matrix products are written to preallocated buffers; a minibatch's gradients overwrite those of the one before.

    Args:
        num_rows: Rows of the batch.
        minibatch_size: Rows of a minibatch.
        num_epochs: Passes over the batch.
        widths: Inputs, hidden layers, outputs (of all heads together).
    """

    def __init__(self, num_rows: int, minibatch_size: int, num_epochs: int, widths: Sequence[int]) -> None:
        generator = torch.Generator().manual_seed(0)
        self._num_epochs = num_epochs
        self._minibatches = torch.split(torch.randn(num_rows, widths[0], generator=generator), minibatch_size)
        shapes = [(outputs, inputs) for inputs, outputs in pairwise(widths)]
        self._weights = [torch.randn(shape, generator=generator) / shape[1] ** 0.5 for shape in shapes]
        self._biases = [torch.zeros(shape[0]) for shape in shapes]
        self._gradients = [torch.empty(shape) for shape in shapes]
        self._results = [torch.empty(minibatch_size, width) for width in widths[1:]]
        self._pulls = [torch.randn(minibatch_size, width, generator=generator) for width in widths[1:]]

    def products_and_activations(self) -> None:
        """The minimum arithmetic for the gradients of a tanh network."""
        self._run(activations=True)

    def products(self) -> None:
        """The matrix products only."""
        self._run(activations=False)

    def _run(self, activations: bool) -> None:
        with torch.inference_mode():
            for _ in range(self._num_epochs):
                for rows in self._minibatches:
                    self._pass(rows, activations)

    def _pass(self, rows: torch.Tensor, activations: bool) -> None:
        inputs = [rows]
        for weight, bias, result in zip(self._weights, self._biases, self._results, strict=True):
            torch.addmm(bias, inputs[-1], weight.t(), out=result[: len(rows)])
            inputs.append(result[: len(rows)])
            if activations and weight is not self._weights[-1]:
                torch.tanh(inputs[-1], out=inputs[-1])
        for layer in range(len(self._weights) - 1, -1, -1):
            pull = self._pulls[layer][: len(rows)]
            torch.mm(pull.t(), inputs[layer], out=self._gradients[layer])
            if layer:
                below = self._pulls[layer - 1][: len(rows)]
                torch.mm(pull, self._weights[layer], out=below)
                if activations:
                    torch.ops.aten.tanh_backward.grad_input(below, inputs[layer], grad_input=below)
