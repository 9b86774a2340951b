"""Forward and backward passes of a `PolicyNetwork` on a CPU, compiled as a whole.

A few functions on arrays go through a batch part by part, so that activations stay in a core's cache; the matrix
products are those of `kerf.agents.products`. torch's modules and autograd compute the same, to rounding, and take more
than twice as long at the sizes that agents have here. Nothing here holds Python's lock, so that several threads can
work at once.

A network is one or two *stacks* of layers: a trunk with the heads that read it, which count as one last layer.
`widths` `(S, L + 1)` int64 holds, for each stack, the observation's length, the widths of the hidden layers, and the
number of outputs. Parameters lie in one array `(P,)`: stack by stack, layer by layer, weights `(out, in)` and then
biases. The loss wants the outputs of all stacks transposed, `(K, n)`: logits, and below them the state values. They are
few, and what is computed from them runs along the rows.

All else lies in one array `work`, at places that `_places` gives. There every row of a matrix begins at a multiple of
`LANES` numbers, and so is *padded*: what products make of the padding is never read. Parameters are copied there once
as they are, to go down through the layers, and once with the weights transposed, to go up; both are padded.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
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
from kerf.agents.kernels import add_row_sums, loss_gradient, relu_backward, relu_forward, tanh_backward, tanh_forward
from kerf.agents.latent import attack_in_place
from kerf.agents.products import LANES, multiply
from kerf.lab.compiled import compiled

if TYPE_CHECKING:
    from kerf.agents.network import PolicyNetwork

MAX_ROWS = 512
"""Rows of a part."""


@compiled
def _padded(width):
    return (width + LANES - 1) // LANES * LANES


@compiled
def _num_parameters(widths):
    total = 0
    for layer in range(len(widths) - 1):
        total += (widths[layer] + 1) * widths[layer + 1]
    return total


@compiled
def _num_down(widths):
    """How many numbers a stack's parameters are, padded, its weights as they are: layer by layer, then biases."""
    total = 0
    for layer in range(len(widths) - 1):
        total += widths[layer + 1] * _padded(widths[layer]) + _padded(widths[layer + 1])
    return total


@compiled
def _num_up(widths):
    """How many numbers a stack's weights are, padded and transposed."""
    total = 0
    for layer in range(len(widths) - 1):
        total += widths[layer] * _padded(widths[layer + 1])
    return total


@compiled
def _num_hidden(widths):
    """How many numbers a row's hidden layers are, padded."""
    total = 0
    for layer in range(1, len(widths) - 1):
        total += _padded(widths[layer])
    return total


@compiled
def _places(widths):
    """Where in `work` things begin: parameters to go down and to go up, the gradient (padded as the former), zeros as
    many as a row can be long, the hidden layers of all stacks, outputs of a stack, observations, what a stack's hidden
    layers are pulled to, the loss's gradient at the outputs of all stacks; and where the last ends."""
    down, up, outputs, widest = 0, 0, 0, 0
    for stack in range(len(widths)):
        down += _num_down(widths[stack])
        up += _num_up(widths[stack])
        outputs += widths[stack, -1]
        for width in widths[stack]:
            widest = max(widest, _padded(width))
    hidden = _num_hidden(widths[0]) * MAX_ROWS
    at_up = down
    at_gradient = at_up + up
    at_zeros = at_gradient + down
    at_hidden = at_zeros + widest
    at_outputs = at_hidden + hidden * len(widths)
    at_seen = at_outputs + MAX_ROWS * _padded(outputs)
    at_pulls = at_seen + MAX_ROWS * _padded(widths[0, 0])
    at_loss = at_pulls + hidden
    return (
        0, at_up, at_gradient, at_zeros, at_hidden, at_outputs, at_seen, at_pulls, at_loss,
        at_loss + MAX_ROWS * 2 * outputs,
    )  # fmt: skip


@compiled
def _take_over(parameters, widths, work, down, up):
    """Copy `parameters` to where `down` and `up` say, for all stacks."""
    at = 0
    for stack in range(len(widths)):
        for layer in range(widths.shape[1] - 1):
            below, above = widths[stack, layer], widths[stack, layer + 1]
            padded_below, padded_above = _padded(below), _padded(above)
            weight = parameters[at : at + above * below].reshape(above, below)
            as_it_is = work[down : down + above * padded_below].reshape(above, padded_below)
            as_it_is[:, :below] = weight
            as_it_is[:, below:] = 0.0
            transposed = work[up : up + below * padded_above].reshape(below, padded_above)
            transposed[:, above:] = 0.0
            for j in range(above):
                for k in range(below):
                    transposed[k, j] = weight[j, k]
            at, down, up = at + above * below, down + above * padded_below, up + below * padded_above
            bias = work[down : down + padded_above]
            bias[:above] = parameters[at : at + above]
            bias[above:] = 0.0
            at, down = at + above, down + padded_above


@compiled
def _forward(observations, observations_at, row_length, n, widths, relu, work, down, up, hidden, outputs):
    """One stack, from `n` rows of the flat `observations` on; its results go to where `hidden` and `outputs` say."""
    last = len(widths) - 2
    before = hidden
    for layer in range(last + 1):
        below, above = widths[layer], widths[layer + 1]
        padded_below, padded_above = _padded(below), _padded(above)
        bias = down + above * padded_below
        into = outputs if layer == last else hidden
        if layer == 0:
            multiply(
                n, padded_above, below, observations, observations_at, row_length, 1, work, up, padded_above,
                work, bias, 0, work, into, padded_above,
            )  # fmt: skip
        else:
            multiply(
                n, padded_above, below, work, before, padded_below, 1, work, up, padded_above,
                work, bias, 0, work, into, padded_above,
            )  # fmt: skip
        if layer < last:
            values = work[hidden : hidden + n * padded_above]
            if relu:
                relu_forward(values)
            else:
                tanh_forward(values)
            before = hidden
            hidden += MAX_ROWS * padded_above
        down, up = bias + padded_above, up + below * padded_above


@compiled
def _backward(observations, n, widths, relu, work, down, gradient, zeros, hidden, pulls, loss):
    """One stack, after its `_forward`: adds to the gradient what the loss's, at the outputs, comes to.

    `observations` and `loss` say where the former and the latter `(K, n)` begin, the rest as in `_places`.
    """
    last = len(widths) - 2
    shift = _num_down(widths)
    down, gradient = down + shift, gradient + shift
    hidden += MAX_ROWS * _num_hidden(widths)
    pulls += MAX_ROWS * _num_hidden(widths)
    for layer in range(last, -1, -1):
        below, above = widths[layer], widths[layer + 1]
        padded_below, padded_above = _padded(below), _padded(above)
        down, gradient = down - above * padded_below - padded_above, gradient - above * padded_below - padded_above
        bias = gradient + above * padded_below
        if layer == last:
            pull, pull_row, pull_step = loss, 1, n
            add_row_sums(work[loss : loss + above * n].reshape(above, n), work[bias : bias + above])
        else:
            pull, pull_row, pull_step = pulls, padded_above, 1
            pulled = work[pulls : pulls + n * padded_above].reshape(n, padded_above)
            values = work[hidden : hidden + n * padded_above].reshape(n, padded_above)
            if relu:
                relu_backward(pulled, values, work[bias : bias + padded_above])
            else:
                tanh_backward(pulled, values, work[bias : bias + padded_above])
        features = observations
        if layer > 0:
            hidden -= MAX_ROWS * padded_below
            pulls -= MAX_ROWS * padded_below
            features = hidden
        multiply(
            above, padded_below, n, work, pull, pull_step, pull_row, work, features, padded_below,
            work, gradient, padded_below, work, gradient, padded_below,
        )  # fmt: skip
        if layer > 0:
            multiply(
                n, padded_below, above, work, pull, pull_row, pull_step, work, down, padded_below,
                work, zeros, 0, work, pulls, padded_below,
            )  # fmt: skip


@compiled
def _hand_over(work, at, widths, gradient):
    """Add the padded gradient that begins at `at` to `gradient` `(P,)`."""
    to = 0
    for stack in range(len(widths)):
        for layer in range(widths.shape[1] - 1):
            below, above = widths[stack, layer], widths[stack, layer + 1]
            for _ in range(above):
                gradient[to : to + below] += work[at : at + below]
                to, at = to + below, at + _padded(below)
            gradient[to : to + above] += work[at : at + above]
            to, at = to + above, at + _padded(above)


@compiled
def act(observations, parameters, widths, relu, work, logits, state_values):
    """`(n, D)` C-contiguous -> `logits` `(n, A)` and `state_values` `(n,)`; `work` as `Packed.work_space` gives it."""
    num_actions, width = logits.shape[1], observations.shape[1]
    flat = observations.reshape(-1)
    down, up, _, _, hidden, outputs, _, _, _, _ = _places(widths)
    _take_over(parameters, widths, work, down, up)
    for start in range(0, len(observations), MAX_ROWS):
        n = min(MAX_ROWS, len(observations) - start)
        first, at_down, at_up = 0, down, up
        for stack in range(len(widths)):
            here, padded = widths[stack, -1], _padded(widths[stack, -1])
            _forward(flat, start * width, width, n, widths[stack], relu, work, at_down, at_up, hidden, outputs)
            chances = min(here, num_actions - first)
            found = work[outputs : outputs + n * padded].reshape(n, padded)
            into = logits[start : start + n, first : first + chances]
            for i in range(n):
                for a in range(chances):
                    into[i, a] = found[i, a]
            if first + here > num_actions:
                state_values[start : start + n] = found[:, here - 1]
            first += here
            at_down, at_up = at_down + _num_down(widths[stack]), at_up + _num_up(widths[stack])


@compiled
def accumulate(
    observations, rows, actions, action_logp, advantage, value_target, expert, anchor_logp, coefficients, clip, share,
    parameters, gradient, widths, relu, work, sums, attacked, radius, num_steps, latent_sums,
):  # fmt: skip
    """Adds to `gradient` `(P,)` that of the loss on `rows` `(m,)` of a batch.

    The batch is `observations` `(N, D)` and the columns that `kerf.agents.kernels.loss_gradient` and, for a `radius` >
    0, `kerf.agents.latent.attack_in_place` speak of. All other arguments are theirs, or those of `act`.
    """
    num_stacks, width = len(widths), observations.shape[1]
    padded_width = _padded(width)
    num_outputs = 0
    for stack in range(num_stacks):
        num_outputs += widths[stack, -1]
    last, num_actions = widths[0, -2], num_outputs - 1
    head = _num_parameters(widths[0]) - (last + 1) * widths[0, -1]  # where the policy head's weights begin
    head_weight = parameters[head : head + num_actions * last].reshape(num_actions, last)
    head_gradient = gradient[head : head + num_actions * last].reshape(num_actions, last)
    most = min(len(rows), MAX_ROWS) if radius > 0 else 0
    found = np.empty(most, np.int64)
    delta = np.empty((most, last), np.float32)
    down, up, padded_gradient, zeros, hidden, outputs, seen, pulls, loss, _ = _places(widths)
    hidden_of_stack = MAX_ROWS * _num_hidden(widths[0])
    _take_over(parameters, widths, work, down, up)
    work[padded_gradient:hidden] = 0.0
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        n = len(part)
        pull = work[loss : loss + n * num_outputs].reshape(num_outputs, n)
        out = work[loss + n * num_outputs : loss + 2 * n * num_outputs].reshape(num_outputs, n)
        for i in range(n):
            row, begin = part[i], seen + i * padded_width
            into = work[begin : begin + width]
            for j in range(width):
                into[j] = observations[row, j]
        first, at_down, at_up = 0, down, up
        for stack in range(num_stacks):
            here, padded = widths[stack, -1], _padded(widths[stack, -1])
            kept = hidden + stack * hidden_of_stack
            _forward(work, seen, padded_width, n, widths[stack], relu, work, at_down, at_up, kept, outputs)
            found_here = work[outputs : outputs + n * padded].reshape(n, padded)
            into_here = out[first : first + here]
            for i in range(n):
                for k in range(here):
                    into_here[k, i] = found_here[i, k]
            first += here
            at_down, at_up = at_down + _num_down(widths[stack]), at_up + _num_up(widths[stack])
        num_found = 0
        if radius > 0:
            num_found = attack_in_place(
                out[:num_actions], part, actions, attacked, head_weight, radius, num_steps, found, delta, latent_sums
            )
        loss_gradient(
            out, pull, part, actions, action_logp, advantage, value_target, expert, anchor_logp, coefficients, clip,
            share, sums,
        )  # fmt: skip
        first, at_down, at_gradient = 0, down, padded_gradient
        for stack in range(num_stacks):
            kept = hidden + stack * hidden_of_stack
            _backward(seen, n, widths[stack], relu, work, at_down, at_gradient, zeros, kept, pulls, loss + first * n)
            first += widths[stack, -1]
            at_down, at_gradient = at_down + _num_down(widths[stack]), at_gradient + _num_down(widths[stack])
        if num_found > 0:  # the head saw the perturbed activations; below it nothing is different
            pulled = np.empty((num_actions, num_found), np.float32)
            for a in range(num_actions):
                for j in range(num_found):
                    pulled[a, j] = pull[a, found[j]]
            head_gradient += np.dot(pulled, delta[:num_found])
    _hand_over(work, padded_gradient, widths, gradient)


class Packed:
    """A network as these functions take it. It takes over the network's parameters whenever it is told to.

    Args:
        network: On the CPU; its parameters must be changed in place only.

    Attributes:
        parameters: `(P,)` float32.
        widths: See above.
        relu: Whether that is the nonlinearity; else it is tanh.
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
            self._owners += [head.weight for head in read] + [head.bias for head in read]
        self._sizes = [owner.numel() for owner in self._owners]
        self._sources = [owner.detach().view(-1) for owner in self._owners]
        self._flat = torch.empty(sum(self._sizes))
        self.parameters: NDArray[np.float32] = self._flat.numpy()
        self.refresh()

    def refresh(self) -> None:
        """Take over the network's present parameters."""
        torch.cat(self._sources, out=self._flat)

    def hand_out(self, gradient: torch.Tensor) -> None:
        """Make each parameter's `grad` a view of its part of `gradient` `(P,)`."""
        for owner, part in zip(self._owners, torch.split(gradient, self._sizes), strict=True):
            owner.grad = part.view(owner.shape)

    def stepping(self, optimizer: torch.optim.Adam, gradient: torch.Tensor) -> Callable[[], None]:
        """`kerf.agents.adam.stepping` on the network's parameters, as they were last taken over."""
        return stepping(optimizer, self._owners, self._flat, gradient)

    def work_space(self) -> NDArray[np.float32]:
        """What `act` and `accumulate` need as `work`; one for each thread."""
        numbers: NDArray[np.float32] = torch.zeros(_places(self.widths)[-1]).numpy()  # well aligned
        return numbers


@cache
def _one_blas_thread() -> Any:
    """From now on BLAS stays on the thread that calls it, in all of the process: products of this size are not worth
    splitting, and if two threads that multiply each split theirs, they wait for each other."""
    return ThreadpoolController().limit(limits=1, user_api="blas")
