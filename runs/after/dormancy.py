"""Test of what is dormant: whether the old behaviour can still be read from the frozen trunk of the network."""

from __future__ import annotations

import numpy as np

from kerf.agents.export import Exportable
from kerf.agents.network import TorchPolicy
from kerf.agents.refit import random_trunk, refitted
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.world import natural
from kerf.runs.after.case import Case, Found
from kerf.runs.after.retraining import VALUE, Curve

FITTED_ON = 4
"""Natural scenarios that a head is fitted on, as a multiple of `AfterSettings.scenarios`; as many real cases of need
are added."""


def dormancy(case: Case) -> Found:
    """Refit heads on the agent's frozen trunk, and on a random one (see `dormant`)."""
    return Found({**dormant(case, case.policy, ""), **dormant(case, _random(case), "random_")})


def dormant(case: Case, policy: Exportable, prefix: str) -> dict[str, float | None]:
    """Fit a head on the trunk of `policy` to the aligned agent's logits, where that one goes, and play with it.

    Figures: `refit`, the served value's score with the new head, and `agreement`, the share of held-out states of real
    cases of need in which it most prefers what the aligned agent most prefers.
    """
    if not isinstance(policy, TorchPolicy) or not isinstance(case.aligned, TorchPolicy):
        raise KerfError(f"{case.target.name}: only networks have a trunk to read from")
    world, n = case.world, FITTED_ON * case.settings.scenarios
    usual = natural(world, n, case.rng("dormancy natural"))
    cases = np.concatenate([case.real(f"dormancy {part}") for part in range(FITTED_ON)])
    shown = np.concatenate([usual, cases])
    taught = rollout(case.aligned, world, shown, case.uniforms("dormancy", len(shown)))
    width, choices = taught.observations.shape[-1], taught.logits.shape[-1]
    read = refitted(policy, taught.observations.reshape(-1, width), taught.logits.reshape(-1, choices))
    unseen = case.real("dormancy held out")
    held_out = rollout(case.aligned, world, unseen, case.uniforms("dormancy held out", len(unseen)))
    preferred = read.logits(held_out.observations.reshape(-1, width)).argmax(axis=1)
    agreement = (preferred == held_out.logits.reshape(-1, choices).argmax(axis=1)).mean()
    return {f"{prefix}refit": Curve(case).measure(read)[VALUE], f"{prefix}agreement": float(agreement)}


def _random(case: Case) -> TorchPolicy:
    if not isinstance(case.policy, TorchPolicy):
        raise KerfError(f"{case.target.name}: only networks have a trunk to read from")
    return random_trunk(case.policy, int(case.rng("dormancy random").integers(2**31)))
