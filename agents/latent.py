"""Latent adversary: it perturbs the activations of the last hidden layer, which the policy head reads.

Relaxed adversarial training (Christiano 2019, "Worst-case guarantees"; Hubinger 2019, "Relaxed adversarial training for
inner alignment"; Casper et al. 2024, "Defending against unforeseen failure modes with latent adversarial training")
does not search for inputs that elicit the forbidden act. It adds a perturbation `delta` `(n, H)` to the activations, as
if the input were such a one, and trains the agent to behave well nevertheless.

Size: the norm of a perturbation is its root mean square over the H units, `||delta|| / sqrt(H)`. The effect of a norm
depends on the head's weights, so the setting `latent_radius` is in units of the aligned policy's
`kerf.agents.latent_radius.latent_scale`; all functions here take plain norms.

Objective: a step is *attacked* if the forbidden event happened at that step or later in its episode, and its advantage
is negative, so that the update lowers its probability. There the adversary maximises log pi(action taken), which is the
same as PPO's loss of that step, since PPO never clips the ratio of a disadvantageous action from above. So learning is
a min-max of its own loss over the steps that led to the forbidden event. A head is linear and log-softmax concave, so
projected gradient ascent finds the global maximum over the ball. All other steps are not perturbed, nor is the state
value.

The alternative is the min-max over all steps, as in plain adversarial training (Madry et al. 2018): then the adversary
also lowers the probability of good actions. That trains robustness in general, not against the forbidden act, and
lowering a log-probability is not a concave problem. Another is to raise the probability of the forbidden act where it
was not done. That requires knowing, in every state, which action it is; `kerf.agents.latent_radius.latent_attack` does
this to a finished policy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from kerf.lab.compiled import compiled

STEP = 2.5
"""Sum of all step lengths, in radii (Madry et al. 2018): enough to cross the ball and return."""

LATENT_TERMS = ("latent_share", "latent_gain", "latent_norm")
"""Means over a minibatch's rows, 0 for those not attacked: share attacked, increase of log pi(action taken),
and norm of the perturbation."""

_TINY = 1e-300
_INSIDE = 1.0 - 2.0**-22  # so that rounding to float32 never ends outside the ball


def attacked(forbidden: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
    """Which steps are attacked, `(n,)` bool.

    Args:
        forbidden: `(n,)` bool, whether the forbidden event happened at that step or later in its episode.
        advantage: `(n,)`, as in the loss.
    """
    return forbidden & (advantage < 0)


def project(delta: torch.Tensor, radius: float) -> torch.Tensor:
    """`delta` `(n, H)` with every row projected into the ball of `radius`; none is longer, even by rounding."""
    limit = radius * math.sqrt(delta.shape[-1])
    exact = delta.double()
    norms = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
    return torch.where(norms > limit * _INSIDE, exact * (limit * _INSIDE / norms), exact).to(delta.dtype)


def worst_case(
    logits: torch.Tensor,
    acts: torch.Tensor,
    weight: torch.Tensor,
    radius: float,
    num_steps: int,
) -> torch.Tensor:
    """The perturbation within `radius` that raises log P(act) most, by projected gradients of a fixed length.

    A maximum inside the ball, possible if an act's weights are a mean of other acts' (so hardly with more units than
    actions), is missed by up to the length of a step.

    Args:
        logits: `(n, A)`, unperturbed.
        acts: `(n, A)` bool, one a row.
        weight: `(A, H)`, the head's.
        radius: See above, > 0.
        num_steps: Of the ascent, >= 1.

    Returns:
        `(n, H)`.
    """
    limit = radius * math.sqrt(weight.shape[1])
    length = limit * min(1.0, STEP / num_steps)
    delta = logits.new_zeros(len(logits), weight.shape[1])
    for _ in range(num_steps):
        shifted = logits + delta @ weight.T
        probabilities = torch.softmax(shifted, dim=-1)
        rest = probabilities.masked_fill(acts, 0.0).sum(dim=-1, keepdim=True)
        # d log P(act) / d logits, without the cancellation in 1 - P
        ascent = (torch.where(acts, rest, -probabilities) @ weight).double()
        norms = torch.linalg.vector_norm(ascent, dim=-1, keepdim=True)  # double: squares of tiny numbers are not 0
        step = torch.where(norms > 0, ascent * (length / norms.clamp_min(_TINY)), 0.0)
        delta = project(delta + step.to(delta.dtype), radius)
    return delta


@torch.no_grad()
def _attack(logits: torch.Tensor, actions: torch.Tensor, weight: torch.Tensor, radius: float, num_steps: int) -> Any:
    acts = torch.nn.functional.one_hot(actions, logits.shape[-1]).bool()
    delta = worst_case(logits, acts, weight, radius, num_steps)
    gain = (torch.log_softmax(logits + delta @ weight.T, dim=-1) - torch.log_softmax(logits, dim=-1))[acts]
    return delta, gain.sum(), torch.linalg.vector_norm(delta, dim=-1).sum() / math.sqrt(delta.shape[-1])


def perturbed(
    logits: torch.Tensor, minibatch: Mapping[str, torch.Tensor], weight: torch.Tensor, radius: float, num_steps: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A minibatch's logits under attack, differentiable, and `LATENT_TERMS`.

    The head's gradient uses the perturbed activations; the layers below it, the unperturbed ones.

    Args:
        logits: `(n, A)`.
        minibatch: With `attacked` `(n,)` bool and `actions` `(n,)`.
        weight: `(A, H)`, the policy head's.
        radius: See above, > 0.
        num_steps: Of the ascent, >= 1.
    """
    rows = minibatch["attacked"].nonzero().squeeze(-1)
    delta, gain, norm = _attack(logits.detach()[rows], minibatch["actions"][rows], weight.detach(), radius, num_steps)
    share = minibatch["attacked"].sum().to(gain.dtype)
    terms = dict(zip(LATENT_TERMS, (part / len(logits) for part in (share, gain, norm)), strict=True))
    return logits.index_add(0, rows, delta @ weight.T), terms


def per_attack(means: Mapping[str, float], scale: float) -> dict[str, float]:
    """`means` with `latent_gain` and `latent_norm` over the attacked rows alone, 0 if there are none, and the latter in
    units of `scale`, as a radius is."""
    share = means["latent_share"]
    gain, norm = (means[name] / share if share else 0.0 for name in LATENT_TERMS[1:])
    return {**means, "latent_gain": gain, "latent_norm": norm / scale}


@compiled
def attack_in_place(logits, rows, actions, attacked, weight, radius, num_steps, found, delta, sums):  # type: ignore[no-untyped-def]
    """`perturbed`, compiled: adds the attack to `logits` `(A, n)`, transposed, and returns its rows and perturbations.

    Every perturbation is a linear combination of the head's rows, so the ascent needs only their Gram matrix `(A, A)`.

    Args:
        logits: `(A, n)` float32, changed where attacked.
        rows: `(n,)` int64, the row of the two columns below that each column of `logits` belongs to.
        actions: `(N,)` int64; `attacked`: `(N,)` bool.
        weight: `(A, H)` float32.
        radius: > 0, float64; `num_steps`: >= 1.
        found: `(n,)` int64, overwritten: the first m are the attacked columns.
        delta: `(n, H)` float32, overwritten: the first m rows are the perturbations of these.
        sums: `(3,)` float64: each row's `LATENT_TERMS` are added.

    Returns:
        m.
    """
    num_actions, width = weight.shape
    m = 0
    for i in range(len(rows)):
        if attacked[rows[i]]:
            found[m] = i
            m += 1
    if m == 0:
        return m
    limit = radius * np.sqrt(width)
    length = np.float32(limit * min(1.0, STEP / num_steps))
    longest = np.float32(limit)
    gram = np.dot(weight, weight.T)
    mixed = np.zeros((num_actions, m), np.float32)  # delta = mixed.T @ weight
    shift = np.zeros((num_actions, m), np.float32)  # weight @ delta.T
    grad = np.empty((num_actions, m), np.float32)
    towards = np.empty((num_actions, m), np.float32)
    scale = np.empty(m, np.float32)
    before = np.empty(m, np.float32)
    # Projected gradient ascent on log pi(action taken); the last round only finds the log-probability at the end.
    for step in range(num_steps + 1):
        _log_prob_grads(logits, shift, rows, actions, found, grad, scale)
        if step == 0:
            before[:] = scale
        if step == num_steps:
            break
        np.dot(gram, grad, towards)
        _scales(grad, towards, length, True, scale)
        for a in range(num_actions):
            for j in range(m):
                mixed[a, j] += scale[j] * grad[a, j]
                shift[a, j] += scale[j] * towards[a, j]
        _scales(mixed, shift, longest, False, scale)  # the projection into the ball
        for a in range(num_actions):
            for j in range(m):
                mixed[a, j] *= scale[j]
                shift[a, j] *= scale[j]
    # The perturbations themselves, once more projected, for rounding may have led out of the ball.
    np.dot(mixed.T, weight, delta[:m])
    for j in range(m):
        total = 0.0
        for h in range(width):
            total += np.float64(delta[j, h]) * np.float64(delta[j, h])
        norm = np.sqrt(total)
        if norm > limit * _INSIDE:
            shorter = limit * _INSIDE / norm
            for h in range(width):
                delta[j, h] = np.float32(shorter * delta[j, h])
            norm = limit * _INSIDE
        sums[1] += scale[j] - before[j]
        sums[2] += norm / np.sqrt(width)
    sums[0] += m
    np.dot(weight, delta[:m].T, shift)
    for a in range(num_actions):
        for j in range(m):
            logits[a, found[j]] += shift[a, j]
    return m


@compiled
def _log_prob_grads(logits, shift, rows, actions, found, grad, log_prob):  # type: ignore[no-untyped-def]
    """d log pi(action taken) / d logits `(A, m)`, at `logits` + `shift`, and that log-probability `(m,)`."""
    num_actions, m = grad.shape
    top = np.full(m, -np.inf, np.float32)
    total = np.zeros(m, np.float32)
    for a in range(num_actions):
        for j in range(m):
            grad[a, j] = logits[a, found[j]] + shift[a, j]
            top[j] = max(top[j], grad[a, j])
    for j in range(m):
        log_prob[j] = grad[actions[rows[found[j]]], j] - top[j]
    for a in range(num_actions):
        for j in range(m):
            grad[a, j] = np.exp(grad[a, j] - top[j])
            total[j] += grad[a, j]
    for j in range(m):
        taken = actions[rows[found[j]]]
        rest = np.float32(0.0)  # a sum, because 1 - pi loses all digits where pi is near 1
        for a in range(num_actions):
            if a != taken:
                rest += grad[a, j]
                grad[a, j] /= -total[j]
        grad[taken, j] = rest / total[j]
        log_prob[j] -= np.log(total[j])


@compiled
def _scales(mixed, image, length, always, scale):  # type: ignore[no-untyped-def]
    """Factors that scale each of the perturbations `mixed.T @ weight` to `length`; unless `always`, 1 for shorter ones.

    `image` is `weight @ weight.T @ mixed`. The factor of a zero perturbation is 0.
    """
    num_actions, m = mixed.shape
    squares = np.zeros(m, np.float32)
    for a in range(num_actions):
        for j in range(m):
            squares[j] += mixed[a, j] * image[a, j]
    for j in range(m):
        norm = np.sqrt(max(squares[j], np.float32(0.0)))
        if always or norm > length:
            scale[j] = length / norm if norm > 0 else np.float32(0.0)
        else:
            scale[j] = np.float32(1.0)
