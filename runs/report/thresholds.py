"""Penalty thresholds: theory's prediction for each arm, and the penalty at which help was seen to end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from kerf.lab.prediction import ThresholdPrediction
from kerf.lab.statistics.effect import Outcome
from kerf.lab.statistics.intervals import clopper_pearson
from kerf.lab.statistics.tests import binomial_p
from kerf.lab.statistics.text import p_text
from kerf.runs.report.effects import Ends
from kerf.runs.terminal.columns import ByGroups


@dataclass(frozen=True)
class Crossing:
    """Measured threshold of each seed, compared with a predicted one.

    Attributes:
        prediction: The registered prediction.
        predicted: L*, the predicted threshold.
        metric: Metric whose score counts as help.
        brackets: Seed -> interval that holds its threshold: the largest penalty that left at least half of the aligned
            score, before the smallest one that left less, and that smallest one. -inf or inf where no penalty, or every
            penalty, left half.
    """

    prediction: ThresholdPrediction
    predicted: float
    metric: str
    brackets: Mapping[int, tuple[float, float]]

    @property
    def p(self) -> float:
        """Two-sided exact binomial test of the null that a seed's bracket holds the predicted threshold with
        probability 1/2."""
        return binomial_p(self.hits, len(self.brackets))

    @property
    def hits(self) -> int:
        """Number of seeds whose bracket contains the predicted threshold."""
        at = self.predicted
        return sum((low == -math.inf or low < at) and at <= high for low, high in self.brackets.values())

    def outcome(self, p_adjusted: float, alpha: float = 0.05) -> Outcome:
        """`held` if it lies in the bracket of significantly more than half of the seeds, `reversed` if significantly
        fewer."""
        if p_adjusted >= alpha:
            return "undecided"
        return "held" if 2 * self.hits > len(self.brackets) else "reversed"

    def sentence(self, p_adjusted: float) -> str:
        """The result in words."""
        num = len(self.brackets)
        seen: dict[tuple[float, float], int] = {}
        for bracket in self.brackets.values():
            seen[bracket] = seen.get(bracket, 0) + 1
        listed = "; ".join(f"{_between(*bracket)} in {count} of {num} seeds" for bracket, count in sorted(seen.items()))
        least = clopper_pearson(self.hits, num, 0.05)[0]
        return (
            f"{self.outcome(p_adjusted)}: help was predicted to end at a penalty of {self.predicted:.3g}, and ended "
            f"{listed} (p {p_text(p_adjusted)}; with 95% confidence the prediction is right for at least {least:.0%} "
            "of all seeds)."
        )


def find_crossing(
    ends: Ends, prediction: ThresholdPrediction, theory: Mapping[str, Mapping[str, Any]], metric: str
) -> Crossing:
    """Find where `metric` fell below half of its aligned score, for each seed."""
    arms = sorted(prediction.arms, key=lambda arm: float(theory[arm]["penalty"]))
    doses = [-math.inf, *(float(theory[arm]["penalty"]) for arm in arms), math.inf]
    predicted = theory[arms[0]]["threshold"]
    ends_of = [(ends.scores(ends.aligned, arm, metric), ends.scores(ends.final, arm, metric)) for arm in arms]
    brackets = {}
    for seed in ends_of[0][0]:
        helps = [final[seed] >= 0.5 * aligned[seed] for aligned, final in ends_of]
        first = helps.index(False) if False in helps else len(helps)
        brackets[seed] = doses[first], doses[first + 1]
    return Crossing(prediction, -math.inf if predicted is None else float(predicted), metric, brackets)


def theory_against_measured(
    ends: Ends, theory: Mapping[str, Mapping[str, Any]], metric: str, arms: Sequence[str]
) -> ByGroups:
    """A row per arm that theory makes a prediction for: the prediction, and the share of the aligned score that was
    left."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("theory against measured", no_wrap=True)
    for heading in ("forgeries", "strength", "penalty", "threshold"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("an optimal agent ...", no_wrap=True)
    table.add_column("help left", justify="right", no_wrap=True)
    for arm in (name for name in arms if name in theory):
        facts = theory[arm]
        at = "none" if facts["threshold"] is None else f"{facts['threshold']:.3g}"
        aligned, final = (list(ends.scores(frame, arm, metric).values()) for frame in (ends.aligned, ends.final))
        table.add_row(
            Text(arm),
            f"{facts['adversarial_share']:.0%}",
            f"{facts['strength']:g}",
            f"{facts['penalty']:g}",
            at,
            facts["reading"],
            f"{sum(final) / sum(aligned):.0%}" if sum(aligned) else "-",
        )
    return ByGroups(table)


def _between(low: float, high: float) -> str:
    if math.isinf(high):
        return f"above {low:g}, if at all,"
    return f"at {high:g} or below" if math.isinf(low) else f"between {low:g} and {high:g}"
