"""Heads refitted in closed form on a frozen trunk: what of an old behaviour can still be read from its features.

The head is the ridge regression of a teacher's logits on the trunk's features (Alain and Bengio 2016 probe layers in
the same way). It is compared with the same regression on a trunk that never had the behaviour and on a random one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.lab.errors import KerfError

RIDGE = 1e-3
"""Weight of the squared norm of the head's weights, per state."""

LOWEST_LOG_PROB = -10.0
"""Teachers' log-probabilities are cut here, so that acts which it never takes do not dominate the fit."""


def features(policy: TorchPolicy, observations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outputs `(n, H)` of the policy's trunk for `observations` `(n, D)`.

    Raises:
        KerfError: if it has no hidden layer.
    """
    if not policy.network.settings.hidden:
        raise KerfError("a linear network has no trunk whose features could be read")
    with torch.no_grad():
        found = policy.network.policy_trunk(torch.from_numpy(np.ascontiguousarray(observations)))
    return np.asarray(found.numpy(), np.float64)


def refitted(policy: TorchPolicy, observations: NDArray[np.float32], logits: NDArray[np.float32]) -> TorchPolicy:
    """A copy of `policy` whose policy head is fitted to a teacher's `logits` `(n, A)` at `observations` `(n, D)`."""
    inputs = features(policy, observations)
    shifted = np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    targets = np.maximum(log_probs, LOWEST_LOG_PROB)
    center, level = inputs.mean(axis=0), targets.mean(axis=0)
    inputs, targets = inputs - center, targets - level
    gram = inputs.T @ inputs / len(inputs) + RIDGE * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ targets / len(inputs))
    changed = policy.weights()
    changed["policy_head.weight"] = np.ascontiguousarray(weights.T, np.float32)
    changed["policy_head.bias"] = (level - center @ weights).astype(np.float32)
    network = policy.network
    return TorchPolicy.from_weights(network.num_observations, network.num_actions, network.settings, changed)


def random_trunk(policy: TorchPolicy, seed: int) -> TorchPolicy:
    """A policy like `policy` with newly drawn initial weights."""
    network = policy.network
    generator = torch.Generator().manual_seed(seed)
    fresh = PolicyNetwork(network.num_observations, network.num_actions, network.settings, generator)
    return TorchPolicy(fresh.requires_grad_(False).eval())
