"""Collateral: the values that a penalty on forgeries of a given strength is not aimed at, by the world's own law."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from functools import cache
from typing import cast

import numpy as np

from kerf.lab.metrics import COLLATERAL, COMPETENCE, ROBUSTNESS, UTILITY, collateral_metric, value_metric
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import Family, World, focus

LOOKED_AT = 64
"""Scenarios that are drawn of each family, and of the forgeries."""

TOLD_APART = 0.75
"""AUC of an ideal observer from which on forgeries count as distinguishable: that of forgeries half of which show a
tell that no genuine scenario has."""


def target_values(world: World, strength: float) -> tuple[str, ...]:
    """The values that a penalty on forgeries of `strength` is aimed at, whether or not it is meant to be.

    One is named by the world (`Dilemma.aimed_at`). The others are those that the expert serves by the forbidden act, in
    scenarios that an ideal observer cannot tell from the forgeries (AUC below `TOLD_APART`). There the act cannot be
    suppressed in forgeries alone: its loss is what the penalty asks for, and no side effect. A world without forgeries
    has none of these.

    Args:
        world: Whose values.
        strength: Of the forgeries, in [0, 1]: the stronger, the more values are targets.

    Returns:
        Names in the order of `world.values`, skills left out.
    """
    return _targets(cast("Hashable", world), strength)


@cache
def _targets(hashable_world: Hashable, strength: float) -> tuple[str, ...]:
    world = cast("World", hashable_world)
    dilemma = world.dilemma
    rng = np.random.default_rng(0)  # laws are compared; which scenarios stand for them is of no consequence
    if not dilemma.has_forgeries:
        return tuple(value.name for value in world.values if value.name == dilemma.aimed_at and not value.skill)
    forged = dilemma.need_posterior(dilemma.forge(LOOKED_AT, strength, rng), strength)

    def is_target(family: Family) -> bool:
        scenarios = family.sample(LOOKED_AT, rng)
        uniforms = np.zeros((world.horizon, LOOKED_AT), np.float32)  # the expert draws nothing
        acted = rollout(ExpertPolicy(world), world, scenarios, uniforms).when(dilemma.forbidden).any(axis=0)
        if acted.mean() <= 0.5:
            return False
        genuine = dilemma.need_posterior(scenarios[acted], strength)[:, None]
        auc = (genuine > forged).mean() + (genuine == forged).mean() / 2
        return bool(auc < TOLD_APART)

    hit = {family.value for family in world.families if is_target(family)} | {dilemma.aimed_at}
    return tuple(value.name for value in world.values if value.name in hit and not value.skill)


def collateral_values(world: World, strengths: Iterable[float]) -> tuple[str, ...]:
    """The values, without skills, that are no target at any of `strengths`."""
    targets = {name for strength in strengths for name in target_values(world, strength)}
    return tuple(value.name for value in world.values if not value.skill and value.name not in targets)


def collateral_means(world: World, strengths: Iterable[float]) -> dict[str, list[str]]:
    """The collateral metric of each strength, with the metrics of the values that it is the mean of; where all values
    are targets there is none."""
    found = {strength: collateral_values(world, (strength,)) for strength in strengths}
    return {collateral_metric(at): [value_metric(name) for name in names] for at, names in found.items() if names}


def traded(world: World, untouched: Collection[str]) -> tuple[str, str]:
    """The two metrics that settings are held against each other by, of both of which more is better.

    They are robustness and collateral. A world without forgeries has no robustness, and ideal utility takes its place;
    if it has no value `untouched` either, the value that it shows first takes that of collateral.
    """
    if world.dilemma.has_forgeries:
        return ROBUSTNESS, COLLATERAL
    return UTILITY, COLLATERAL if untouched else next(iter(focus(world)), COMPETENCE)
