"""Ideal utility of every agent in the families of scenarios that training shows, and in those that it never shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kerf.lab.exact.evaluation import Evaluator
from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import Policy, rollout
from kerf.lab.seeds import entropy
from kerf.lab.world import Family, World

SCENARIOS = 64
"""Scenarios that are drawn of a family that is not enumerated."""


@dataclass(frozen=True)
class Utility:
    """Ideal utility of one agent, per scenario; families weigh the same.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        trained: In the families of the natural stream.
        held_out: In the families that training never shows.
    """

    arm: str
    seed: int
    trained: float
    held_out: float


def utilities(world: World, policies: Mapping[tuple[str, int], Policy], seed: int) -> Iterator[Utility]:
    """Utility of each of `policies`, by arm and seed; drawn scenarios and numbers are the same for all."""
    kinds = {held_out: [family for family in world.families if family.held_out == held_out] for held_out in (0, 1)}
    measures = {held_out: [_measure(world, family, seed) for family in of_kind] for held_out, of_kind in kinds.items()}
    for (arm, of_seed), policy in policies.items():
        means = [float(np.mean([measure(policy) for measure in measures[held_out]])) for held_out in (0, 1)]
        yield Utility(arm, of_seed, *means)


def _measure(world: World, family: Family, seed: int):  # type: ignore[no-untyped-def]  # a closure
    if family.exact is not None and world.horizon == 1:
        scenarios, probs = family.exact()
        evaluator = Evaluator(world, scenarios)
        share = probs / probs.sum()
        return lambda policy: float(evaluator.run(policy, tolerance=0.0).utility @ share)
    rng = np.random.default_rng(np.random.SeedSequence(entropy(seed, f"revealed {family.name}")))
    drawn = family.sample(SCENARIOS, rng)
    uniforms = rng.random((world.horizon, SCENARIOS), np.float32)
    return lambda policy: float(ideal_utility(rollout(policy, world, drawn, uniforms)).mean())
