"""Page of a collection: one self-contained HTML file, made from the records of its studies alone.

It is made by the same templates as the page of a study, whose page it links to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kerf.lab.statistics.text import interval_text
from kerf.runs.collection.summary import FAILED, HELD, OPEN, Change, Row, Summary
from kerf.runs.records.store import Store
from kerf.runs.report.conclusion import Conclusion, question_of
from kerf.runs.report.page import PAGE
from kerf.runs.report.page.figure import TEXT, DataTable, Figure, Section, TableBlock, axis
from kerf.runs.report.page.render import render

MOST_OTHERS = 3
"""Other metrics of a study in the figure, those that moved most; the table below it has all."""

LINE = 22
"""Pixels of a line of the figure."""

CSV = "summary.csv"
"""File name of the summary's data, in the folder of the collection."""

COLUMNS = (
    *("study", "world", "arm", "against", "treatment", "role", "metric"),
    *("mean", "low", "high", "num_seeds", "lost", "p_bh"),
)
"""Columns of the data; `role` is `target`, `other`, `asked for` or `utility`."""


def write_page(summary: Summary, folder: Path) -> Path:
    """Write the page and the summary's data to the folder of the collection; returns the path of the page."""
    store = Store(folder)
    store.write_bytes(CSV, data(summary.rows).csv().encode())
    store.write_bytes(PAGE, make_page(summary, folder))
    return folder / PAGE


def make_page(summary: Summary, folder: Path) -> bytes:
    """Make the page; equal records give equal bytes."""
    told = [row for row in summary.rows if not row.instead]
    found = summary.collected
    conclusion = Conclusion(
        found.name,
        question_of(found.about),
        found.about,
        [*(f"{row.study}: {row.instead}." for row in summary.rows if row.instead)],
        also=list(_sentences(told)),
    )
    return render(conclusion, [*_sections(summary, told, folder)])


def _sentences(rows: Sequence[Row]) -> Iterator[str]:
    """The conclusion in numbers of studies and predictions."""
    moved = [row for row in rows if row.target is not None and row.target.effect.measurable and _differs(row.target)]
    yield f"The target moved in {len(moved)} of {len(rows)} studies: the interval of its change leaves out 0."
    beside = [row for row in rows if any(other.p < 0.05 for other in row.others if not other.asked_for)]
    yield (
        f"Something else moved in {len(beside)} of them, by a permutation test at a false discovery rate of 0.05 over "
        "the other values and skills of each study, without those whose change the penalty asks for."
    )
    counts = {word: sum(row.count(word) for row in rows) for word in (HELD, FAILED, OPEN)}
    total = ", ".join(f"{number} {word}" for word, number in counts.items())
    yield f"Of {sum(counts.values())} predictions that the recipes registered: {total}."


def _differs(change: Change) -> bool:
    interval = change.effect.interval
    return interval.bounded and interval.excludes(0.0)


def _sections(summary: Summary, rows: Sequence[Row], folder: Path) -> Iterator[Section]:
    if rows:
        yield Section("moved", "What was aimed at, and what else moved", "", [forest(rows)], short="What moved")
        intro = "A prediction of no change counts as held if the interval lies within the margin of no effect."
        yield Section("predictions", "What was predicted", intro, [predictions(rows)], short="Predictions")
    links = [
        (f"{row.study}: the page of the study", f"{row.study}/{PAGE}")
        for row in summary.rows
        if (folder / row.study / PAGE).exists()
    ]
    lines = [f"{row.study}: {warning}" for row in rows for warning in row.warnings]
    yield Section("studies", "The studies", "", [studies(rows)] if rows else [], lines, links=links)
    intro = "Each study's page says by what it was made. This runs the collection again:"
    yield Section("provenance", "Provenance", intro, code=summary.collected.command)


def forest(rows: Sequence[Row]) -> Figure:
    """A group of lines per world: the target, then what else moved most, each with its interval."""
    lines: list[tuple[Row, Change, bool]] = []
    shapes: list[dict[str, Any]] = []
    for row in rows:
        assert row.target is not None
        if lines:
            at = len(lines) - 0.5
            across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at}
            shapes.append({**across, "line": {"color": "@grey", "width": 1, "dash": "dot"}})
        measured = [change for change in row.others if change.effect.measurable]
        lines += [(row, row.target, True), *((row, change, False) for change in measured[:MOST_OTHERS])]
    labels = [
        f"<b>{row.world}</b>  {_short(change)}" if first else f"{_short(change)}{' †' if change.asked_for else ''}"
        for row, change, first in lines
    ]
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": TEXT, "width": 1}}
    return Figure(
        "forest",
        "Which values moved, beside the one that was aimed at?",
        "A group of lines is a world. Its first line (diamond) is what the penalty, or the proxy, was aimed at; the "
        f"others (circles) are the {MOST_OTHERS} values or skills that moved most besides, chosen for their size, "
        "which flatters it; the table below has all. A point is the change of the arm of the study's first prediction, "
        "less that of the arm that it is compared with, mean over seeds, with its 95% interval. †: the penalty asks "
        "for it, for an ideal observer cannot tell these scenarios from the forgeries. Of exits on forgeries fewer are "
        "better, of all else more.",
        [_points(lines, True), _points(lines, False)],
        {
            "xaxis": axis("change, less that of the arm compared with", range=[-1.05, 1.05]),
            "yaxis": {
                **axis(""),
                "tickvals": list(range(len(lines))),
                "ticktext": labels,
                "range": [len(lines) - 0.5, -0.5],
                "automargin": True,
                "showgrid": False,
                "zeroline": False,
            },
            "shapes": [zero, *shapes],
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        },
        data(rows),
        height=130 + LINE * len(lines),
    )


def _points(lines: Sequence[tuple[Row, Change, bool]], first: bool) -> dict[str, Any]:
    """The points of all targets, or of all others, with their intervals; a lost skill has none."""
    chosen = [
        (number, row, change)
        for number, (row, change, is_first) in enumerate(lines)
        if is_first == first and change.effect.measurable
    ]
    intervals = [change.effect.interval for _, _, change in chosen]
    colour, symbol, named = ("@1", "diamond", "aimed at") if first else ("@0", "circle", "what else moved most")
    return {
        "type": "scatter", "mode": "markers", "name": named,
        "x": [interval.mean for interval in intervals], "y": [number for number, _, _ in chosen],
        "marker": {"color": colour, "size": 10 if first else 8, "symbol": symbol},
        "error_x": {
            "type": "data", "color": colour, "thickness": 1.5, "width": 4,
            "array": [interval.high - interval.mean if interval.bounded else 0.0 for interval in intervals],
            "arrayminus": [interval.mean - interval.low if interval.bounded else 0.0 for interval in intervals],
        },
        "text": [
            f"{row.study}: {change.label}<br>{row.arm}, against {row.against}<br>{interval_text(interval)}, "
            f"{len(change.effect.seeds)} seeds"
            for (_, row, change), interval in zip(chosen, intervals, strict=True)
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _short(change: Change) -> str:
    return change.label.removeprefix("the share of ")


def data(rows: Sequence[Row]) -> DataTable:
    """All changes of all studies, one a row."""
    cells = []
    for row in rows:
        for role, change in _changes(row):
            interval, effect = change.effect.interval, change.effect
            found = (interval.mean, interval.low, interval.high, len(effect.seeds), len(effect.lost), change.p)
            cells.append((row.study, row.world, row.arm, row.against, row.treatment, role, change.metric, *found))
    return DataTable(COLUMNS, cells)


def _changes(row: Row) -> Iterator[tuple[str, Change]]:
    """The changes of a study with their roles; none if there is nothing to tell."""
    if row.target is not None:
        yield "target", row.target
    for change in row.others:
        yield "asked for" if change.asked_for else "other", change
    if row.utility is not None:
        yield "utility", row.utility


def predictions(rows: Sequence[Row]) -> TableBlock:
    """Every prediction with its verdict."""
    cells = [
        (row.study, each.word, each.sentence, each.effect, each.name, each.outcome)
        for row in rows
        for each in row.predicted
    ]
    columns = ("study", "verdict", "prediction", "effect [95% interval]", "name", "outcome in the records")
    return TableBlock("verdicts", "Every prediction", "", DataTable(columns, cells))


def studies(rows: Sequence[Row]) -> TableBlock:
    """What was compared in each study."""
    cells = [(row.study, row.world, row.arm, row.against, row.treatment, row.num_seeds) for row in rows]
    columns = ("study", "world", "arm", "compared with", "the arm is trained by", "seeds")
    return TableBlock("compared", "What is compared", "", DataTable(columns, cells))
