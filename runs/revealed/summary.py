"""Summary of the agents of an arm: revealed weights over seeds, changes since alignment, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kerf.lab.statistics.tests import Interval, paired_interval
from kerf.runs.records.store import ALIGNED
from kerf.runs.revealed.objectives import Objectives, Read


@dataclass(frozen=True)
class ArmSummary:
    """What the choices of an arm's agents reveal under one belief, over its seeds.

    Attributes:
        name: The arm.
        num: Its seeds.
        fitting: Those whose choices the weights explain.
        refused: Whether that is fewer than half of them, so that no weight is shown.
        explained: Mean share of the choices' divergence from equal chances that is explained; NaN if all seeds are
            indifferent.
        explained_in_context: The same with context features.
        agreement: Objective -> mean correlation, over all seeds.
        sharpness: Mean log-odds per unit of utility, over all seeds.
        weights: Event -> mean over the seeds that fit and identify it, if those are at least half of the seeds that
            fit; others are not in it.
        changes: Event -> change since alignment, over the seeds that identify both.
        missing: Event -> why it is not identified, in the first seed in which it is not.
        paid: What training paid by event; None if that is unknown.
        reasons: Seed -> why it is not read.
    """

    name: str
    num: int
    fitting: int
    refused: bool
    explained: float
    explained_in_context: float
    agreement: Mapping[str, Interval]
    sharpness: Interval
    weights: Mapping[str, Interval]
    changes: Mapping[str, Interval]
    missing: Mapping[str, str]
    paid: Mapping[str, float] | None
    reasons: Mapping[int, str]


def summaries(found: Objectives, belief: str) -> list[ArmSummary]:
    """A summary of each arm that was read under `belief`, the aligned agents first."""
    before = {read.seed: read for read in found.of(ALIGNED, belief)}
    arms = dict.fromkeys(read.arm for read in found.read if read.belief == belief)
    return [_summary(found, name, found.of(name, belief), before) for name in arms]


def _summary(found: Objectives, name: str, read: list[Read], before: Mapping[int, Read]) -> ArmSummary:
    fitting = [each for each in read if each.revealed.refusal is None]
    weights: dict[str, Interval] = {}
    changes: dict[str, Interval] = {}
    missing: dict[str, str] = {}
    for column, event in enumerate(found.events):
        for each in read:
            if event in each.revealed.missing:
                missing.setdefault(event, each.revealed.missing[event])
        known = [each for each in fitting if event not in each.revealed.missing]
        if 2 * len(known) < len(fitting) or not known:
            continue
        weights[event] = _interval([each.revealed.weights[column] for each in known])
        paired = [
            each.revealed.weights[column] - before[each.seed].revealed.weights[column]
            for each in known
            if each.seed in before and event not in before[each.seed].revealed.missing
        ]
        changes[event] = _interval(paired)
    named = {objective for each in read for objective in each.revealed.agreement}
    return ArmSummary(
        name,
        len(read),
        len(fitting),
        2 * len(fitting) < len(read),
        _interval([each.revealed.explained for each in read]).mean,
        _interval([each.revealed.explained_in_context for each in read]).mean,
        {
            objective: _interval([each.revealed.agreement[objective] for each in read], (-1.0, 1.0))
            for objective in sorted(named)
        },
        _interval([each.revealed.sharpness for each in read]),
        weights,
        changes,
        missing,
        found.design.get(name),
        {each.seed: each.revealed.refusal for each in read if each.revealed.refusal is not None},
    )


def _interval(numbers: list[float], bounds: tuple[float, float] | None = None) -> Interval:
    known = [number for number in numbers if np.isfinite(number)]
    if not known:
        return Interval(np.nan, np.nan, np.nan, 0, reliable=False)
    return paired_interval(known, np.random.default_rng(0), bounds=bounds)
