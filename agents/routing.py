"""Gradient routing: the penalty's gradient confined to some units of the network's last hidden layer.

Generalised advantage estimation is linear in the reward at fixed state values, so the penalty has an advantage of its
own. Its surrogate is clipped by itself, and of that gradient only what belongs to the chosen units is kept: the weights
into them, their biases, and the policy head's weights out of them (after Cloud et al. 2024, "Gradient routing"). All
other terms of the loss train the whole network, and so that the penalty does not reach it by way of the critic either,
the critic learns the design reward alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from kerf.agents.effective_steps import Gradients
from kerf.agents.network import PolicyNetwork
from kerf.lab.errors import KerfError

UTILITY_ADVANTAGE = "utility_advantage"
"""Column `(N,)` of the design reward's own advantages, scaled as `advantage` is: the difference of the two advantages
and the penalty's again would differ from it by rounding."""


def without_penalty(columns: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`columns`, with `UTILITY_ADVANTAGE` among them, as if nothing had been penalised."""
    return {**columns, "advantage": columns[UTILITY_ADVANTAGE]}


class Route:
    """The parameters that the penalty may change.

    Args:
        network: With a hidden layer.
        share: Share in [0, 1] of the units of its last hidden layer, rounded up: the first ones. With 0 the penalty
            changes nothing.

    Raises:
        KerfError: for a share outside [0, 1], or a network without hidden layers.
    """

    def __init__(self, network: PolicyNetwork, share: float) -> None:
        if not 0.0 <= share <= 1.0:
            raise KerfError(f"penalty_units must be in [0, 1], got {share}")
        if not network.settings.hidden:
            raise KerfError("penalty_units: the network has no hidden layer (hidden: []), so it has no units to choose")
        width = network.settings.hidden[-1]
        self.num_units = math.ceil(round(share * width, 9))
        last = [module for module in network.policy_trunk if isinstance(module, torch.nn.Linear)][-1]
        chosen = (torch.arange(width) < self.num_units).to(last.weight.device)
        self._masks: Mapping[torch.Tensor, torch.Tensor] = {
            last.weight: chosen.unsqueeze(1),
            last.bias: chosen,
            network.policy_head.weight: chosen.unsqueeze(0),
        }

    def confined(self, gradients: Gradients) -> Gradients:
        """`gradients` by parameter, with 0 wherever the penalty may change nothing."""
        return {
            parameter: gradient * self._masks[parameter] if parameter in self._masks else torch.zeros_like(gradient)
            for parameter, gradient in gradients.items()
        }
