"""Layout of a network's parameters and intermediate results in flat arrays, for the compiled passes.

A network is one or two *stacks* of layers: a trunk with the heads that read it, which count as one last layer.
`widths` `(S, L + 1)` int64 holds, for each stack, the observation's length, the widths of the hidden layers, and the
number of outputs. Parameters lie in one array `(P,)`: stack by stack, layer by layer, weights `(out, in)` and then
biases.

All else lies in one array `work`, at the offsets that `offsets` gives. There every row of a matrix begins at a multiple
of `LANES` numbers: it is *padded*, and what products make of the padding is never read. Parameters are copied there
once as they are, for the backward pass, and once with the weights transposed, for the forward pass; both are padded.

    work   | weights, biases | weights^T | gradient | zeros | hidden of stack 0, 1 | outputs | observations | ...
    layer      (out, in~)      (in, out~)   (out, in~)         (MAX_ROWS, width~) a layer       ~: padded
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

from typing import NamedTuple

from kerf.agents.products import LANES
from kerf.lab.compiled import compiled

MAX_ROWS = 512
"""Rows of a batch that go through the network together: their activations fit a core's cache."""


class Offsets(NamedTuple):
    """Where in `work` things begin, and where the last one ends.

    Attributes:
        plain: Parameters, weights `(out, in)` padded; of all stacks.
        transposed: Weights `(in, out)` padded; of all stacks.
        gradient: The gradient, laid out like `plain`.
        zeros: As many as a padded row can have numbers.
        hidden: Hidden layers, `(MAX_ROWS, width)` padded each; of all stacks.
        outputs: Outputs of one stack, `(n, K)` padded.
        observations: A part of the batch, `(n, D)` padded.
        hidden_grad: Gradients with respect to the hidden layers of one stack, laid out like them.
        output_grad: Gradient with respect to the outputs of all stacks, `(K, n)`, then these outputs, `(K, n)`.
        end: How many numbers `work` has.
    """

    plain: int
    transposed: int
    gradient: int
    zeros: int
    hidden: int
    outputs: int
    observations: int
    hidden_grad: int
    output_grad: int
    end: int


@compiled
def padded(width):
    """`width`, rounded up to a multiple of `LANES`."""
    return (width + LANES - 1) // LANES * LANES


@compiled
def num_parameters(widths):
    """How many parameters a stack has; here and below, `widths` `(L + 1,)` are those of one stack."""
    total = 0
    for layer in range(len(widths) - 1):
        total += (widths[layer] + 1) * widths[layer + 1]
    return total


@compiled
def num_plain(widths):
    """How many numbers a stack's parameters take, padded: layer by layer, weights `(out, in)` and then biases."""
    total = 0
    for layer in range(len(widths) - 1):
        total += widths[layer + 1] * padded(widths[layer]) + padded(widths[layer + 1])
    return total


@compiled
def num_transposed(widths):
    """How many numbers a stack's weights take, padded and transposed."""
    total = 0
    for layer in range(len(widths) - 1):
        total += widths[layer] * padded(widths[layer + 1])
    return total


@compiled
def num_hidden(widths):
    """How many numbers the hidden layers of one row take, padded."""
    total = 0
    for layer in range(1, len(widths) - 1):
        total += padded(widths[layer])
    return total


@compiled
def offsets(widths):
    """`Offsets` of the stacks `widths` `(S, L + 1)`."""
    plain, transposed, outputs, widest = 0, 0, 0, 0
    for stack in range(len(widths)):
        plain += num_plain(widths[stack])
        transposed += num_transposed(widths[stack])
        outputs += widths[stack, -1]
        for width in widths[stack]:
            widest = max(widest, padded(width))
    hidden = num_hidden(widths[0]) * MAX_ROWS
    at_gradient = plain + transposed
    at_zeros = at_gradient + plain
    at_hidden = at_zeros + widest
    at_outputs = at_hidden + hidden * len(widths)
    at_observations = at_outputs + MAX_ROWS * padded(outputs)
    at_hidden_grad = at_observations + MAX_ROWS * padded(widths[0, 0])
    at_output_grad = at_hidden_grad + hidden
    end = at_output_grad + MAX_ROWS * 2 * outputs
    return Offsets(
        0, plain, at_gradient, at_zeros, at_hidden, at_outputs, at_observations, at_hidden_grad, at_output_grad, end
    )


@compiled
def copy_parameters(parameters, widths, work, plain, transposed):
    """Copy `parameters` `(P,)` into `work`: padded, from `plain` on, and transposed besides, from `transposed` on."""
    at = 0
    for stack in range(len(widths)):
        for layer in range(widths.shape[1] - 1):
            below, above = widths[stack, layer], widths[stack, layer + 1]
            padded_below, padded_above = padded(below), padded(above)
            weight = parameters[at : at + above * below].reshape(above, below)
            as_it_is = work[plain : plain + above * padded_below].reshape(above, padded_below)
            as_it_is[:, :below] = weight
            as_it_is[:, below:] = 0.0
            turned = work[transposed : transposed + below * padded_above].reshape(below, padded_above)
            turned[:, above:] = 0.0
            for j in range(above):
                for k in range(below):
                    turned[k, j] = weight[j, k]
            at, plain = at + above * below, plain + above * padded_below
            transposed += below * padded_above
            bias = work[plain : plain + padded_above]
            bias[:above] = parameters[at : at + above]
            bias[above:] = 0.0
            at, plain = at + above, plain + padded_above


@compiled
def add_gradient(work, at, widths, gradient):
    """Add the padded gradient that begins at `at` in `work` to `gradient` `(P,)`."""
    to = 0
    for stack in range(len(widths)):
        for layer in range(widths.shape[1] - 1):
            below, above = widths[stack, layer], widths[stack, layer + 1]
            for _ in range(above):
                gradient[to : to + below] += work[at : at + below]
                to, at = to + below, at + padded(below)
            gradient[to : to + above] += work[at : at + above]
            to, at = to + above, at + padded(above)
