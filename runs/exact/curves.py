"""Psychometric curves of P(leave) and its generalisation gradients, in worlds whose situations are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.exact.branches import sums
from kerf.lab.exact.decompose import Design
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.exact.information_sets import grow
from kerf.lab.rollout import Policy
from kerf.lab.statistics.detection import generalisation_gradient, hamming_to_nearest
from kerf.lab.statistics.psychometric import PsychometricIntervals, bootstrap_psychometric
from kerf.lab.world import Listed, World
from kerf.runs.records.store import ALIGNED

FARTHEST = 4
"""Hamming distances from here on are pooled."""


@dataclass(frozen=True)
class Curves:
    """Curves of an arm's agents over all situations of a one-step world.

    Attributes:
        arm: The arm.
        seeds: Its `S` seeds.
        psychometric: P(leave) against the log-likelihood ratio of "leaving is needed": a fit for each seed, and their
            summary.
        gradient: `(S, FARTHEST + 1)`, mean change of P(leave) since alignment at Hamming distance 0, 1, ... from the
            forgeries that the arm was trained on (`FARTHEST` and more pooled); NaN where there is no such situation,
            and for an arm that was not trained on forgeries.
    """

    arm: str
    seeds: tuple[int, ...]
    psychometric: PsychometricIntervals
    gradient: NDArray[np.float64]


def curves(world: World, policies: Mapping[tuple[str, int], Policy], designs: Mapping[str, Design]) -> list[Curves]:
    """Compute the curves of every arm in `policies`, which are by arm and seed and include the aligned agents.

    Empty unless the world lists its situations, has one step, and has forgeries.
    """
    act = world.dilemma.forbidden
    if not isinstance(world, Listed) or world.horizon != 1 or act is None or not world.dilemma.has_forgeries:
        return []
    situations = world.situations()
    tree = grow(world, situations)
    (level,) = tree.levels
    forbidden, needless = (
        (level.words >> np.uint64(world.events.index(event))) & np.uint64(1) == 1
        for event in (act, world.dilemma.needless or act)
    )
    needed = np.zeros(len(tree.completions), np.bool_)
    needed[level.completion] = (forbidden & ~needless).any(axis=1)
    leaving = np.flatnonzero(forbidden.all(axis=0))
    mass = world.density(tree.completions, Mix())
    n = len(situations)
    for_leaving, against = (sums(tree.origin, mass * part, n) for part in (needed, ~needed))
    shown = for_leaving + against > 0.0
    with np.errstate(divide="ignore"):  # a likelihood of 0 is infinite evidence
        evidence = np.log(for_leaving[shown] / for_leaving.sum()) - np.log(against[shown] / against.sum())
    play = world.begin(situations)
    seen = np.empty((n, len(world.observations)), np.float32)
    play.observe(seen)
    leaves = {key: action_probs(policy, seen)[:, leaving].sum(axis=1) for key, policy in policies.items()}
    visible = [column for column, field in enumerate(world.space.fields) if not field.hidden]
    found = []
    for arm in dict.fromkeys(arm for arm, _ in policies):
        seeds = tuple(seed for trained, seed in policies if trained == arm)
        by_seed = np.stack([leaves[arm, seed] for seed in seeds])
        fits = bootstrap_psychometric(
            evidence.round(9),
            by_seed[:, shown].clip(0.0, 1.0),
            np.random.default_rng(0),
            (for_leaving + against)[shown],
        )
        gradient = np.full((len(seeds), FARTHEST + 1), np.nan)
        if arm in designs and designs[arm].mix.natural < 1.0:
            distances = _distances(world, tree.completions, tree.origin, situations[:, visible], designs[arm])
            for row, seed in enumerate(seeds):
                change = (leaves[arm, seed] - leaves[ALIGNED, seed]).clip(-1.0, 1.0)
                reached = generalisation_gradient(change, np.minimum(distances, FARTHEST))
                gradient[row, reached.distance.astype(np.int64)] = reached.change
        found.append(Curves(arm, seeds, fits, gradient))
    return found


def _distances(
    world: Listed, completions: NDArray[np.int16], origin: NDArray[np.int64], visible: NDArray[np.int16], design: Design
) -> NDArray[np.int64]:
    """Hamming distance of each situation from the forgeries at a design's strength."""
    forged = world.density(completions, Mix(natural=0.0, strength=design.mix.strength)) > 0.0
    return hamming_to_nearest(visible, visible[np.unique(origin[forged])])
