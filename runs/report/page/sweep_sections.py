"""Sections of a sweep, from its records: verdicts, dose-response curves, phase diagram, Pareto front, all trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.runs.records.store import Store
from kerf.runs.report.page.figure import (
    DASHES,
    DIVERGING,
    MARKERS,
    NUM_COLOURS,
    TEXT,
    TEXT_FONT,
    DataTable,
    Figure,
    Section,
    TableBlock,
    axis,
)
from kerf.runs.report.page.front_figure import front_figure
from kerf.runs.report.page.sweep_records import SweepRecords
from kerf.runs.report.table import metric_label


def sweep_sections(store: Store) -> list[Section]:
    """The sections of a finished sweep."""
    records = SweepRecords.read(store)
    if records.spec["mode"] == "pareto":
        figures = [front_figure(records)]
    else:
        figures = [*dose_figures(records), *phase_figure(records)]
    table = trials_table(records)
    return [
        Section("sweep", "What the sweep found", "", figures),
        Section("trials", "Every trial", "", [table]),
    ]


def dose_figures(records: SweepRecords) -> Iterator[Figure]:
    """Dose-response curves: a figure per metric, a line per value of the second setting."""
    lines = records.findings["lines"]
    dose = records.axes[0]
    for metric in dict.fromkeys(line["metric"] for line in lines):
        drawn = [line for line in lines if line["metric"] == metric and line["curve"] is not None]
        if not drawn:
            continue
        traces: list[Mapping[str, Any]] = []
        rows: list[tuple[Any, ...]] = []
        for number, line in enumerate(drawn):
            traces += _curve(line, number, records)
            curve = line["curve"]
            names = ("doses", "mean", "low", "high", "fit")
            rows += [(line["at"], *point) for point in zip(*(curve[name] for name in names), strict=True)]
        second = records.axes[1] if len(records.axes) > 1 else "second setting"
        yield Figure(
            f"dose-{metric.replace('/', '-')}",
            f"How does {_short(metric, records)} change with {dose}?",
            f"Up: {records.label(metric)}. "
            "Points are mean effects against the control over the seeds of every dose, with 95% intervals; the line "
            "is a monotone fit. Dotted: no effect; dashed: the limit that was asked about, if any.",
            traces,
            {
                "xaxis": axis(dose),
                "yaxis": axis(f"change of {_short(metric, records)}"),
                "shapes": _levels(records, metric),
            },
            DataTable((second, dose, "mean", "low", "high", "fit"), rows),
            height=380,
        )


def _short(metric: str, records: SweepRecords) -> str:
    return metric if metric in (ROBUSTNESS, COLLATERAL) else metric_label(metric, records.words)


def _curve(line: Mapping[str, Any], number: int, records: SweepRecords) -> Iterator[dict[str, Any]]:
    """The fit and the points of one line, with their intervals."""
    curve, colour = line["curve"], f"@{number % NUM_COLOURS}"
    name = "fit" if line["at"] is None else f"{records.axes[1]} {line['at']:g}"
    group = {"legendgroup": str(number), "name": name}
    yield {
        "type": "scatter", "mode": "lines", "x": curve["doses"], "y": curve["fit"], "hoverinfo": "skip", **group,
        "line": {"color": colour, "width": 2, "dash": DASHES[number % len(DASHES)]},
    }  # fmt: skip
    pairs = list(zip(curve["mean"], curve["low"], curve["high"], strict=True))
    up = [None if high is None else high - mean for mean, _, high in pairs]
    down = [None if low is None else mean - low for mean, low, _ in pairs]
    yield {
        "type": "scatter", "mode": "markers", "x": curve["doses"], "y": curve["mean"], "showlegend": False, **group,
        "marker": {"color": colour, "size": 8, "symbol": MARKERS[number % len(MARKERS)]},
        "error_y": {"type": "data", "array": up, "arrayminus": down, "color": colour, "thickness": 1.2, "width": 3},
        "hovertemplate": f"{name}<br>dose %{{x}}: %{{y:.3f}}<extra></extra>",
    }  # fmt: skip


def _levels(records: SweepRecords, metric: str) -> list[dict[str, Any]]:
    """Horizontal lines at no effect and at the limit."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1}
    shapes = [{**line, "y0": 0, "y1": 0, "line": {"color": "@grey", "width": 1, "dash": "dot"}}]
    limit = records.spec["limit"]
    if limit is not None and limit["metric"] == metric:
        at = limit["change"]
        shapes.append({**line, "y0": at, "y1": at, "line": {"color": TEXT, "width": 1.5, "dash": "dash"}})
    return shapes


def phase_figure(records: SweepRecords) -> list[Figure]:
    """Effects over both settings as a heat map, for a sweep over two."""
    if len(records.axes) != 2:
        return []
    limit = records.spec["limit"]
    metric = records.traded[1] if limit is None else limit["metric"]
    across, up = records.axes
    means = records.means(metric)
    x, y = (sorted(set(means[name])) for name in (across, up))
    by_place = {(row[across], row[up]): row["mean"] for row in means.to_dict("records")}
    z = [[by_place.get((a, b), math.nan) for a in x] for b in y]
    passed = "" if limit is None else " Cells beyond the limit are marked by !."
    text = [["" if math.isnan(cell) else f"{cell:+.2f}{_beyond(cell, limit)}" for cell in row] for row in z]
    trace: dict[str, Any] = {
        "type": "heatmap", "x": [f"{a:g}" for a in x], "y": [f"{b:g}" for b in y], "z": z, "zmin": -1, "zmax": 1,
        "colorscale": DIVERGING, "text": text, "texttemplate": "%{text}", "textfont": TEXT_FONT, "xgap": 2, "ygap": 2,
        "hovertemplate": f"{across} %{{x}}, {up} %{{y}}: %{{z:.3f}}<extra></extra>",
        "colorbar": {"thickness": 12, "len": 0.8},
    }  # fmt: skip
    columns = (across, up, "mean", "low", "high", "num_seeds")
    return [
        Figure(
            "phase",
            f"Where do {across} and {up} together change {_short(metric, records)}?",
            f"{records.label(metric)}, mean over seeds, at every setting that was tried.{passed}",
            [trace],
            {
                "xaxis": axis(across, type="category", showgrid=False),
                "yaxis": axis(up, type="category", showgrid=False),
            },
            DataTable(columns, means[list(columns)].to_numpy().tolist()),
            height=160 + 44 * len(y),
        )
    ]


def _beyond(cell: float, limit: Mapping[str, Any] | None) -> str:
    if limit is None:
        return ""
    change = limit["change"]
    return " !" if (cell <= change if change < 0 else cell >= change) else ""


def trials_table(records: SweepRecords) -> TableBlock:
    """Mean effects of every trial."""
    wide = records.trials.pivot_table("mean", ["trial", "held_out"], "metric", dropna=False)
    settings = records.trials.drop_duplicates("trial").set_index("trial")[records.axes]
    metrics = list(wide.columns)
    rows: list[Sequence[Any]] = [
        (trial, "held out" if held_out else "", *settings.loc[trial], *row)
        for (trial, held_out), row in zip(wide.index, wide.to_numpy().tolist(), strict=True)
        if any(not math.isnan(cell) for cell in row)
    ]
    caption = f"Mean effects of {records.spec['arm']} against {records.spec['control']} over seeds."
    columns = ("trial", "seeds", *records.axes, *metrics)
    return TableBlock("all-trials", "Effects of every trial", caption, DataTable(columns, rows), folded=True)
