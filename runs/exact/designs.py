"""Designs of a recipe's arms: their training and evaluation in the terms of the exact solver."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kerf.generators.registry import make_generator
from kerf.lab.dilemma import Mix
from kerf.lab.exact.decompose import NATURAL, Deployment, Design
from kerf.lab.grader import make_grader
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.seeds import entropy
from kerf.lab.world import Listed, World, natural
from kerf.lab.worlds import get_world
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.model import Recipe

STREAM = "exact"
"""Name of the random stream that draws situations where a world cannot list all of them."""


def design_of(recipe: Recipe, arm: ResolvedArm) -> Design | None:
    """The training design of an arm.

    None for an arm that does not train, or whose scenarios or penalties depend on how earlier ones went: an adversary's
    scenarios have no fixed distribution, nor has the price of an event that takes as many penalties as another arm had,
    so no optimum is defined. None also where the penalty is in force for some iterations alone, where episodes are
    screened, where a probe is penalised, where the agent can switch its learning off, and where it sees whether it is
    overseen (its scenarios are marked).

    A penalty given independently of the actions, and potential-based shaping, do not move the optimum and are left out.
    """
    if not arm.train or arm.yoked_event is not None or arm.screened or arm.probe or arm.oversight_cue is not None:
        return None
    if arm.penalty_from > 1 or arm.penalty_to is not None or arm.frozen_by is not None:
        return None
    generator = make_generator(get_world(recipe.world), arm.generator, arm.adversarial_share)
    mix = generator.mix()
    if mix is None:
        return None
    contingent = arm.yoked_to is None
    return Design(
        RewardSpec(
            recipe.paid_by(arm),
            make_grader(arm.grader, arm.strength) if contingent else None,
            arm.signed_penalty if contingent else 0.0,
            recipe.training.gamma,
            arm.feedback,
        ),
        mix,
    )


def twin_of(arms: Mapping[str, ResolvedArm], name: str) -> str | None:
    """The arm with the same training as arm `name` but a tabular policy; None if there is none."""
    own = arms[name]
    for other, arm in arms.items():
        same = {"name": own.name, "kind": own.kind, "agent": own.agent, "training": own.training}
        if own.agent == arm.agent or arm.training.anchor_coeff != own.training.anchor_coeff:
            continue
        if arm.agent == "table" and arm.model_copy(update=same) == own:
            return other
    return None


def deployment_of(world: World, situations: int, mix: Mix = NATURAL) -> Deployment:
    """All situations of `mix`, or a sample of them."""
    if isinstance(world, Listed):
        return Deployment.listed(world, mix)
    rng = np.random.default_rng(np.random.SeedSequence(entropy(0, STREAM)))
    drawn = natural(world, situations, rng)
    forged = rng.random(situations) >= mix.natural
    if forged.any():
        drawn[forged] = world.dilemma.forge(situations, mix.strength, rng)[forged]
    return Deployment.drawn(world, drawn, mix)
