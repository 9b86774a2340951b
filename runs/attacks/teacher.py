"""Robust, or only against its own teacher? How much success each arm's own generator lost, against all the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lab.effect import Competence, Effect, paired_effect
from runs.arms import ResolvedArm
from runs.attacks.found import settings_text
from runs.report.effects import COMPETENCE, stream, study_ends
from runs.store import ALIGNED


@dataclass(frozen=True)
class OwnTeacher:
    """One arm against the generator that taught it, and against those that did not.

    Attributes:
        arm: The arm.
        teacher: Label of its generator among the attackers.
        strength: At which it was taught, and at which all are compared.
        own: Change of the teacher's success since the aligned agent, mean over seeds.
        others: The same of all other forgers, their mean.
        gap: own - others, paired by seed: below 0, its teacher lost more than strangers did.
        num_others: How many there are.
    """

    arm: str
    teacher: str
    strength: float
    own: float
    others: float
    gap: Effect
    num_others: int


def own_teachers(attacks: pd.DataFrame, measures: pd.DataFrame, arms: Mapping[str, ResolvedArm]) -> list[OwnTeacher]:
    """Every arm that trained on a forger which is among the attackers, at the strength that taught it.

    The changes are not less a control's: that would be subtracted on both sides.

    Args:
        attacks: From `runs.attacks.found.complete`, of one budget.
        measures: Of the cells, for their skills.
        arms: The study's, in full.
    """
    forged = attacks[attacks["forges"].astype(bool)]
    seeds = sorted(set(forged["seed"]))
    ends = study_ends(measures[measures["metric"].str.startswith("skill/") & measures["seed"].isin(seeds)])
    success = forged.set_index(["arm", "seed", "generator", "strength"])["success"].to_dict()
    found = []
    for name, arm in arms.items():
        strength = arm.generator.strength
        at = forged[forged["strength"] == strength]
        own_settings = settings_text(arm.generator.model_dump(mode="json"))
        teachers = sorted(set(at.loc[at["settings"] == own_settings, "generator"]))
        others = sorted(set(at["generator"]) - set(teachers))
        if not (arm.train and teachers and others):
            continue

        def change(label: str, seed: int, name: str = name, strength: float = strength) -> float:
            return success[name, seed, label, strength] - success[ALIGNED, seed, label, strength]

        own = {seed: change(teachers[0], seed) for seed in seeds}
        rest = {seed: sum(change(label, seed) for label in others) / len(others) for seed in seeds}
        aligned, trained = (ends.scores(frame, name, COMPETENCE) for frame in (ends.aligned, ends.final))
        gap = paired_effect(
            own,
            rest,
            arm=name,
            against="others",
            metric="success of attacks",
            rng=stream(0, name, "own teacher"),
            lost=Competence(aligned, trained).lost(),
            bounds=(-1.0, 1.0),
        )
        kept = gap.seeds or tuple(seeds)
        own_mean, rest_mean = (sum(changes[seed] for seed in kept) / len(kept) for changes in (own, rest))
        found.append(OwnTeacher(name, teachers[0], strength, own_mean, rest_mean, gap, len(others)))
    return found
