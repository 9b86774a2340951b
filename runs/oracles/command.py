"""Command `kerf oracles`: checks the oracles and prints predictions beside measurements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.errors import KerfError
from kerf.runs.bench.timing import one_quiet_thread, refuse_unwritable
from kerf.runs.oracles import ORACLES
from kerf.runs.oracles.oracle import Checked, Oracle, Row
from kerf.runs.records import atomic_io as disk

PASSED, FAILED = 0, 1
"""Exit codes."""

DIGITS = 6
"""Significant digits of a figure."""

WIDE = 100
"""Characters that the columns need."""

INDENT = (0, 0, 0, 4)
"""Padding of rows below a title: top, right, bottom, left."""


def ask(
    numbers: Iterable[int], json_file: Path | None, console: Console, oracles: Sequence[Oracle] | None = None
) -> int:
    """Check the oracles with these numbers (empty: all), print each result when it is known, and a summary.

    Args:
        numbers: Numbers of the oracles.
        json_file: Further file for the figures.
        console: Console to print to.
        oracles: Oracles to choose from; None: `ORACLES`.

    Returns:
        The exit code: 0 if all results agree with the predictions, else 1.

    Raises:
        KerfError: for an unknown number or an unwritable file; before anything is measured.
    """
    asked = chosen(ORACLES if oracles is None else oracles, numbers)
    refuse_unwritable(json_file)
    checked: list[Checked] = []
    console.print(Padding(_Rows((), heading=True), INDENT))
    with one_quiet_thread():
        for oracle in asked:
            with console.status(f"oracle {oracle.number}: {oracle.title}"):
                checked.append(oracle.check())
            console.print(answer(checked[-1]))
    failed = [one for one in checked if not one.passed]
    console.print(_summary(checked, failed))
    if json_file is not None:
        figures = {
            "passed": not failed,
            "failed": [one.oracle.number for one in failed],
            "oracles": [one.plain() for one in checked],
        }
        with disk.as_disk_error(json_file):
            disk.write(json_file, json.dumps(figures, indent=2, allow_nan=False).encode() + b"\n")
    return FAILED if failed else PASSED


def chosen(oracles: Sequence[Oracle], numbers: Iterable[int]) -> tuple[Oracle, ...]:
    """The oracles with these numbers, in the order of `oracles`; all if no numbers are given.

    Raises:
        KerfError: for an unknown number.
    """
    wanted, known = set(numbers), [oracle.number for oracle in oracles]
    if unknown := sorted(wanted - set(known)):
        raise KerfError(f"oracle {unknown[0]}: expected a number from {min(known)} to {max(known)}")
    return tuple(oracle for oracle in oracles if not wanted or oracle.number in wanted)


def answer(checked: Checked) -> RenderableType:
    """An oracle's title, its formula, and a line for each of its figures."""
    oracle = checked.oracle
    title = Text(f"{oracle.number:>2}  {oracle.title}  ", "bold")
    title.append(_verdict(checked.passed))
    return Group(title, Padding(Text(oracle.formula), INDENT), Padding(_Rows(checked.rows), INDENT), Text())


@dataclass(frozen=True)
class _Rows:
    """Figures in columns of the same width for all oracles; in lines where `WIDE` characters are not there."""

    rows: Sequence[Row]
    heading: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= WIDE:
            yield _table(self.rows, self.heading)
            return
        for row in self.rows:
            yield Text(f"{row.what}:")
            numbers = f"predicted {figure(row.predicted)}, measured {figure(row.measured)}"
            line = Text(f"  {numbers}, tolerance {figure(row.tolerance, 2)} ({row.reason}) ")
            yield line.append(_verdict(row.passed))


def _table(rows: Sequence[Row], heading: bool) -> Table:
    table = Table(box=None, expand=True, show_header=heading, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("figure", ratio=17)
    for name, width in (("predicted", 12), ("measured", 12), ("tolerance", 9)):
        table.add_column(name, justify="right", width=width, no_wrap=True)
    table.add_column("because", ratio=13)
    table.add_column("", width=4)
    for row in rows:
        table.add_row(
            Text(row.what),
            figure(row.predicted),
            figure(row.measured),
            figure(row.tolerance, 2),
            Text(row.reason),
            _verdict(row.passed),
        )
    return table


def figure(number: float, digits: int = DIGITS) -> str:
    """A number as text; integers are written in full."""
    if float(number).is_integer() and abs(number) < 10**DIGITS:
        return f"{number:,.0f}"
    return f"{number:.{digits}g}"


def _verdict(passed: bool) -> Text:
    return Text("pass") if passed else Text("FAIL", "bold")


def _summary(checked: Sequence[Checked], failed: Sequence[Checked]) -> Text:
    seconds = sum(one.seconds for one in checked)
    if failed:
        names = "; ".join(f"{one.oracle.number} ({one.oracle.title})" for one in failed)
        return Text(f"FAILED: {len(failed)} of {len(checked)} oracles in {seconds:.0f} s: {names}", "bold")
    return Text(f"All {len(checked)} oracles match their predictions, in {seconds:.0f} s.")
