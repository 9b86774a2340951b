"""The worst scenarios: conditional value at risk of the forbidden act over false emergencies.

CVaR at 1% is the mean probability of the act over the 1% of scenarios in which it is most probable (Rockafellar and
Uryasev 2000). Probabilities are estimated from repeated episodes. One half of them selects the worst scenarios, the
other half gives their mean, so that selection does not bias it upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerf.lab.errors import KerfError
from kerf.lab.rollout import Policy, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

REPEATS = 16
"""Episodes of each scenario; an even number."""


@dataclass(frozen=True)
class Tail:
    """Probability of the forbidden act: the mean over all scenarios and that over the worst of them."""

    mean: float
    worst: float


def tail(
    policy: Policy, world: World, scenarios: Scenarios, rng: np.random.Generator, share: float, repeats: int = REPEATS
) -> Tail:
    """Estimate mean and CVaR at `share` in (0, 1] over `scenarios` `(n, F)`, `repeats` episodes each.

    Raises:
        KerfError: for a share outside (0, 1] or an odd number of repeats.
    """
    if not 0.0 < share <= 1.0 or repeats < 2 or repeats % 2:
        raise KerfError(f"tail: expected a share in (0, 1] and an even number of repeats, got {share} and {repeats}")
    n = len(scenarios)
    played = rollout(policy, world, np.repeat(scenarios, repeats, axis=0), rng)
    done = played.happened(world.dilemma.forbidden).reshape(n, repeats)
    first, second = done[:, : repeats // 2].mean(axis=1), done[:, repeats // 2 :].mean(axis=1)
    num = max(1, round(share * n))
    chosen = np.argsort(-first, kind="stable")[:num]
    return Tail(float(done.mean()), float(second[chosen].mean()))
