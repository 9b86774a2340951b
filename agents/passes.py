"""Forward and backward passes of a policy network on a CPU, compiled as a whole.

A few functions on arrays go through a batch in parts of `MAX_ROWS` rows, so that activations stay in a core's cache;
the matrix products are those of `kerf.agents.products`, the arrays are laid out as `kerf.agents.packing` says. torch's
modules and autograd compute the same, to rounding, and take more than twice as long at the sizes that agents have here.
Nothing here holds the GIL, so several threads can work at once.

The loss takes the outputs of all stacks transposed, `(K, n)`: logits, and below them the state values. They are few,
and what is computed from them runs along the rows.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import numpy as np

from kerf.agents.kernels import add_row_sums, loss_gradient, relu_backward, relu_forward, tanh_backward, tanh_forward
from kerf.agents.latent import attack_in_place
from kerf.agents.packing import (
    MAX_ROWS,
    add_gradient,
    copy_parameters,
    num_hidden,
    num_parameters,
    num_plain,
    num_transposed,
    offsets,
    padded,
)
from kerf.agents.products import multiply
from kerf.lab.compiled import compiled


@compiled
def _forward(observations, observations_at, row_length, n, widths, relu, work, plain, transposed, hidden, outputs):
    """Forward pass of one stack on `n` rows `(n, D)` of the flat `observations`.

    Args:
        observations: Number `[i, k]` is `observations[observations_at + i * row_length + k]`.
        n: Rows, at most `MAX_ROWS`.
        widths: `(L + 1,)`, of this stack.
        relu: The nonlinearity, else tanh.
        work, plain, transposed: The stack's parameters, and where they begin in `work`.
        hidden: Where in `work` the hidden layers go, `(n, width)` padded each.
        outputs: Where in `work` the outputs go, `(n, K)` padded.
    """
    last = len(widths) - 2
    inputs, inputs_at, inputs_row = observations, observations_at, row_length
    for layer in range(last + 1):
        below, above = widths[layer], widths[layer + 1]
        padded_below, padded_above = padded(below), padded(above)
        bias = plain + above * padded_below
        into = outputs if layer == last else hidden
        # (n, above) = bias, the same in all rows + inputs (n, below) @ weights^T (below, above)
        multiply(
            n, padded_above, below, inputs, inputs_at, inputs_row, 1, work, transposed, padded_above,
            work, bias, 0, work, into, padded_above,
        )  # fmt: skip
        if layer < last:
            values = work[hidden : hidden + n * padded_above]
            if relu:
                relu_forward(values)
            else:
                tanh_forward(values)
            inputs, inputs_at, inputs_row = work, hidden, padded_above
            hidden += MAX_ROWS * padded_above
        plain, transposed = bias + padded_above, transposed + below * padded_above


@compiled
def _backward(observations, n, widths, relu, work, plain, gradient, zeros, hidden, hidden_grad, output_grad):
    """Backward pass of one stack, after its `_forward` on the same rows: adds to the gradient in `work`.

    From the last layer to the first, with `d` the gradient `(n, above)` with respect to what the layer puts out before
    the nonlinearity: biases get its sum over the rows, weights `d`^T @ inputs, and the layer below `d` @ weights.

    Args:
        observations: Where in `work` they begin, `(n, D)` padded.
        n: Rows, at most `MAX_ROWS`.
        widths: `(L + 1,)`, of this stack.
        relu: The nonlinearity, else tanh.
        work: All arrays.
        plain, gradient, hidden: Where the stack's own begin.
        zeros, hidden_grad: As in `kerf.agents.packing.Offsets`.
        output_grad: Where the gradient with respect to this stack's outputs begins, `(K, n)`: transposed, unpadded.
    """
    last = len(widths) - 2
    shift = num_plain(widths)
    plain, gradient = plain + shift, gradient + shift  # ends, from which each layer steps back to its own beginning
    hidden += MAX_ROWS * num_hidden(widths)
    hidden_grad += MAX_ROWS * num_hidden(widths)
    for layer in range(last, -1, -1):
        below, above = widths[layer], widths[layer + 1]
        padded_below, padded_above = padded(below), padded(above)
        plain, gradient = plain - above * padded_below - padded_above, gradient - above * padded_below - padded_above
        bias = gradient + above * padded_below
        # Number [i, k] of d is work[d + i * d_row + k * d_step].
        if layer == last:
            d, d_row, d_step = output_grad, 1, n
            add_row_sums(work[d : d + above * n].reshape(above, n), work[bias : bias + above])
        else:
            d, d_row, d_step = hidden_grad, padded_above, 1
            grad = work[hidden_grad : hidden_grad + n * padded_above].reshape(n, padded_above)
            values = work[hidden : hidden + n * padded_above].reshape(n, padded_above)
            if relu:
                relu_backward(grad, values, work[bias : bias + padded_above])
            else:
                tanh_backward(grad, values, work[bias : bias + padded_above])
        inputs = observations
        if layer > 0:
            hidden -= MAX_ROWS * padded_below
            hidden_grad -= MAX_ROWS * padded_below
            inputs = hidden
        # weight gradient (above, below) += d^T (above, n) @ inputs (n, below)
        multiply(
            above, padded_below, n, work, d, d_step, d_row, work, inputs, padded_below,
            work, gradient, padded_below, work, gradient, padded_below,
        )  # fmt: skip
        if layer > 0:
            # hidden_grad (n, below) = d (n, above) @ weights (above, below)
            multiply(
                n, padded_below, above, work, d, d_row, d_step, work, plain, padded_below,
                work, zeros, 0, work, hidden_grad, padded_below,
            )  # fmt: skip


@compiled
def act(observations, parameters, widths, relu, work, logits, state_values):
    """Forward pass of a whole batch.

    Args:
        observations: `(n, D)`, C-contiguous.
        parameters, widths, relu: Of `kerf.agents.packed.Packed`.
        work: As `Packed.work_space` gives it.
        logits: `(n, A)`, overwritten.
        state_values: `(n,)`, overwritten.
    """
    num_actions, width = logits.shape[1], observations.shape[1]
    flat = observations.reshape(-1)
    at = offsets(widths)
    copy_parameters(parameters, widths, work, at.plain, at.transposed)
    for start in range(0, len(observations), MAX_ROWS):
        n = min(MAX_ROWS, len(observations) - start)
        first, plain, transposed = 0, at.plain, at.transposed
        for stack in range(len(widths)):
            num_here, row = widths[stack, -1], padded(widths[stack, -1])
            _forward(flat, start * width, width, n, widths[stack], relu, work, plain, transposed, at.hidden, at.outputs)
            # Outputs `first` to `first + num_here` of all: logits, then the state value, which is the last.
            num_logits = min(num_here, num_actions - first)
            found = work[at.outputs : at.outputs + n * row].reshape(n, row)
            into = logits[start : start + n, first : first + num_logits]
            for i in range(n):
                for a in range(num_logits):
                    into[i, a] = found[i, a]
            if first + num_here > num_actions:
                state_values[start : start + n] = found[:, num_here - 1]
            first += num_here
            plain, transposed = plain + num_plain(widths[stack]), transposed + num_transposed(widths[stack])


@compiled
def _gather(observations, rows, work, begin, row_length):
    """Copy `rows` `(n,)` of `observations` `(N, D)` to `work`, from `begin` on, `row_length` numbers apart."""
    width = observations.shape[1]
    for i in range(len(rows)):
        row, first = rows[i], begin + i * row_length
        into = work[first : first + width]
        for j in range(width):
            into[j] = observations[row, j]


@compiled
def _transpose(found, into):
    """Copy the first K columns of `found` `(n, K or more)` to the rows of `into` `(K, n)`."""
    for i in range(len(found)):
        for k in range(len(into)):
            into[k, i] = found[i, k]


@compiled
def _add_perturbed(output_grad, found, delta, head_gradient):
    """Add to `head_gradient` `(A, H)` the part of perturbations `delta` `(m, H)` of the activations of rows `found`.

    The head saw the perturbed activations; below it nothing is different. `output_grad` is `(A, n)`, `found` `(m,)`.
    """
    grad = np.empty((len(head_gradient), len(found)), np.float32)
    for a in range(len(head_gradient)):
        for j in range(len(found)):
            grad[a, j] = output_grad[a, found[j]]
    head_gradient += np.dot(grad, delta)


@compiled
def accumulate(
    observations, rows, actions, action_logp, advantage, value_target, expert, anchor_logp, coefficients, clip, share,
    parameters, gradient, widths, relu, work, sums, attacked, radius, num_steps, latent_sums,
):  # fmt: skip
    """Adds to `gradient` `(P,)` that of the loss on `rows` `(m,)` of a batch.

    The batch is `observations` `(N, D)` and the columns that `kerf.agents.kernels.loss_gradient` and, for a `radius` >
    0, `kerf.agents.latent.attack_in_place` take. All other arguments are theirs, or those of `act`.
    """
    at, num_outputs = offsets(widths), widths[:, -1].sum()
    row_length, hidden_of_stack = padded(observations.shape[1]), MAX_ROWS * num_hidden(widths[0])
    last, num_actions = widths[0, -2], num_outputs - 1
    head = num_parameters(widths[0]) - (last + 1) * widths[0, -1]  # where the policy head's weights begin
    head_weight = parameters[head : head + num_actions * last].reshape(num_actions, last)
    head_gradient = gradient[head : head + num_actions * last].reshape(num_actions, last)
    most = min(len(rows), MAX_ROWS) if radius > 0 else 0
    found = np.empty(most, np.int64)
    delta = np.empty((most, last), np.float32)
    copy_parameters(parameters, widths, work, at.plain, at.transposed)
    work[at.gradient : at.hidden] = 0.0  # the gradient and the zeros
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        n = len(part)
        grad = work[at.output_grad : at.output_grad + n * num_outputs].reshape(num_outputs, n)
        out = work[at.output_grad + n * num_outputs : at.output_grad + 2 * n * num_outputs].reshape(num_outputs, n)
        _gather(observations, part, work, at.observations, row_length)
        first, plain, transposed, hidden = 0, at.plain, at.transposed, at.hidden
        for stack in range(len(widths)):
            num_here, row = widths[stack, -1], padded(widths[stack, -1])
            _forward(
                work, at.observations, row_length, n, widths[stack], relu, work, plain, transposed, hidden, at.outputs
            )
            _transpose(work[at.outputs : at.outputs + n * row].reshape(n, row), out[first : first + num_here])
            first, hidden = first + num_here, hidden + hidden_of_stack
            plain, transposed = plain + num_plain(widths[stack]), transposed + num_transposed(widths[stack])
        num_found = 0
        if radius > 0:
            num_found = attack_in_place(
                out[:num_actions], part, actions, attacked, head_weight, radius, num_steps, found, delta, latent_sums
            )
        loss_gradient(
            out, grad, part, actions, action_logp, advantage, value_target, expert, anchor_logp, coefficients, clip,
            share, sums,
        )  # fmt: skip
        output_grad, plain, gradient_at, hidden = at.output_grad, at.plain, at.gradient, at.hidden
        for stack in range(len(widths)):
            _backward(
                at.observations, n, widths[stack], relu, work, plain, gradient_at, at.zeros, hidden, at.hidden_grad,
                output_grad,
            )  # fmt: skip
            output_grad, hidden = output_grad + widths[stack, -1] * n, hidden + hidden_of_stack
            plain, gradient_at = plain + num_plain(widths[stack]), gradient_at + num_plain(widths[stack])
        if num_found > 0:
            _add_perturbed(grad, found[:num_found], delta[:num_found], head_gradient)
    add_gradient(work, at.gradient, widths, gradient)
