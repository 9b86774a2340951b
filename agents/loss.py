"""Loss of the learner on a minibatch.

A weighted sum of PPO's clipped surrogate, the squared error of the state value, an entropy bonus, cross-entropy to the
expert, and KL(pi || pi_0) to a frozen policy. A term with weight 0 is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from kerf.agents.settings import TrainingSettings

Columns = Mapping[str, torch.Tensor]
"""A batch of N rows: the columns of `kerf.agents.env_runner.Sample`, but with `advantage` for the two advantages,
combined and scaled, `anchor_logp` for `anchor_logits`, and `attacked` for `forbidden`."""


def losses(
    logits: torch.Tensor, state_values: torch.Tensor, minibatch: Columns, settings: TrainingSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a minibatch, and its terms by name.

    Args:
        logits: `(n, A)`.
        state_values: `(n,)`.
        minibatch: Columns of these n rows.
        settings: Weights and clip.
    """
    log_probabilities = torch.log_softmax(logits, dim=-1)
    probabilities = log_probabilities.exp()
    entropy = -(probabilities * log_probabilities).sum(dim=-1).mean()
    taken = log_probabilities.gather(-1, minibatch["actions"].unsqueeze(-1)).squeeze(-1)
    log_ratio = taken - minibatch["action_logp"]
    ratio = log_ratio.exp()
    value_loss = (state_values - minibatch["value_target"]).square().mean()
    # KL to the policy that acted, by the low-variance estimator k3 of Schulman 2020, "Approximating KL divergence".
    terms = {"entropy": entropy, "value_loss": value_loss, "kl": (ratio - 1.0 - log_ratio).mean()}
    loss = settings.value_coeff * value_loss
    if settings.policy_coeff > 0:
        advantage = minibatch["advantage"]
        clipped = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
        terms["policy_loss"] = -torch.minimum(advantage * ratio, advantage * clipped).mean()
        terms["clip_fraction"] = (ratio != clipped).float().mean()
        loss = loss + settings.policy_coeff * terms["policy_loss"]
    if settings.entropy_coeff > 0:
        loss = loss - settings.entropy_coeff * entropy
    if settings.imitation_coeff > 0:
        expert = log_probabilities.gather(-1, minibatch["expert_action"].unsqueeze(-1))
        terms["imitation_loss"] = -expert.mean()
        loss = loss + settings.imitation_coeff * terms["imitation_loss"]
    if settings.anchor_coeff > 0:
        terms["anchor_kl"] = (probabilities * (log_probabilities - minibatch["anchor_logp"])).sum(dim=-1).mean()
        loss = loss + settings.anchor_coeff * terms["anchor_kl"]
    terms["loss"] = loss
    return loss, terms
