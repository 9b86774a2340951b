"""Forward and backward passes of a `PolicyNetwork` on a CPU, compiled as a whole.

A few functions on arrays go through a batch part by part, so that activations stay in a core's cache; the matrix
products are BLAS's. torch's modules and autograd compute the same, to rounding, and half as fast at the sizes that
agents have here. Nothing here holds Python's lock, so that several threads can work at once.

A network is one or two *stacks* of layers: a trunk with the heads that read it, which count as one last layer.
`widths` `(S, L + 1)` int64 holds, for each stack, the observation's length, the widths of the hidden layers, and the
number of outputs. Parameters lie in one array `(P,)`: stack by stack, layer by layer, weights `(out, in)` and then
biases. Outputs `(K, n)` are those of all stacks: logits, and below them the state values. They are transposed because
they are few: the products are faster that way round, and what is computed from them runs along the rows.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  # numba's products call it; loaded here, so that its threads can be limited
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import nn

from kerf.agents.kernels import add_row_sums, loss_gradient, relu_backward, relu_forward, tanh_backward, tanh_forward
from kerf.agents.latent import attack_in_place
from kerf.lab.compiled import compiled

if TYPE_CHECKING:
    from kerf.agents.network import PolicyNetwork

MAX_ROWS = 1024
"""Rows of a part."""


@compiled
def _num_parameters(widths):
    total = 0
    for layer in range(len(widths) - 1):
        total += (widths[layer] + 1) * widths[layer + 1]
    return total


@compiled
def _forward(observations, parameters, widths, relu, hidden, out):
    """One stack: `(n, D)` -> `out` `(K, n)`; keeps the hidden layers' results in `hidden`, one after another."""
    n, last = len(observations), len(widths) - 2
    at, kept, features = 0, 0, observations
    for layer in range(last):
        below, above = widths[layer], widths[layer + 1]
        weight = parameters[at : at + above * below].reshape(above, below)
        bias = parameters[at + above * below : at + above * below + above]
        values = hidden[kept : kept + n * above].reshape(n, above)
        np.dot(features, weight.T, values)
        if relu:
            relu_forward(values, bias)
        else:
            tanh_forward(values, bias)
        at, kept, features = at + above * (below + 1), kept + n * above, values
    below, above = widths[last], widths[last + 1]
    np.dot(parameters[at : at + above * below].reshape(above, below), features.T, out)
    for k in range(above):
        bias_k = parameters[at + above * below + k]
        for i in range(n):
            out[k, i] += bias_k


@compiled
def _add(to, what):
    numbers = what.reshape(-1)
    for i in range(len(to)):
        to[i] += numbers[i]


@compiled
def _backward(observations, parameters, gradient, widths, relu, hidden, pull, pulls, product):
    """One stack, after its `_forward`: adds to `gradient` what `pull` `(K, n)`, with respect to its outputs, comes to.

    `pulls` has the size of `hidden`, and `product` that of the largest layer's weights; both are overwritten.
    """
    n, last = len(observations), len(widths) - 2
    at, kept = _num_parameters(widths), 0
    for layer in range(1, last + 1):
        kept += n * widths[layer]
    for layer in range(last, -1, -1):
        below, above = widths[layer], widths[layer + 1]
        at -= above * (below + 1)
        weight_gradient = gradient[at : at + above * below]
        bias_gradient = gradient[at + above * below : at + above * (below + 1)]
        product_here = product[: above * below].reshape(above, below)
        first = kept - n * below if layer > 0 else 0
        features = hidden[first:kept].reshape(n, below) if layer > 0 else observations
        if layer == last:
            np.dot(pull, features, product_here)
            add_row_sums(pull, bias_gradient)
            if layer > 0:
                weight = parameters[at : at + above * below].reshape(above, below)
                np.dot(pull.T, weight, pulls[first:kept].reshape(n, below))
        else:
            values = hidden[kept : kept + n * above].reshape(n, above)
            pulled = pulls[kept : kept + n * above].reshape(n, above)
            if relu:
                relu_backward(pulled, values, bias_gradient)
            else:
                tanh_backward(pulled, values, bias_gradient)
            np.dot(pulled.T, features, product_here)
            if layer > 0:
                weight = parameters[at : at + above * below].reshape(above, below)
                np.dot(pulled, weight, pulls[first:kept].reshape(n, below))
        _add(weight_gradient, product_here)
        kept = first


@compiled
def _num_hidden(widths):
    total = 0
    for layer in range(1, len(widths) - 1):
        total += widths[layer]
    return total


@compiled
def act(observations, parameters, widths, relu, work, logits, state_values):
    """`(n, D)` -> `logits` `(n, A)` and `state_values` `(n,)`; `work` as `work_space` gives it."""
    num_actions = logits.shape[1]
    num_hidden = _num_hidden(widths[0])
    for start in range(0, len(observations), MAX_ROWS):
        part = observations[start : start + MAX_ROWS]
        n = len(part)
        hidden = work[: n * num_hidden]
        out = work[n * num_hidden : n * (num_hidden + num_actions + 1)].reshape(num_actions + 1, n)
        at, row = 0, 0
        for stack in range(len(widths)):
            outputs = widths[stack, -1]
            _forward(part, parameters[at:], widths[stack], relu, hidden, out[row : row + outputs])
            at, row = at + _num_parameters(widths[stack]), row + outputs
        for i in range(n):
            for a in range(num_actions):
                logits[start + i, a] = out[a, i]
            state_values[start + i] = out[num_actions, i]


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
    num_outputs = 0
    for stack in range(num_stacks):
        num_outputs += widths[stack, -1]
    num_hidden = _num_hidden(widths[0])
    last, num_actions = widths[0, -2], num_outputs - 1
    head = _num_parameters(widths[0]) - (last + 1) * widths[0, -1]  # where the policy head's weights begin
    head_weight = parameters[head : head + num_actions * last].reshape(num_actions, last)
    head_gradient = gradient[head : head + num_actions * last].reshape(num_actions, last)
    most = min(len(rows), MAX_ROWS) if radius > 0 else 0
    found = np.empty(most, np.int64)
    delta = np.empty((most, last), np.float32)
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        n = len(part)
        seen = work[: n * width].reshape(n, width)
        at = n * width
        hidden = work[at : at + n * num_hidden * num_stacks]
        at += n * num_hidden * num_stacks
        pulls = work[at : at + n * num_hidden]
        at += n * num_hidden
        out = work[at : at + n * num_outputs].reshape(num_outputs, n)
        at += n * num_outputs
        pull = work[at : at + n * num_outputs].reshape(num_outputs, n)
        product = work[at + n * num_outputs :]
        for i in range(n):
            row = part[i]
            for j in range(width):
                seen[i, j] = observations[row, j]
        at, row = 0, 0
        for stack in range(num_stacks):
            outputs = widths[stack, -1]
            here = hidden[stack * n * num_hidden : (stack + 1) * n * num_hidden]
            _forward(seen, parameters[at:], widths[stack], relu, here, out[row : row + outputs])
            at, row = at + _num_parameters(widths[stack]), row + outputs
        num_found = 0
        if radius > 0:
            num_found = attack_in_place(
                out[:num_actions], part, actions, attacked, head_weight, radius, num_steps, found, delta, latent_sums
            )
        loss_gradient(
            out, pull, part, actions, action_logp, advantage, value_target, expert, anchor_logp, coefficients, clip,
            share, sums,
        )  # fmt: skip
        at, row = 0, 0
        for stack in range(num_stacks):
            outputs = widths[stack, -1]
            here = hidden[stack * n * num_hidden : (stack + 1) * n * num_hidden]
            _backward(
                seen,
                parameters[at:],
                gradient[at:],
                widths[stack],
                relu,
                here,
                pull[row : row + outputs],
                pulls,
                product,
            )
            at, row = at + _num_parameters(widths[stack]), row + outputs
        if num_found > 0:  # the head saw the perturbed activations; below it nothing is different
            pulled = np.empty((num_actions, num_found), np.float32)
            for a in range(num_actions):
                for j in range(num_found):
                    pulled[a, j] = pull[a, found[j]]
            head_gradient += np.dot(pulled, delta[:num_found])


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

    def work_space(self, learning: bool = False) -> NDArray[np.float32]:
        """What `act`, or with `learning` `accumulate`, needs as `work`; one for each thread."""
        num_outputs, num_hidden = int(self.widths[:, -1].sum()), int(self.widths[0, 1:-1].sum())
        per_row = num_hidden + num_outputs
        if learning:
            per_row += int(self.widths[0, 0]) + num_hidden * len(self.widths) + num_outputs
        largest = int((self.widths[:, :-1] * self.widths[:, 1:]).max())
        numbers: NDArray[np.float32] = torch.empty(per_row * MAX_ROWS + learning * largest).numpy()  # well aligned
        return numbers


@cache
def _one_blas_thread() -> Any:
    """From now on BLAS stays on the thread that calls it, in all of the process: products of this size are not worth
    splitting, and if two threads that multiply each split theirs, they wait for each other."""
    return ThreadpoolController().limit(limits=1, user_api="blas")
