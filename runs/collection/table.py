"""Ending of a collection: one table with a line per study, for terminals of any width from `NARROWEST` on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kerf.lab.metrics import Kind, Metric
from kerf.lab.statistics.intervals import Interval
from kerf.lab.statistics.text import signed
from kerf.runs.collection.summary import FAILED, HELD, OPEN, Change, Row, Summary
from kerf.runs.report.conclusion import question_of
from kerf.runs.report.ending import MOST_LINES, wrapped
from kerf.runs.terminal.console import shell

NARROWEST, WIDEST = 80, 110
"""Characters of a line at the least and at the most."""

LEAST_NAME = 8
"""Characters of a name that is cut short, at the least."""

CUT = "…"

ASKED_FOR, LEFT_OUT = "†", "°"
"""Marks of a change that the penalty asks for, and of one over fewer seeds than passed the gate."""

NUMBERS = len("-0.97 [-1.00,-0.94]")
VERDICTS = "held/failed/open"


def summary_lines(summary: Summary, folder: Path, width: int) -> list[str]:
    """The table with its legend and the next commands, commands excepted at most `width` characters wide."""
    width = max(NARROWEST, min(WIDEST, width))
    collected = summary.collected
    lines = [*wrapped(f"{collected.name}: {question_of(collected.about)}", width, "  ", 2), ""]
    lines += table_lines(summary.rows, width)
    missing = [f"missing   {collected.command}"] if any(row.instead for row in summary.rows) else []
    lines += ["", *legend(summary.rows, width, max(3, MOST_LINES - len(lines) - len(missing) - 3)), *missing]
    lines += [f"look      {shell('kerf', 'report', folder, '--open')}"]
    return [*lines, f"a study   {shell('kerf', 'show', folder / collected.studies[0])}"]


def table_lines(rows: Sequence[Row], width: int) -> list[str]:
    """The table: headings, then a line per row."""
    worlds = [row.world or row.study for row in rows]
    world = min(max(map(len, ("world", *worlds))), 11)
    counts = [_counts(row) for row in rows]
    last = max(map(len, ("+/-/?", *counts)))
    names = width - world - last - 2 * NUMBERS - 5
    left = names // 2
    right = names - left
    head = ("world", "aimed at", "change [95%]", "else, most", "change [95%]", "+/-/?")
    lines = [_line(head, world, left, right, last)]
    for row, shown, count in zip(rows, worlds, counts, strict=True):
        if row.instead or row.target is None:
            lines.append(cut(f"{cut(shown, world):{world}} {row.instead}", width))
            continue
        others = [change for change in row.others if change.effect.measurable]
        most = others[0] if others else None
        cells = (shown, name(row.target, row), numbers(row.target), *_other(most, row), count)
        lines.append(_line(cells, world, left, right, last))
    return lines


def _line(cells: Sequence[str], world: int, left: int, right: int, last: int) -> str:
    first, target, change, other, moved, count = cells
    return (
        f"{cut(first, world):{world}} {cut(target, left):{left}} {change:{NUMBERS}} "
        f"{cut(other, right):{right}} {moved:{NUMBERS}} {count:>{last}}"
    ).rstrip()


def _other(most: Change | None, row: Row) -> tuple[str, str]:
    return ("nothing else", "is measured") if most is None else (name(most, row), numbers(most))


def _counts(row: Row) -> str:
    return "" if row.instead else f"{row.count(HELD)}/{row.count(FAILED)}/{row.count(OPEN)}"


def name(change: Change, row: Row) -> str:
    """Name of a metric with its marks; of a skill in brackets."""
    named = Metric.parse(change.metric)
    shown = f"({named.words[0]})" if named.kind is Kind.SKILL else change.label
    shown = shown.removeprefix("the share of ")
    return shown + ASKED_FOR * change.asked_for + LEFT_OUT * (0 < len(change.effect.seeds) < row.num_seeds)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` characters; marks at its end stay."""
    if len(text) <= width:
        return text
    bare = text.rstrip(ASKED_FOR + LEFT_OUT)
    marks = text[len(bare) :]
    return bare[: max(1, width - len(marks) - 1)] + CUT + marks


def numbers(change: Change) -> str:
    """A change with its interval, or that its skill was lost."""
    interval: Interval = change.effect.interval
    if not change.effect.measurable:
        return "skill lost"
    if not interval.bounded:
        return f"{signed(interval.mean)} [no interval]"
    return f"{signed(interval.mean)} [{signed(interval.low)},{signed(interval.high)}]"


def legend(rows: Sequence[Row], width: int, most: int) -> list[str]:
    """How to read the table, in at most so many lines."""
    shown = [change for row in rows for change in (row.target, *row.others[:1]) if change is not None]
    marks = {mark for row in rows for change in (row.target, *row.others[:1]) if change for mark in name(change, row)}
    text = (
        "Changes: in the arm of a study's first prediction, less those in the arm it is compared with. Aimed at: what "
        "the penalty falls on, or the proxy leads away from. Else, most: what moved most of all other values and "
        "skills; the choice flatters its size. +/-/?: predictions that held, failed, are undecided."
    )
    if any(Metric.parse(change.metric).kind is Kind.SKILL for change in shown):
        text += " In brackets: skills."
    if ASKED_FOR in marks:
        text += f" {ASKED_FOR}: the penalty asks for it, too."
    if LEFT_OUT in marks:
        text += f" {LEFT_OUT}: over seeds that kept their skills."
    return wrapped(text, width, "", most)
