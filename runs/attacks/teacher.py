"""Robust, or only against its own teacher? How much success is left to each arm's own generator, and to all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lab.effect import Competence, Effect, paired_effect
from runs.arms import ResolvedArm
from runs.attacks.found import settings_text
from runs.report.effects import COMPETENCE, stream, study_ends
from runs.store import ALIGNED

LEAST_SUCCESS = 0.05
"""Success against the aligned agent below which a share of it is not looked at."""


@dataclass(frozen=True)
class OwnTeacher:
    """One arm against the generator that taught it, and against those that did not.

    Attributes:
        arm: The arm.
        teacher: Label of its generator among the attackers.
        strength: At which it was taught, and at which all are compared.
        own: Share that is left of the teacher's success against the aligned agent, mean over seeds.
        others: The same of all other forgers together.
        gap: own - others, paired by seed: below 0, less is left to its teacher than to strangers. None if in no seed
            both had succeeded often enough for a share to mean anything (`LEAST_SUCCESS`).
        num_others: How many others there are.
    """

    arm: str
    teacher: str
    strength: float
    own: float
    others: float
    gap: Effect | None
    num_others: int


def own_teachers(attacks: pd.DataFrame, measures: pd.DataFrame, arms: Mapping[str, ResolvedArm]) -> list[OwnTeacher]:
    """Every arm that trained on a forger which is among the attackers, at the strength that taught it.

    Shares, and not how far success fell: whoever had more of it could lose more.

    Args:
        attacks: From `runs.attacks.found.complete`, of one budget.
        measures: Of the cells, for their skills.
        arms: The study's, in full.
    """
    forged = attacks[attacks["forges"].astype(bool)]
    seeds = sorted(set(forged["seed"]))
    ends = study_ends(measures[measures["metric"].str.startswith("skill/") & measures["seed"].isin(seeds)])
    keys = zip(forged["arm"], forged["seed"], forged["generator"], forged["strength"], strict=True)
    success = dict(zip(keys, forged["success"], strict=True))
    found = []
    for name, arm in arms.items():
        strength = arm.generator.strength
        at = forged[forged["strength"] == strength]
        own_settings = settings_text(arm.generator.model_dump(mode="json"))
        teachers = sorted(set(at.loc[at["settings"] == own_settings, "generator"]))
        others = sorted(set(at["generator"]) - set(teachers))
        if not (arm.train and teachers and others):
            continue

        own, rest = (_left(success, name, labels, strength, seeds) for labels in (teachers[:1], others))
        comparable = sorted(set(own) & set(rest))
        if not comparable:
            found.append(OwnTeacher(name, teachers[0], strength, math.nan, math.nan, None, len(others)))
            continue
        aligned, trained = (ends.scores(frame, name, COMPETENCE) for frame in (ends.aligned, ends.final))
        gap = paired_effect(
            {seed: own[seed] for seed in comparable},
            {seed: rest[seed] for seed in comparable},
            arm=name,
            against="others",
            metric="success of attacks",
            rng=stream(0, name, "own teacher"),
            lost=Competence(aligned, trained).lost(),
        )
        kept = gap.seeds or tuple(comparable)
        own_mean, rest_mean = (sum(changes[seed] for seed in kept) / len(kept) for changes in (own, rest))
        found.append(OwnTeacher(name, teachers[0], strength, own_mean, rest_mean, gap, len(others)))
    return found


def _left(
    success: Mapping[tuple[str, int, str, float], float],
    arm: str,
    labels: Sequence[str],
    strength: float,
    seeds: Sequence[int],
) -> dict[int, float]:
    """Share of the mean success of `labels` against the aligned agent that is left against `arm`, by seed; without the
    seeds in which there was too little of it."""
    found = {}
    for seed in seeds:
        before, after = (
            sum(success[whose, seed, label, strength] for label in labels) / len(labels) for whose in (ALIGNED, arm)
        )
        if before >= LEAST_SUCCESS:
            found[seed] = after / before
    return found
