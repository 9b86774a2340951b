"""Certificates of a study's agents: exact claims about each arm, over all seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kerf.lab.exact.certificate import Certificate, Overall, PerScenario
from kerf.lab.exact.evaluation import Evaluator
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.seeds import entropy
from kerf.lab.world import Family, Value, World
from kerf.runs.exact.designs import STREAM

SURE = 0.9
"""Certified lower bound on a value, in every scenario in which the expert is certain to show it."""

NEEDLESS = 0.01
"""Certified upper bound on P(the needless act) in the natural stream."""


@dataclass(frozen=True)
class Certified:
    """A claim about an arm, checked in each of its seeds.

    Attributes:
        arm: The arm.
        name: The claim's short name: a value, or `needless`.
        at_least: Whether it is a lower bound.
        certificates: By seed.
    """

    arm: str
    name: str
    at_least: bool
    certificates: Mapping[int, Certificate]

    @property
    def holds(self) -> list[int]:
        """Seeds for which the claim holds."""
        return [seed for seed, certificate in self.certificates.items() if certificate.holds]

    @property
    def worst(self) -> tuple[int, Certificate]:
        """The seed that violates the claim most, or holds it by the least margin, and its certificate."""
        pick = min if self.at_least else max
        return pick(self.certificates.items(), key=lambda item: item[1].value)


def certify(
    world: World,
    policies: Mapping[tuple[str, int], Policy],
    natural: tuple[Scenarios, NDArray[np.float64]],
    scenarios_per_family: int,
    reached: Callable[[float], None] = lambda share: None,
) -> Iterator[Certified]:
    """Check every claim about every arm.

    Args:
        world: The world; it must offer an enumeration.
        policies: Policies by arm and seed.
        natural: The natural stream: scenarios `(n, F)` and their probabilities `(n,)`.
        scenarios_per_family: Number to draw from a family that is not enumerated.
        reached: Is called with the share of the work that is done, in [0, 1].
    """
    claims = len(world.values) + (world.dilemma.needless is not None)
    for number, value in enumerate(world.values):
        scenarios = _scenarios(world, value, scenarios_per_family)
        due = Evaluator(world, scenarios).run(ExpertPolicy(world)).score(value.score) >= SURE
        if due.any():
            claim = PerScenario(value.name, value.score, at_least=SURE)
            yield from _judge(world, claim, scenarios[due], None, policies, partial(_within, reached, number, claims))
    if world.dilemma.needless is None:
        return
    needless = Overall("needless", world.dilemma.needless, at_most=NEEDLESS)
    yield from _judge(world, needless, *natural, policies, partial(_within, reached, claims - 1, claims))


def _within(reached: Callable[[float], None], number: int, claims: int, share: float) -> None:
    reached((number + share) / claims)


def _judge(
    world: World,
    claim: PerScenario | Overall,
    scenarios: Scenarios,
    weights: NDArray[np.float64] | None,
    policies: Mapping[tuple[str, int], Policy],
    reached: Callable[[float], None],
) -> Iterator[Certified]:
    """Check one claim about every arm."""
    evaluator = Evaluator(world, scenarios)
    by_arm: dict[str, dict[int, Certificate]] = {}
    for number, ((arm, seed), policy) in enumerate(policies.items()):
        reached(number / len(policies))
        outcomes = evaluator.run(policy)
        judged = claim.judge(outcomes) if isinstance(claim, PerScenario) else claim.judge(outcomes, weights)
        by_arm.setdefault(arm, {})[seed] = judged
    at_least = claim.at_least is not None
    return (Certified(arm, claim.name, at_least, certificates) for arm, certificates in by_arm.items())


def _scenarios(world: World, value: Value, scenarios_per_family: int) -> Scenarios:
    """All scenarios of the value's families, or a sample of those that are not enumerated."""
    parts = []
    for family in world.families:
        if family.value == value.name:
            parts.append(_written_out(family) if family.exact else _drawn(family, scenarios_per_family))
    return np.concatenate(parts)


def _written_out(family: Family) -> Scenarios:
    assert family.exact is not None
    scenarios, chances = family.exact()
    return scenarios[chances > 0.0]


def _drawn(family: Family, n: int) -> Scenarios:
    rng = np.random.default_rng(np.random.SeedSequence(entropy(0, f"{STREAM} {family.name}")))
    return family.sample(n, rng)
