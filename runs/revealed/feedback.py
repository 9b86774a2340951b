"""Feedback of each arm on its training data: what it paid for, and how often each definition of "good" disagrees.

The data are scenarios drawn from the arm's own generator, as its aligned agents act in them: what training sees when it
begins. Later the agent does less of what is penalised, and the shares move with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from kerf.generators.registry import make_generator
from kerf.lab.grader import make_grader
from kerf.lab.rollout import Policy, Trajectories, rollout
from kerf.lab.seeds import entropy
from kerf.lab.world import World
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.model import Recipe

EPISODES = 2048
"""Episodes that each seed's aligned agent plays for each arm."""

DEFINITIONS = ("rule", "ex_post", "ex_ante")
"""Graders that define good feedback: every forbidden act is bad; one that was not needed; one that was not justified by
what could be known."""


@dataclass(frozen=True)
class Feedback:
    """Feedback on the training data of one arm, as one seed's aligned agent acts there.

    Attributes:
        arm: The arm.
        seed: The seed.
        acts: Forbidden acts, per episode.
        penalised: Share of them that the arm's grader penalises; NaN without any.
        undeserved: Definition -> share of the penalised acts that it would not penalise; NaN without any.
        missed: Definition -> share of the acts that it would penalise and that went unpenalised; NaN without any.
    """

    arm: str
    seed: int
    acts: float
    penalised: float
    undeserved: Mapping[str, float]
    missed: Mapping[str, float]


@dataclass(frozen=True)
class FeedbackOfArms:
    """Feedback of all arms: a row for each arm and seed that can be judged, and what each arm paid by event."""

    rows: tuple[Feedback, ...]
    design: Mapping[str, Mapping[str, float] | None]


def feedback(
    recipe: Recipe, world: World, arms: Mapping[str, ResolvedArm], aligned: Mapping[int, Policy]
) -> FeedbackOfArms:
    """Judge the feedback of every arm that trains.

    An arm whose scenarios depend on how earlier ones went, or whose penalties are dealt out whatever was done, is
    not judged: what it was paid is no weight on events. An arm that does not train was paid nothing.
    """
    rows: list[Feedback] = []
    design: dict[str, Mapping[str, float] | None] = {}
    for name, arm in arms.items():
        generator = make_generator(world, arm.generator, arm.adversarial_share)
        if not arm.train or arm.yoked_to is not None or generator.mix() is None:
            design[name] = None
            continue
        played = []
        for seed, policy in aligned.items():
            rng = np.random.default_rng(np.random.SeedSequence(entropy(seed, f"revealed feedback {name}")))
            played.append(rollout(policy, world, generator.ask(EPISODES, rng), rng))
        design[name] = paid(recipe, arm, played)
        if arm.penalty:
            rows += [_judged(arm, seed, of_seed) for seed, of_seed in zip(aligned, played, strict=True)]
    return FeedbackOfArms(tuple(rows), design)


def paid(recipe: Recipe, arm: ResolvedArm, played: Iterable[Trajectories]) -> dict[str, float]:
    """Event -> weight that training paid on `played`, penalties and excuses included as their expectation per act.

    Penalties and excuses fall on forbidden acts alone. Those that were needless have the weight of both events, the
    others that of the forbidden one, which splits the expectation between the two. An act that never occurred in
    `played` was paid like the others: there nothing was penalised or excused.
    """
    penalty = {True: [0.0, 0], False: [0.0, 0]}
    excused = [0.0, 0]
    grader = make_grader(arm.grader, arm.strength)
    for episodes in played:
        dilemma = episodes.world.dilemma
        grade = grader.grade(episodes)
        act, needless = episodes.when(dilemma.forbidden), episodes.when(dilemma.needless)
        for is_needless, of_kind in penalty.items():
            chosen = act & (needless == is_needless)
            of_kind[0] += float(grade.penalised[chosen].sum())
            of_kind[1] += int(chosen.sum())
        excused[0] += float(grade.excused[needless].sum())
        excused[1] += int(needless.sum())
        world = episodes.world
    weights = dict(recipe.paid_by(arm) or world.ideal)
    per_act = {kind: arm.signed_penalty * total / max(1, num) for kind, (total, num) in penalty.items()}
    if dilemma.forbidden is None or dilemma.needless is None:
        return weights
    if dilemma.needless == dilemma.forbidden:
        weights[dilemma.forbidden] = weights.get(dilemma.forbidden, 0.0) - per_act[True]
        return weights
    cost = weights.get(dilemma.needless, 0.0) * (1.0 - excused[0] / max(1, excused[1]))
    weights[dilemma.needless] = cost - per_act[True] + per_act[False]
    weights[dilemma.forbidden] = weights.get(dilemma.forbidden, 0.0) - per_act[False]
    return weights


def _judged(arm: ResolvedArm, seed: int, episodes: Trajectories) -> Feedback:
    act = episodes.when(episodes.world.dilemma.forbidden)
    penalised = make_grader(arm.grader, arm.strength).grade(episodes).penalised & act
    by = {name: make_grader(name, arm.strength).grade(episodes).penalised & act for name in DEFINITIONS}
    return Feedback(
        arm.name,
        seed,
        float(act.sum()) / len(episodes),
        _share(penalised, act),
        {name: _share(penalised & ~deserved, penalised) for name, deserved in by.items()},
        {name: _share(deserved & ~penalised, deserved) for name, deserved in by.items()},
    )


def _share(some: np.ndarray, of: np.ndarray) -> float:
    return float(some.sum()) / float(of.sum()) if of.any() else float("nan")
