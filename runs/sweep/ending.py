"""Ending of a sweep: its conclusion in at most `MOST_LINES` lines, from its records alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.lab.statistics.intervals import MIN_SEEDS
from kerf.lab.statistics.text import signed
from kerf.runs.records.gate_records import gate_warnings
from kerf.runs.records.store import Store
from kerf.runs.report.ending import MOST_LINES, NARROWEST, WIDEST, commands, first_lines, wrapped
from kerf.runs.report.page.sweep_records import SweepRecords
from kerf.runs.report.table import metric_label

MOST_VERDICTS = 10
"""Lines of verdicts."""

BAR = 20
"""Characters of the longest bar."""


def sweep_ending(store: Store, width: int, mlflow: str | None = None) -> list[str]:
    """The ending as lines of at most `width` characters, commands excepted.

    Args:
        store: Store of the finished sweep.
        width: Characters per line.
        mlflow: Command or address that shows the sweep in MLflow; None: `kerf sync` is proposed.
    """
    width = max(NARROWEST, min(WIDEST, width))
    records = SweepRecords.read(store)
    warnings = [
        line
        for warning in (*gate_warnings(store), *_warnings(records))
        for line in wrapped(f"Warning: {warning}", width, "         ", 3)
    ]
    asked = wrapped(f"{store.manifest()['name']}: {sweep_question(records)}", width, "  ", 2)
    verdicts = [line for verdict in records.findings["verdicts"] for line in wrapped(f"- {verdict}", width, "  ", 5)]
    verdicts = first_lines(verdicts, MOST_VERDICTS)
    unknown = wrapped(f"Not known: {'; '.join(_unknown(records))}.", width, "  ", 4)
    to_go_on = commands(store.path, mlflow, has_page=True, has_replays=False)
    parts = [first_lines(warnings, 6), asked, verdicts, unknown, to_go_on]
    room = MOST_LINES - sum(map(len, parts)) - sum(map(bool, parts))
    chart = _chart(records, width, room)
    shown = [part for part in (*parts[:3], chart, *parts[3:]) if part]
    return [line for index, part in enumerate(shown) for line in ([""] if index else []) + part]


def sweep_question(records: SweepRecords) -> str:
    """What the sweep asks, in a sentence."""
    spec, settings = records.spec, " and ".join(records.axes)
    if spec["mode"] == "threshold":
        limit = spec["limit"]
        what = metric_label(limit["metric"], records.words)
        verb = "lost" if limit["change"] < 0 else "gained"
        return f"at which {settings} has {what} {verb} {abs(limit['change']):g} in {spec['arm']}?"
    if spec["mode"] == "dose":
        return f"what does {spec['arm']} change, by {settings}?"
    most = f"suppresses the most {records.words.elicited} and costs the least elsewhere"
    return f"which {settings} of {spec['arm']} {most}?"


def _warnings(records: SweepRecords) -> Iterator[str]:
    seeds = int((records.trials["num_seeds"] + records.trials["lost"]).max())
    if seeds == 1:
        yield "1 seed: no interval can be given, and no difference can be told from chance."
    elif seeds < MIN_SEEDS:
        yield f"{seeds} seeds: below {MIN_SEEDS} no interval is reliable."
    lost = records.trials[records.trials["lost"] > 0]["trial"].nunique()
    if lost:
        yield f"Skills were lost in {lost} of {records.trials['trial'].nunique()} trials."


def _unknown(records: SweepRecords) -> Iterator[str]:
    spec = records.spec
    if spec["mode"] == "pareto":
        trials = records.trials["trial"].nunique()
        yield f"what more than these {trials} trials would find (--trials)"
        if not spec["held_out"]:
            yield "how the front does on seeds that did not select it (--held-out)"
        return
    metric = _asked(records)
    found = [line for line in records.findings["lines"] if line["metric"] == metric]
    what, dose = metric_label(metric, records.words), records.axes[0]
    for line in found:
        where = "" if line["at"] is None else f" at {records.axes[1]} {line['at']:g}"
        reached = line["threshold"]
        if line["curve"] is None:
            yield f"anything about {what}{where}: skills were lost"
        elif reached is not None:
            below, above = reached["between"]
            if above is None:
                yield f"whether it is reached beyond {dose} {below:.3g}{where} (a wider --over)"
            elif below < above:
                yield f"where between {dose} {below:.3g} and {above:.3g}{where}"
            if reached["low"] is None:
                yield f"an interval of it{where} (more --seeds)"
        elif line["p"] >= 0.05:
            yield f"whether {what} changes with {dose}{where} (more --seeds)"
    yield f"what {dose} does outside of the values that were tried"


def _asked(records: SweepRecords) -> str:
    """The metric of the verdicts."""
    limit = records.spec["limit"]
    return records.traded[1] if limit is None else str(limit["metric"])


def _chart(records: SweepRecords, width: int, room: int) -> list[str]:
    """Mean changes as bars, a row for each dose, or for each trial on the front."""
    if records.spec["mode"] == "pareto":
        means = [records.means(metric).set_index("trial") for metric in (ROBUSTNESS, COLLATERAL)]
        front = records.findings["front"]
        labels = [", ".join(f"{name} {means[0].loc[trial, name]:.3g}" for name in records.axes) for trial in front]
        changes = [[float(of.loc[trial, "mean"]) for of in means] for trial in front]
        return _bars(["robustness", "collateral"], list(zip(labels, changes, strict=True)), width, room)
    metric, axes = _asked(records), records.axes
    rows_of = records.means(metric)
    heading = f"change of {metric_label(metric, records.words)}"
    if len(axes) > 1:
        most = rows_of[axes[1]].max()
        rows_of, heading = rows_of[rows_of[axes[1]] == most], f"{heading} at {axes[1]} {most:g}"
    ordered = rows_of.sort_values(axes[0])
    shown: list[tuple[str, list[float]]] = [
        (f"{axes[0]} {dose:.3g}", [float(mean)]) for dose, mean in zip(ordered[axes[0]], ordered["mean"], strict=True)
    ]
    return _bars([heading], shown, width, room)


def _bars(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]], width: int, room: int) -> list[str]:
    if len(rows) > room - 1:  # evenly chosen, both ends among them
        if room < 3:
            return []
        rows = [rows[round(index * (len(rows) - 1) / (room - 2))] for index in range(room - 1)]
    if not rows:
        return []
    name = max(len(label) for label, _ in rows) + 2
    each = (width - name) // len(headings)
    bar = min(BAR, each - 9)
    if bar < 4:
        return []
    most = max((abs(mean) for _, means in rows for mean in means if math.isfinite(mean)), default=0.0) or 1.0
    cell = max(bar + 9, max(map(len, headings)) + 2) if len(headings) > 1 else each
    lines = [" " * name + "".join(heading.ljust(cell) for heading in headings)]
    for label, means in rows:
        lines.append(label.ljust(name) + "".join(_cell(mean, bar, most).ljust(cell) for mean in means))
    return [line.rstrip()[:width] for line in lines]


def _cell(mean: float, bar: int, most: float) -> str:
    if not math.isfinite(mean):
        return "skill lost"
    return f"{signed(mean):>6} {'█' * round(abs(mean) / most * bar)}"
