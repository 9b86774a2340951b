"""Compiled activations, log-probabilities and loss: all of acting and learning that is no matrix product.

All of it works in place on C-contiguous float32 arrays. Sums that are reported are float64.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import numpy as np

from kerf.lab.compiled import compiled, fused
from kerf.lab.exponential import exp, log

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_SATURATED = np.float32(7.90531110763549805)
# A minimax rational approximation of tanh on [-7.9, 7.9], x P(x^2) / Q(x^2), with the coefficients of the Eigen library
# (Eigen/src/Core/MathFunctionsImpl.h), which JAX and TensorFlow use on CPUs. Relative error < 3e-7, and it is computed
# for eight or sixteen numbers at a time, where a library's tanh is called for each.
_P0, _P1, _P2, _P3, _P4, _P5, _P6 = (
    np.float32(c)
    for c in (
        -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
        6.37261928875436e-04, 4.89352455891786e-03,
    )
)  # fmt: skip
_Q0, _Q1, _Q2, _Q3 = (
    np.float32(c) for c in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)


@fused
def tanh_forward(values):
    """`values` `(n,)` become their tanh. NaN stays NaN."""
    for i in range(len(values)):
        c = min(max(values[i], -_SATURATED), _SATURATED)
        s = c * c
        p = s * _P0 + _P1
        p = s * p + _P2
        p = s * p + _P3
        p = s * p + _P4
        p = s * p + _P5
        p = s * p + _P6
        q = s * _Q0 + _Q1
        q = s * q + _Q2
        q = s * q + _Q3
        values[i] = c * p / q


@fused
def tanh_backward(gradient, hidden, bias_gradient):
    """`gradient` `(n, H)` with respect to the results `hidden` of tanh becomes that with respect to its arguments.

    Its sum over the rows is added to `bias_gradient` `(H,)`.
    """
    n, width = gradient.shape
    for i in range(n):
        row, value = gradient[i], hidden[i]
        for j in range(width):
            g = row[j] * (_ONE - value[j] * value[j])
            row[j] = g
            bias_gradient[j] += g


@compiled
def relu_forward(values):
    """`values` `(n,)` become max(themselves, 0). NaN stays NaN."""
    for i in range(len(values)):
        values[i] = _ZERO if values[i] < _ZERO else values[i]


@compiled
def relu_backward(gradient, hidden, bias_gradient):
    """As `tanh_backward`, for `relu_forward`."""
    n, width = gradient.shape
    for i in range(n):
        row, value = gradient[i], hidden[i]
        for j in range(width):
            g = row[j] if value[j] > _ZERO else _ZERO
            row[j] = g
            bias_gradient[j] += g


@compiled
def log_probs(logits, actions, out):
    """Log-probability of each action under softmax(`logits`): `(n, A)`, `(n,)` -> `out` `(n,)`."""
    n, num_actions = logits.shape
    together = 128
    shifted = np.empty((num_actions, together), np.float32)
    top, total = np.empty(together, np.float32), np.empty(together, np.float32)
    for start in range(0, n, together):
        part = logits[start : start + together]
        m = len(part)
        top[:] = -np.inf
        total[:] = 0.0
        for a in range(num_actions):
            for i in range(m):
                shifted[a, i] = part[i, a]
                top[i] = max(top[i], shifted[a, i])
        for a in range(num_actions):
            for i in range(m):
                shifted[a, i] -= top[i]
                total[i] += exp(shifted[a, i])
        for i in range(m):
            total[i] = log(total[i])
        for i in range(m):
            out[start + i] = shifted[actions[start + i], i] - total[i]


TERMS = ("entropy", "value_loss", "kl", "policy_loss", "clip_fraction", "imitation_loss", "anchor_kl")
"""What `loss_gradient` sums up, in this order."""
_ENTROPY, _VALUE, _KL, _POLICY, _CLIPPED, _IMITATION, _ANCHOR = range(len(TERMS))


@compiled
def _softmax(logits, log_p, p, neg_entropy):
    """Softmax of `logits` `(A, n)` over the actions into `p`, its logarithm into `log_p`; minus its entropy is added to
    `neg_entropy` `(n,)`.

    Inner loops run along the n rows, which are adjacent in memory, so that they are vectorised.
    """
    num_actions, n = logits.shape
    top = logits[0].copy()
    for a in range(1, num_actions):
        for i in range(n):
            top[i] = max(top[i], logits[a, i])
    total = np.zeros(n, np.float32)
    for a in range(num_actions):
        for i in range(n):
            shifted = logits[a, i] - top[i]
            exponential = exp(shifted)
            log_p[a, i] = shifted
            p[a, i] = exponential
            total[i] += exponential
    log_total, inverse_total = np.empty(n, np.float32), np.empty(n, np.float32)
    for i in range(n):
        log_total[i] = log(total[i])
        inverse_total[i] = _ONE / total[i]
    for a in range(num_actions):
        for i in range(n):
            log_p[a, i] -= log_total[i]
            p[a, i] *= inverse_total[i]
            neg_entropy[i] += p[a, i] * log_p[a, i]


@compiled
def loss_gradient(
    outputs, gradient, rows, actions, action_logp, advantage, value_target, expert, anchor_logp, coefficients, clip,
    share, sums,
):  # fmt: skip
    """The gradient of the learner's loss (`kerf.agents.gradient`) with respect to the network's outputs.

    Args:
        outputs: `(A + 1, n)`: logits, then the state value.
        gradient: `(A + 1, n)`, overwritten.
        rows: `(n,)` int64, the row of the columns below that each column of `outputs` belongs to.
        actions: `(N,)` int64; `action_logp`, `advantage`, `value_target`: `(N,)` float32.
        expert: `(N,)` int64, or `(0,)` without an imitation loss.
        anchor_logp: `(N, A)`, or `(0, A)` without an anchor.
        coefficients: Five float32: of the policy, state value, entropy, imitation and anchor terms.
        clip: PPO's, float32.
        share: 1 over the rows of the whole minibatch, of which these may be a part, float32.
        sums: `(len(TERMS),)` float64: each row's terms are added.
    """
    num_actions, n = outputs.shape[0] - 1, outputs.shape[1]
    policy, value, entropy_bonus, imitation, anchor = coefficients
    log_p, p = np.empty((num_actions, n), np.float32), np.empty((num_actions, n), np.float32)
    neg_entropy = np.zeros(n, np.float32)
    _softmax(outputs[:num_actions], log_p, p, neg_entropy)

    # PPO's ratio pi / pi_old of the actions taken; the state value's error; the surrogate and its clip.
    log_ratio, ratio = np.empty(n, np.float32), np.empty(n, np.float32)
    for i in range(n):
        log_ratio[i] = log_p[actions[rows[i]], i] - action_logp[rows[i]]
    for i in range(n):
        ratio[i] = exp(log_ratio[i])
    log_p_grad = np.zeros(n, np.float32)  # d loss / d log-probability of the action taken
    for i in range(n):
        row = rows[i]
        sums[_ENTROPY] -= neg_entropy[i]
        error = outputs[num_actions, i] - value_target[row]
        sums[_VALUE] += error * error
        gradient[num_actions, i] = (value + value) * error * share
        sums[_KL] += ratio[i] - _ONE - log_ratio[i]
        if policy > 0:
            adv = advantage[row]
            clipped = min(max(ratio[i], _ONE - clip), _ONE + clip)
            sums[_POLICY] -= min(adv * ratio[i], adv * clipped)
            sums[_CLIPPED] += ratio[i] != clipped
            if not adv * clipped < adv * ratio[i]:  # there the clip takes the gradient away
                log_p_grad[i] = -policy * adv * ratio[i]
    # d log p(b) / d logit(a) = [a = b] - p(a): so every term's gradient at a logit is that action's probability times
    # something, plus what an action that the term singles out (taken, the expert's) gets besides.
    for a in range(num_actions):
        for i in range(n):
            gradient[a, i] = (
                share * p[a, i] * (imitation - log_p_grad[i] + entropy_bonus * (log_p[a, i] - neg_entropy[i]))
            )
    for i in range(n):
        gradient[actions[rows[i]], i] += share * log_p_grad[i]
    if imitation > 0:
        for i in range(n):
            wanted = expert[rows[i]]
            sums[_IMITATION] -= log_p[wanted, i]
            gradient[wanted, i] -= share * imitation
    if anchor > 0:
        for i in range(n):
            wanted_logp = anchor_logp[rows[i]]
            divergence = np.float32(0.0)
            for a in range(num_actions):
                divergence += p[a, i] * (log_p[a, i] - wanted_logp[a])
            sums[_ANCHOR] += divergence
            for a in range(num_actions):
                gradient[a, i] += share * anchor * p[a, i] * (log_p[a, i] - wanted_logp[a] - divergence)


@compiled
def add_row_sums(matrix, sums):
    """Adds the sum over the columns of `matrix` `(K, n)` to `sums` `(K,)`."""
    num_rows, n = matrix.shape
    lanes = 16  # as many sums, of every sixteenth column, can be formed at once
    parts = np.empty(lanes, np.float32)
    for k in range(num_rows):
        parts[:] = 0.0
        for start in range(0, n - n % lanes, lanes):
            for lane in range(lanes):
                parts[lane] += matrix[k, start + lane]
        total = 0.0
        for lane in range(lanes):
            total += parts[lane]
        for i in range(n - n % lanes, n):
            total += matrix[k, i]
        sums[k] += total
