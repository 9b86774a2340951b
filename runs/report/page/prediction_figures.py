"""Figures of the predictions of a study: the arms that each compares, seed by seed, and theory's penalty threshold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kerf.runs.report.conclusion import metric_words
from kerf.runs.report.effects import ALIGNED, replayed
from kerf.runs.report.judged import Judged
from kerf.runs.report.page.figure import TEXT, DataTable, Figure, axis
from kerf.runs.report.page.study import Study

HALF = {"color": "@grey", "width": 1, "dash": "dot"}
PREDICTED = {"color": TEXT, "width": 2, "dash": "dash"}


def paired(study: Study, item: Judged, number: int) -> Figure:
    """A line per seed between the two arms that a prediction compares."""
    primary, ends = item.primary, study.ends
    finding = study.conclusion.findings[number]
    start = ends.scores(ends.aligned, primary.arm, primary.metric)
    against = start if primary.against == ALIGNED else ends.scores(ends.final, primary.against, primary.metric)
    arm = ends.scores(ends.final, primary.arm, primary.metric)
    places = ["aligned", primary.against, primary.arm]
    traces: list[dict[str, Any]] = []
    for seed in sorted(arm):
        lost = seed in item.effect.lost
        y = [start[seed], against[seed], arm[seed]]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": places, "y": y, "name": f"seed {seed}",
                "line": {"color": "@grey" if lost else "@0", "width": 1, "dash": "dot" if lost else "solid"},
                "marker": {"size": 6, "symbol": "x" if lost else "circle", "color": "@grey" if lost else "@0"},
                "opacity": 0.6, "showlegend": False, "meta": [primary.arm, seed],
                "hovertemplate": f"seed {seed}{' (skill lost)' if lost else ''}<br>%{{x}}: %{{y:.3f}}<extra></extra>",
            }
        )  # fmt: skip
    means = [float(np.mean(list(of.values()))) for of in (start, against, arm)]
    traces.append(
        {
            "type": "scatter", "mode": "markers", "x": places, "y": means, "name": "mean", "showlegend": False,
            "meta": [primary.arm],
            "marker": {"size": 16, "symbol": "line-ew", "line": {"width": 3, "color": TEXT}},
            "hovertemplate": "mean, %{x}: %{y:.3f}<extra></extra>",
        }
    )  # fmt: skip
    label = metric_words(primary.metric, study.report.words)
    rows = [(seed, start[seed], against[seed], arm[seed], seed in item.effect.lost) for seed in sorted(arm)]
    return Figure(
        f"prediction-{primary.name}",
        f"{finding.sign} {finding.words}: {finding.sentence}: {finding.effect}",
        f"A line is a seed: {label} before the arms, at the end of {primary.against}, and at the end of {primary.arm}; "
        f"a bar is the mean. {item.verdict.sentence} Falsified by: {primary.falsified_by}.",
        traces,
        {"xaxis": {"type": "category"}, "yaxis": axis(label, automargin=True), "margin": {"t": 20}},
        DataTable(("seed", "aligned", primary.against, primary.arm, "skill lost"), rows),
        height=330,
        value=replayed(primary.metric),
    )


def crossing_figure(study: Study) -> Figure:
    """Help that is left against the penalty, a line per seed, and the threshold that theory gives."""
    crossing = study.report.crossing
    assert crossing is not None
    theory, ends = study.manifest["theory"], study.ends
    arms = sorted(crossing.prediction.arms, key=lambda arm: float(theory[arm]["penalty"]))
    doses = [float(theory[arm]["penalty"]) for arm in arms]
    traces: list[dict[str, Any]] = []
    rows: list[tuple[Any, ...]] = []
    for seed in crossing.brackets:
        shares = []
        for arm in arms:
            start, end = (ends.scores(frame, arm, crossing.metric)[seed] for frame in (ends.aligned, ends.final))
            shares.append(end / start if start else math.nan)
        rows += [(seed, arm, dose, share) for arm, dose, share in zip(arms, doses, shares, strict=True)]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": doses, "y": shares, "name": f"seed {seed}",
                "line": {"color": "@0", "width": 1}, "marker": {"size": 6, "color": "@0"}, "opacity": 0.6,
                "showlegend": False, "hovertemplate": f"seed {seed}<br>penalty %{{x}}: %{{y:.0%}}<extra></extra>",
            }
        )  # fmt: skip
    finding = study.conclusion.findings[-1]
    shapes = [{"type": "line", "y0": 0.5, "y1": 0.5, "x0": min(doses), "x1": max(doses), "line": HALF}]
    if math.isfinite(crossing.predicted):
        at = crossing.predicted
        shapes.append({"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": PREDICTED})
    return Figure(
        f"prediction-{crossing.prediction.name}",
        f"{finding.sign} {finding.words}: {finding.sentence}: {finding.effect}",
        f"A line is a seed: how much help is left at the end of arms that differ in their penalty alone. Help has "
        f"ended where a line falls below half (dotted); theory says that it does at the dashed line. "
        f"{crossing.sentence(study.report.crossing_p)} Falsified by: {crossing.prediction.falsified_by}.",
        traces,
        {
            "xaxis": axis("penalty"),
            "yaxis": axis("help left", tickformat=".0%", rangemode="tozero"),
            "shapes": shapes,
        },
        DataTable(("seed", "arm", "penalty", "help left"), rows),
        height=380,
    )
