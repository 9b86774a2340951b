"""Effective steps: how far the penalty, the utility and the critic each move the weights in one minibatch.

Adam and the clip of the gradient's norm take the size of a gradient away, so the size of a penalty in the reward does
not say how large a part it has in training. Generalised advantage estimation is linear in the reward at fixed state
values, and so is PPO's surrogate in the advantage where no ratio is clipped, as in the first minibatch of an iteration,
whose policy is the one that acted. There the gradient is a sum of

- `penalty`: the surrogate with the penalty's advantages alone,
- `utility`: the surrogate with those of the design reward (shaping included),
- `critic`: the state value's loss, whose targets hold the penalty, too,
- and the entropy, imitation and anchor terms, if they are on.

A part's effective step is `lr * scale * part / (sqrt(v) + epsilon)`, with the scale that the clip gave the whole
gradient and Adam's corrected second moment v as of this minibatch's step, both taken as fixed. Adam makes it not at
once but over the steps that follow, as its running mean forgets. Where a latent adversary acts, ratios of the rows that
it attacks can be clipped, and each part is clipped by itself. Plain gradient descent has no second moment: a part's
step is `lr * scale * part`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.agents.settings import TrainingSettings

PENALTY, UTILITY, CRITIC, ALL = "penalty", "utility", "critic", "all"
FIGURES = tuple(f"step_{part}" for part in (PENALTY, UTILITY, CRITIC, ALL))
"""Names under which the norms of effective steps are reported."""

PENALTY_ADVANTAGE = "penalty_advantage"
"""The column `(N,)` of the penalty's advantages, scaled as `advantage` is, which holds their negative."""

EVERY = 5
"""Iterations from one measurement to the next, the first one included: some 2% of training at 9 minibatches."""

NORM_EPSILON = 1e-6
"""What the clip adds to a norm before it divides by it, as torch's does."""

OTHER_TERMS = ("entropy_coeff", "imitation_coeff", "anchor_coeff")
"""Settings that weigh the terms of the loss that are in no part."""

Gradients = Mapping[torch.nn.Parameter, torch.Tensor]
"""A gradient by parameter."""


def part_settings(settings: TrainingSettings) -> dict[str, TrainingSettings]:
    """For each part the settings that leave nothing but it in the loss."""
    off: dict[str, float] = dict.fromkeys(OTHER_TERMS, 0.0)
    surrogate = settings.model_copy(update={**off, "value_coeff": 0.0})
    return {PENALTY: surrogate, UTILITY: surrogate, CRITIC: settings.model_copy(update={**off, "policy_coeff": 0.0})}


def part_columns(columns: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """`columns`, with `PENALTY_ADVANTAGE` among them, whose `advantage` is that of the part."""
    of_penalty = columns[PENALTY_ADVANTAGE]
    advantage = -of_penalty if part == PENALTY else columns["advantage"] + of_penalty
    return {**columns, "advantage": advantage}


def effective_steps(
    optimizer: torch.optim.Optimizer, clipped: Gradients, scale: float, parts: Mapping[str, Gradients]
) -> dict[str, NDArray[np.float64]]:
    """The effective step of each part and of the whole gradient (`all`), `(P,)` each, towards lower loss.

    Args:
        optimizer: After its step with `clipped`; its one group's parameters give the order.
        clipped: The whole gradient as the step was made with it.
        scale: What the clip multiplied it by.
        parts: Before the clip. Without `utility`, that is what the others leave of the whole: there are no other terms.
    """
    (group,) = optimizer.param_groups
    owners = group["params"]
    rate = -float(group["lr"]) / _divisor(optimizer)
    whole = _flat([clipped[owner] for owner in owners])
    steps = {part: rate * scale * _flat([found[owner] for owner in owners]) for part, found in parts.items()}
    steps[ALL] = rate * whole
    if UTILITY not in steps:
        steps[UTILITY] = steps[ALL] - steps[PENALTY] - steps[CRITIC]
    return steps


def step_norms(steps: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """The Euclidean norm of each, by the names of `FIGURES`."""
    return {f"step_{part}": float(np.sqrt(np.square(step).sum())) for part, step in steps.items()}


def not_measured() -> dict[str, float]:
    """What is reported where nothing was measured."""
    return dict.fromkeys(FIGURES, math.nan)


def clip_scale(norm: float, longest: float) -> float:
    """What a gradient of that norm is multiplied by, so that it is no longer than `longest`."""
    return min(1.0, longest / (norm + NORM_EPSILON))


def _divisor(optimizer: torch.optim.Optimizer) -> NDArray[np.float64] | float:
    """What the optimiser divides its rate by: `sqrt(v) + epsilon` of Adam, `(P,)`, and 1 of plain gradient descent."""
    (group,) = optimizer.param_groups
    if "betas" not in group:
        return 1.0
    _, beta2 = group["betas"]
    states = [optimizer.state[owner] for owner in group["params"]]
    second = _flat([state["exp_avg_sq"] / (1.0 - beta2 ** float(state["step"])) for state in states])
    divisor: NDArray[np.float64] = np.sqrt(second) + group["eps"]
    return divisor


def _flat(tensors: list[torch.Tensor]) -> NDArray[np.float64]:
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    return flat.cpu().numpy().astype(np.float64)
