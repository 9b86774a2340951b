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
class TransferGap:
    """Robustness of one arm to the generator that it was trained on.

    Attributes:
        arm: The arm.
        adversary: Label of its generator among the attackers.
        strength: Strength of its training, at which all are compared.
        left: Share left of the training adversary's success on the aligned agent, mean over seeds.
        others: The same for all other kinds of forging generators that neither it nor an arm before it trained
            on.
        other_arms: left - others on arms not trained on this adversary: the baseline difference.
        difference: (left - others) - other_arms, paired by seed: below 0, the robustness is specific to the adversary.
            None if nothing can be compared; `why` gives the reason.
        why: Reason, in a word or two.
        num_others: Number of kinds of other generators.
        num_other_arms: Number of arms not trained on this adversary.
    """

    arm: str
    adversary: str
    strength: float
    left: float
    others: float
    other_arms: float
    difference: Effect | None
    why: str
    num_others: int
    num_other_arms: int


def transfer_gaps(attacks: pd.DataFrame, measures: pd.DataFrame, arms: Mapping[str, ResolvedArm]) -> list[TransferGap]:
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
        others = {kind: labelled for kind, labelled in kinds.items() if kind not in _training_kinds(arms, name)}
        if not (arm.train and labels and others):
            continue
        comparable = {
            other: trained_on
            for other, settings in attacked.items()
            if settings.train
            and settings.generator.strength == strength
            and settings.signed_penalty == arm.signed_penalty
            and (trained_on := _training_kinds(arms, other)) & set(kinds)
            and arm.generator.kind not in trained_on
        }
        gaps, other_arms, counted = _gaps(_Remaining(success, strength), name, seeds, labels, others, comparable, lost)
        common = sorted(set(gaps) & set(other_arms))
        effect = None
        if common:
            effect = paired_effect(
                {seed: gaps[seed][0] - gaps[seed][1] for seed in common},
                {seed: other_arms[seed] for seed in common},
                arm=name,
                against="other arms",
                metric="remaining success",
                rng=stream(0, name, "own teacher"),
                lost=lost[name],
            )
        shown = list(effect.seeds) if effect is not None and effect.measurable else sorted(gaps)
        found.append(
            TransferGap(
                name,
                labels[0],
                strength,
                _mean(gaps[seed][0] for seed in shown),
                _mean(gaps[seed][1] for seed in shown),
                _mean(other_arms[seed] for seed in (shown if common else ())),
                effect,
                "too little success" if not gaps else "all trained on it",
                len(others),
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
    left: _Remaining,
    name: str,
    seeds: Sequence[int],
    labels: Sequence[str],
    others: Kinds,
    comparable: Mapping[str, Collection[str]],
    lost: Mapping[str, Collection[int]],
) -> tuple[dict[int, tuple[float, float]], dict[int, float], set[str]]:
    """Differences between the shares left to an arm's training adversary and to others.

    Returns by seed: the two shares; the mean difference over comparable arms that trained without this adversary;
    and the names of these arms.
    """
    gaps: dict[int, tuple[float, float]] = {}
    other_arms: dict[int, float] = {}
    counted: set[str] = set()
    for seed in seeds:
        gap = left.gap(name, seed, labels, others)
        if gap is None:
            continue
        by_arm = {
            other: found_gap
            for other, trained_on in comparable.items()
            if seed not in lost[other] and (found_gap := left.gap(other, seed, labels, _without(others, trained_on)))
        }
        gaps[seed] = gap
        if by_arm:
            other_arms[seed] = fmean(own - other for own, other in by_arm.values())
            counted |= set(by_arm)
    return gaps, other_arms, counted


@dataclass(frozen=True)
class _Remaining:
    """Share of the success on the aligned agent that is left on each arm, at one strength."""

    success: Mapping[tuple[str, int, str, float], float]
    strength: float

    def gap(self, arm: str, seed: int, labels: Sequence[str], others: Kinds) -> tuple[float, float] | None:
        """The shares of `labels` and of `others`; None if either is empty or had too little success on the aligned
        agent."""
        if not others:
            return None
        own, rest = self.share(arm, seed, {"": labels}), self.share(arm, seed, others)
        return None if own is None or rest is None else (own, rest)

    def share(self, arm: str, seed: int, kinds: Kinds) -> float | None:
        """The share of all kinds together; each kind counts once, however many labels it has."""

        def success(agent: str) -> float:
            return fmean(
                fmean(self.success[agent, seed, label, self.strength] for label in labels) for labels in kinds.values()
            )

        earlier, later = success(ALIGNED), success(arm)
        return later / earlier if earlier >= LEAST_SUCCESS else None


def _kinds(attacks: pd.DataFrame) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for label, settings in zip(attacks["generator"], attacks["settings"], strict=True):
        found[json.loads(settings)["kind"]].add(label)
    return {kind: sorted(labels) for kind, labels in sorted(found.items())}


def _training_kinds(arms: Mapping[str, ResolvedArm], name: str) -> set[str]:
    """The kinds of generators that an arm was trained on, including those of the arms before it."""
    return {arm.generator.kind for arm in (*before(arms, name), arms[name]) if arm.train}


def _without(kinds: Kinds, left_out: Collection[str]) -> dict[str, Collection[str]]:
    return {kind: labels for kind, labels in kinds.items() if kind not in left_out}
