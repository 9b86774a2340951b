"""Records of a sweep's report: tables, findings, figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kerf.runs.records.store import Store
from kerf.runs.report.table import to_text
from kerf.runs.sweep.figures import figures
from kerf.runs.sweep.findings import front, lines, shown_metrics
from kerf.runs.sweep.outcome import Outcome
from kerf.runs.sweep.report import TEXT_WIDTH, SweepReport, make_report
from kerf.runs.sweep.spec import SweepSpec


def write_report(
    store: Store, spec: SweepSpec, outcomes: Sequence[Outcome], again: Sequence[Outcome] = ()
) -> SweepReport:
    """Make the report and write its records and figures: `trials.parquet`, `changes.parquet`, `findings.json`,
    `*.svg`, `*.png`, and last `table.txt`."""
    report = make_report(spec, outcomes, again)
    frames = [_rows(spec, outcome, False) for outcome in outcomes] + [_rows(spec, outcome, True) for outcome in again]
    store.write_table("trials", pd.DataFrame([row for rows in frames for row in rows]))
    store.write_table("changes", pd.DataFrame(_changes(outcomes, False) + _changes(again, True)))
    store.write_json("findings", findings(report))
    for name, data in figures(report).items():
        store.write_bytes(name, data)
    store.write_text("table.txt", to_text(report, TEXT_WIDTH))
    return report


def findings(report: SweepReport) -> dict[str, Any]:
    """Verdicts, curves, thresholds and front as plain JSON values; null for what is not a finite number."""
    spec = report.spec
    plain: dict[str, Any] = {
        "sweep": spec.model_dump(mode="json", exclude={"trials"}),
        "verdicts": list(report.verdicts),
    }
    if spec.mode == "pareto":
        plain["front"] = [outcome.trial.number for outcome in front(spec, report.outcomes)]
        return plain
    plain["lines"] = [
        {
            "metric": metric,
            "at": line.at,
            "seeds": list(line.seeds),
            "lost": list(line.lost),
            "p": line.p,
            "curve": None
            if line.curve is None
            else {
                name: [_finite(number) for number in getattr(line.curve, name).tolist()]
                for name in ("doses", "mean", "low", "high", "fit")
            },
            "threshold": None
            if line.threshold is None
            else {
                "between": [_finite(dose) for dose in line.threshold.between],
                **{name: _finite(getattr(line.threshold, name)) for name in ("limit", "low", "high")},
            },
        }
        for metric in shown_metrics(spec, report.outcomes)
        for line in lines(spec, report.outcomes, metric)
    ]
    return plain


def _rows(spec: SweepSpec, outcome: Outcome, held_out: bool) -> list[dict[str, Any]]:
    settings = {axis.name: outcome.trial.settings[axis.path] for axis in spec.over}
    return [
        {
            "trial": outcome.trial.number,
            **settings,
            "held_out": held_out,
            "arm": outcome.arm,
            "control": outcome.control,
            "metric": metric,
            "mean": effect.interval.mean,
            "low": effect.interval.low,
            "high": effect.interval.high,
            "num_seeds": effect.interval.num,
            "lost": len(effect.lost),
            "p": effect.p,
        }
        for metric, effect in sorted(outcome.effects.items())
    ]


def _changes(outcomes: Sequence[Outcome], held_out: bool) -> list[dict[str, Any]]:
    return [
        {"trial": outcome.trial.number, "held_out": held_out, "metric": metric, "seed": seed, "effect": number}
        for outcome in outcomes
        for metric, effect in sorted(outcome.effects.items())
        for seed, number in zip(effect.seeds, effect.per_seed, strict=True)
    ]


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
