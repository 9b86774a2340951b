"""Outcome of a trial: the effects of its arm against its control, from the records of their cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from kerf.lab.metrics import COLLATERAL, COMPETENCE, ROBUSTNESS, UTILITY, Kind, exits_by_strength, of_kind, value_metric
from kerf.lab.statistics.effect import Effect
from kerf.runs.records.schema import MEASURES
from kerf.runs.records.store import Store, Unit
from kerf.runs.report.effects import Ends, study_ends
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.trials import Trial

RECORDED = (Kind.VALUE, Kind.SKILL, Kind.UTILITY, Kind.FALSE_EXIT, Kind.WAY)
"""Kinds of metric recorded for every trial, besides the metrics that the sweep asks about."""


@dataclass(frozen=True)
class Outcome:
    """Effects of a trial.

    Attributes:
        trial: Its number and settings.
        arm: Name of its arm's cells.
        control: Name of its control's cells.
        effects: By metric: the values, skills, competence, ideal utility, robustness and collateral, if there are any.
        traded: The two metrics that are held against each other.
    """

    trial: Trial
    arm: str
    control: str
    effects: Mapping[str, Effect]
    traded: tuple[str, str] = (ROBUSTNESS, COLLATERAL)

    @property
    def objectives(self) -> tuple[float, float]:
        """Mean effects on the `traded` metrics; nan where the skill was lost in every seed."""
        return self.number(self.traded[0]), self.number(self.traded[1])

    def number(self, metric: str) -> float:
        """Mean effect on a metric; nan if it cannot be measured."""
        return self.effects[metric].interval.mean


class Outcomes:
    """Reader of trial outcomes. Each cell's records are read once.

    Args:
        store: The sweep's folder.
        spec: The sweep.
    """

    def __init__(self, store: Store, spec: SweepSpec) -> None:
        self._store, self._spec = store, spec
        self._read: dict[Unit, pd.DataFrame] = {}

    def of(self, trial: Trial, arm: str, control: str, seeds: Sequence[int]) -> Outcome:
        """The outcome of `trial` over `seeds`, all of whose cells are finished.

        Raises:
            MeasureError: if scores are missing or not finite.
        """
        cells = [self._ends_of(Unit(name, seed)) for name in dict.fromkeys((arm, control)) for seed in seeds]
        ends = with_sums(study_ends(pd.concat(cells, ignore_index=True)), self._spec)
        asked = of_kind(ends.metrics, *RECORDED)
        asked += [metric for metric in self._spec.metrics if metric not in asked]
        asked += [COMPETENCE] * (COMPETENCE not in asked)
        effects = {metric: ends.effect(arm, control, metric, 0) for metric in asked}
        return Outcome(trial, arm, control, effects, self._spec.traded)

    def _ends_of(self, unit: Unit) -> pd.DataFrame:
        """The measures of a cell before and after training."""
        if unit not in self._read:
            import pyarrow.parquet as pq

            path = self._store.path / unit.name / "measures.parquet"
            frame: pd.DataFrame = pq.read_table(path, schema=MEASURES).to_pandas()
            iteration = frame["iteration"]
            self._read[unit] = frame[(iteration == 0) | (iteration == iteration.max())]
        return self._read[unit]


def with_sums(ends: Ends, spec: SweepSpec) -> Ends:
    """`ends` with robustness and collateral added as metrics.

    Robustness is minus the false exits at strength `spec.yardstick`, interpolated if it lies between two probed
    strengths; collateral is the mean of the untouched values. Only what the sweep trades is added.
    """
    exits = exits_by_strength(ends.metrics)
    untouched = [value_metric(name) for name in spec.untouched]

    def add(frame: pd.DataFrame) -> pd.DataFrame:
        added = frame.copy()
        if ROBUSTNESS in spec.traded:
            curves = frame[list(exits.values())].to_numpy()
            added[ROBUSTNESS] = [-float(np.interp(spec.yardstick, list(exits), curve)) for curve in curves]
        if COLLATERAL in spec.traded:
            added[COLLATERAL] = frame[untouched].mean(axis=1)
        return added

    return replace(ends, aligned=add(ends.aligned), final=add(ends.final))


def trial_values(outcome: Outcome, spec: SweepSpec) -> tuple[tuple[float, float] | None, list[float], dict[str, Any]]:
    """What Optuna is told about a trial: objectives, constraints (one per floor; satisfied if <= 0), attributes."""
    objectives: tuple[float, float] | None = outcome.objectives
    asked = (*spec.metrics, *spec.focus, COMPETENCE, UTILITY)
    numbers = {metric: outcome.number(metric) for metric in dict.fromkeys(asked) if metric in outcome.effects}
    if not all(map(math.isfinite, outcome.objectives)):
        objectives = None
    constraints = [floor.change - numbers[floor.metric] for floor in spec.floors] if objectives is not None else []
    attributes: dict[str, Any] = {name: number for name, number in numbers.items() if math.isfinite(number)}
    lost = outcome.effects[spec.traded[1]].lost
    if lost:
        attributes["skill lost in seeds"] = ", ".join(map(str, lost))
    return objectives, constraints, {"cells": outcome.arm, "control": outcome.control, **attributes}
