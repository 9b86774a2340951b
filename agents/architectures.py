"""Choice of an agent's network and policy by its settings: with a memory or without."""

from __future__ import annotations

import torch

from kerf.agents.network import PolicyNetwork, TorchPolicy, Weights
from kerf.agents.recurrent import RecurrentNetwork, RecurrentPolicy
from kerf.agents.settings import NetworkSettings
from kerf.lab.errors import KerfError

AnyNetworkPolicy = TorchPolicy | RecurrentPolicy
"""A policy that plays with a network of either kind."""


def make_network(
    num_observations: int, num_actions: int, settings: NetworkSettings, generator: torch.Generator | None
) -> PolicyNetwork | RecurrentNetwork:
    """The network of `settings`; arguments as those of `kerf.agents.network.Network`."""
    made = RecurrentNetwork if settings.memory else PolicyNetwork
    return made(num_observations, num_actions, settings, generator)


def make_policy(
    num_observations: int, num_actions: int, settings: NetworkSettings, weights: Weights
) -> AnyNetworkPolicy:
    """A policy of `settings` with a copy of `weights`. Raises `KerfError` if they do not fit."""
    made = RecurrentPolicy if settings.memory else TorchPolicy
    return made.from_weights(num_observations, num_actions, settings, weights)


def without_memory(policy: object, what: str) -> TorchPolicy:
    """`policy`, if it is that of a network without a memory; else a `KerfError` says that `what` needs one."""
    if not isinstance(policy, TorchPolicy):
        raise KerfError(
            f"{what} needs a network without a memory, and this agent is of another kind ({type(policy).__name__}); "
            "set network.memory=0, or leave it out"
        )
    return policy
