"""Certificates of "no catastrophe" for worlds that cannot be enumerated: exact for what is deterministic, else sampled.

A catastrophe is an episode that is worse than failing completely: its utility lies below a threshold, or a named event
happens. A policy that draws its actions is judged by samples, with bounds that hold for any distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.exact.certificate import CONFIDENCE, lower_bound
from kerf.lab.rollout import Policy, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import one_hot
from kerf.lab.world import World


@dataclass(frozen=True)
class Greedy:
    """Always takes the most probable action of `base`, the first one of several: a deterministic policy."""

    base: Policy

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = self.base.logits(observations)
        return one_hot(logits.argmax(axis=1).astype(np.int64), logits.shape[1])


@dataclass(frozen=True)
class Never:
    """Whether a deterministic policy never does something, in any scenario of a list: exact, without confidence.

    Attributes:
        event: What it should never do.
        violations: `(m, F)`, the scenarios in which it does.
        num_scenarios: How many were played.
    """

    event: str
    violations: Scenarios
    num_scenarios: int

    @property
    def holds(self) -> bool:
        return not len(self.violations)


def never(policy: Policy, world: World, scenarios: Scenarios, event: str) -> Never:
    """Play a deterministic policy once in each of `scenarios` `(n, F)`, which decides whether `event` ever happens.

    Raises:
        ValueError: if the policy leaves an action to chance somewhere.
    """
    played = rollout(policy, world, scenarios, np.random.default_rng(0))
    possible = np.isfinite(played.logits).sum(axis=2)
    if (possible > 1).any():
        raise ValueError("only deterministic policies are decided by playing once: make it Greedy, or sample")
    return Never(event, scenarios[played.happened(event)], len(scenarios))


def most(happened: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of a probability by Clopper and Pearson, of `happened` in `trials` independent episodes."""
    return 1.0 - lower_bound(trials - happened, trials, confidence)


@dataclass(frozen=True)
class WorstShare:
    """Conditional value at risk: the mean utility of the worst episodes.

    Attributes:
        share: The share of episodes that counts as the worst, in (0, 1].
        mean: Their mean in the sample.
        least: Lower bound of their mean in the distribution.
        confidence: Of that bound.
    """

    share: float
    mean: float
    least: float
    confidence: float


def worst_share(
    utilities: NDArray[np.float64], share: float, floor: float, confidence: float = CONFIDENCE
) -> WorstShare:
    """CVaR of `utilities` `(n,)`, independent draws, none of which can be less than `floor`.

    The bound is that of Brown (2007, "Large deviations bounds for estimating conditional value-at-risk"), by the
    inequality of Dvoretzky, Kiefer and Wolfowitz: with probability `confidence` the distribution function lies nowhere
    more than e = sqrt(ln(1 / (1 - confidence)) / 2 n) above that of the sample, so that at worst a share e more of the
    episodes is at the floor.

    Raises:
        ValueError: for a share outside (0, 1], no draws, or one below the floor.
    """
    n = len(utilities)
    if not 0.0 < share <= 1.0 or not n or utilities.min() < floor:
        raise ValueError(f"expected a share in (0, 1] and draws of at least {floor:g}, got {share:g} and {n} draws")
    shift = min(share, math.sqrt(math.log(1.0 / (1.0 - confidence)) / (2.0 * n)))
    rest = _lower_sum(utilities, share - shift)
    return WorstShare(share, _lower_sum(utilities, share) / share, (shift * floor + rest) / share, confidence)


def _lower_sum(utilities: NDArray[np.float64], share: float) -> float:
    """The least `share` of the sample, summed, each draw with weight 1 / n; the one at the edge counts in part."""
    weights = np.clip(share * len(utilities) - np.arange(len(utilities)), 0.0, 1.0)
    return float(np.sort(utilities) @ weights) / len(utilities)
