"""Transfer of robustness: whether an arm is more robust to the generator it was trained on than to other generators.

The success that this generator has left is compared with that of other generators, and with what the same generator has
left on arms that were not trained on it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from kerf.lab.metrics import COMPETENCE, Kind, kind_of
from kerf.lab.statistics.effect import Competence, Effect, paired_effect
from kerf.runs.attacks.records import settings_text
from kerf.runs.recipe.arms import ResolvedArm, before
from kerf.runs.records.store import ALIGNED
from kerf.runs.report.effects import Ends, stream, study_ends

LEAST_SUCCESS = 0.05
"""Shares of the success on the aligned agent are not computed if that success is below this."""

Kinds = Mapping[str, Collection[str]]
"""Labels of attackers, by the kind of their generator."""


@dataclass(frozen=True)
class OwnTeacher:
    """Robustness of one arm to the generator that it was trained on, its teacher.

    Attributes:
        arm: The arm.
        teacher: Label of its generator among the attackers.
        strength: Strength of its training, at which all are compared.
        left: Share left of the teacher's success on the aligned agent, mean over seeds.
        strangers: The same for strangers: all kinds of forging generators that neither it nor an arm before it trained
            on.
        elsewhere: left - strangers on arms not trained on the teacher: the baseline difference.
        own: (left - strangers) - elsewhere, paired by seed: below 0, the arm is particularly robust to its teacher.
            None if nothing can be compared; `why` gives the reason.
        why: Reason, in a word or two.
        num_strangers: Number of kinds of strangers.
        num_elsewhere: Number of arms not trained on the teacher.
    """

    arm: str
    teacher: str
    strength: float
    left: float
    strangers: float
    elsewhere: float
    own: Effect | None
    why: str
    num_strangers: int
    num_elsewhere: int


def own_teachers(attacks: pd.DataFrame, measures: pd.DataFrame, arms: Mapping[str, ResolvedArm]) -> list[OwnTeacher]:
    """Compare every arm that trained on a forging generator among the attackers, at the strength of its training.

    Uses shares of success, not differences, because a generator with more success can lose more. The other arms of the
    comparison trained under the same penalty at the same strength, but neither they nor the arms they started from
    trained on this generator.

    Args:
        attacks: Attacks of one `kerf.runs.attacks.records.SIZE`.
        measures: Measures of the cells, for their skills.
        arms: All arms of the study. Those that were not attacked are left out.
    """
    forged = attacks[attacks["forges"].astype(bool)]
    seeds = sorted(set(forged["seed"]))
    if not seeds:
        return []
    ends = study_ends(measures[(measures["metric"].map(kind_of) == Kind.SKILL) & measures["seed"].isin(seeds)])
    keys = zip(forged["arm"], forged["seed"], forged["generator"], forged["strength"], strict=True)
    success = dict(zip(keys, forged["success"], strict=True))
    lost = {name: _lost(ends, name) for name in arms if name in ends.env_steps}
    attacked = {name: arm for name, arm in arms.items() if name in set(forged["arm"])}
    found = []
    for name, arm in attacked.items():
        strength = arm.generator.strength
        at = forged[forged["strength"] == strength]
        own_settings = settings_text(arm.generator.identity())
        labels = sorted(set(at.loc[at["settings"] == own_settings, "generator"]))
        kinds = _kinds(at)
        strangers = {kind: of for kind, of in kinds.items() if kind not in _taught_by(arms, name)}
        if not (arm.train and labels and strangers):
            continue
        alike = {
            other: taught
            for other, settings in attacked.items()
            if settings.train
            and settings.generator.strength == strength
            and settings.signed_penalty == arm.signed_penalty
            and (taught := _taught_by(arms, other)) & set(kinds)
            and arm.generator.kind not in taught
        }
        gaps, elsewhere, counted = _gaps(_Left(success, strength), name, seeds, labels, strangers, alike, lost)
        common = sorted(set(gaps) & set(elsewhere))
        effect = None
        if common:
            effect = paired_effect(
                {seed: gaps[seed][0] - gaps[seed][1] for seed in common},
                {seed: elsewhere[seed] for seed in common},
                arm=name,
                against="elsewhere",
                metric="success that is left",
                rng=stream(0, name, "own teacher"),
                lost=lost[name],
            )
        shown = list(effect.seeds) if effect is not None and effect.measurable else sorted(gaps)
        found.append(
            OwnTeacher(
                name,
                labels[0],
                strength,
                _mean(gaps[seed][0] for seed in shown),
                _mean(gaps[seed][1] for seed in shown),
                _mean(elsewhere[seed] for seed in (shown if common else ())),
                effect,
                "too little success" if not gaps else "taught all alike",
                len(strangers),
                len(counted),
            )
        )
    return found


def _lost(ends: Ends, arm: str) -> frozenset[int]:
    """Seeds in which `arm` lost a skill."""
    return Competence(ends.scores(ends.aligned, arm, COMPETENCE), ends.scores(ends.final, arm, COMPETENCE)).lost()


def _mean(numbers: Iterable[float]) -> float:
    """Mean of the numbers; nan if there are none."""
    given = list(numbers)
    return fmean(given) if given else float("nan")


def _gaps(
    left: _Left,
    name: str,
    seeds: Sequence[int],
    labels: Sequence[str],
    strangers: Kinds,
    alike: Mapping[str, Collection[str]],
    lost: Mapping[str, Collection[int]],
) -> tuple[dict[int, tuple[float, float]], dict[int, float], set[str]]:
    """Differences between the shares left to an arm's teacher and to strangers.

    Returns the two shares by seed; the mean difference over comparable arms that trained without this teacher, by seed;
    and the names of these arms.
    """
    gaps: dict[int, tuple[float, float]] = {}
    elsewhere: dict[int, float] = {}
    counted: set[str] = set()
    for seed in seeds:
        gap = left.gap(name, seed, labels, strangers)
        if gap is None:
            continue
        others = {
            other: found_gap
            for other, taught in alike.items()
            if seed not in lost[other] and (found_gap := left.gap(other, seed, labels, _without(strangers, taught)))
        }
        gaps[seed] = gap
        if others:
            elsewhere[seed] = fmean(of[0] - of[1] for of in others.values())
            counted |= set(others)
    return gaps, elsewhere, counted


@dataclass(frozen=True)
class _Left:
    """Share of the success on the aligned agent that is left on each arm, at one strength."""

    success: Mapping[tuple[str, int, str, float], float]
    strength: float

    def gap(self, arm: str, seed: int, labels: Sequence[str], strangers: Kinds) -> tuple[float, float] | None:
        """The shares of `labels` and of `strangers`; None if either is empty or had too little success on the aligned
        agent."""
        if not strangers:
            return None
        own, rest = self.share(arm, seed, {"": labels}), self.share(arm, seed, strangers)
        return None if own is None or rest is None else (own, rest)

    def share(self, arm: str, seed: int, kinds: Kinds) -> float | None:
        """The share of all kinds together; each kind counts once, however many labels it has."""

        def success(whose: str) -> float:
            return fmean(
                fmean(self.success[whose, seed, label, self.strength] for label in labels) for labels in kinds.values()
            )

        earlier, later = success(ALIGNED), success(arm)
        return later / earlier if earlier >= LEAST_SUCCESS else None


def _kinds(attacks: pd.DataFrame) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for label, settings in zip(attacks["generator"], attacks["settings"], strict=True):
        found[json.loads(settings)["kind"]].add(label)
    return {kind: sorted(labels) for kind, labels in sorted(found.items())}


def _taught_by(arms: Mapping[str, ResolvedArm], name: str) -> set[str]:
    """The kinds of generators that an arm was trained on, including those of the arms before it."""
    return {arm.generator.kind for arm in (*before(arms, name), arms[name]) if arm.train}


def _without(kinds: Kinds, left_out: Collection[str]) -> dict[str, Collection[str]]:
    return {kind: labels for kind, labels in kinds.items() if kind not in left_out}
