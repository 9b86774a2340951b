"""Signal detection: how well each agent discriminates real emergencies from forgeries, and its criterion for
leaving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from kerf.lab.exact.evaluation import Evaluator
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.seeds import entropy
from kerf.lab.statistics.detection import criterion, d_a, roc
from kerf.lab.world import World
from kerf.runs.exact.designs import STREAM


@dataclass(frozen=True)
class Detection:
    """Signal-detection measures of one agent on forgeries of one strength.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        strength: Strength of the forgeries.
        hit: P(leaves | the emergency is real, and the expert leaves).
        false_alarm: P(leaves | it is forged).
        quiet: P(leaves | natural, and the expert does not leave).
        auc: P(the tendency to leave is higher in a real emergency than in a forged one).
        d_a: sqrt(2) times the normal quantile of `auc`.
        criterion: -(z(hit) + z(false alarm)) / 2: higher is more reluctant to leave, in real and forged ones alike.
    """

    arm: str
    seed: int
    strength: float
    hit: float
    false_alarm: float
    quiet: float
    auc: float
    d_a: float
    criterion: float


def detect(
    world: World,
    policies: Mapping[tuple[str, int], Policy],
    natural: tuple[Scenarios, np.ndarray],
    strengths: tuple[float, ...],
    num_forgeries: int,
    reached: Callable[[float], None] = lambda share: None,
) -> list[Detection]:
    """Compute the signal-detection measures of every agent.

    Args:
        world: The world; it must offer an enumeration.
        policies: Policies by arm and seed.
        natural: The natural stream: scenarios `(n, F)` and their probabilities `(n,)`.
        strengths: Strengths of the forgeries.
        num_forgeries: Number to draw for each strength, where they are not enumerated.
        reached: Is called with the share of the work that is done, in [0, 1].

    Returns:
        The measures; empty in a world without forgeries.
    """
    scenarios, chances = natural
    dilemma = world.dilemma
    if not dilemma.has_forgeries:
        return []
    evaluator = Evaluator(world, scenarios)
    expert = evaluator.run(ExpertPolicy(world))
    leaves = expert.probability(dilemma.forbidden) >= 0.5
    real = chances * leaves * (expert.probability(dilemma.needless) < 0.5)
    still = chances * ~leaves
    forgeries = {strength: _forgeries(world, strength, num_forgeries) for strength in strengths}
    followed = {strength: Evaluator(world, rows) for strength, (rows, _) in forgeries.items()}
    found = []
    for number, ((arm, seed), policy) in enumerate(policies.items()):
        reached(number / len(policies))
        of_natural = evaluator.run(policy).probability(dilemma.forbidden)
        hit = float(of_natural @ real / real.sum())
        quiet = float(of_natural @ still / still.sum())
        for strength, (_, forged) in forgeries.items():
            of_forged = followed[strength].run(policy).probability(dilemma.forbidden)
            scores = np.concatenate((of_natural, of_forged)).round(12)
            signal = np.concatenate((real, np.zeros_like(of_forged)))
            curve = roc(scores, signal, np.concatenate((np.zeros_like(of_natural), forged)))
            false_alarm = float(of_forged @ forged)
            rates = np.clip((hit, false_alarm), 0.0, 1.0)
            found.append(
                Detection(
                    arm, seed, strength, hit, false_alarm, quiet, curve.auc, float(d_a(curve.auc)),
                    float(criterion(*rates)),
                )
            )  # fmt: skip
    return found


def _forgeries(world: World, strength: float, num_forgeries: int) -> tuple[Scenarios, np.ndarray]:
    if world.dilemma.exact_forgeries is not None:
        scenarios, chances = world.dilemma.exact_forgeries(strength, False)
        return scenarios, chances / chances.sum()
    rng = np.random.default_rng(np.random.SeedSequence(entropy(0, f"{STREAM} forgeries {strength}")))
    drawn = world.dilemma.forge(num_forgeries, strength, rng)
    return drawn, np.full(num_forgeries, 1.0 / num_forgeries)
