"""Table of after-tests: what became of the value in each arm, and by which signs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from kerf.lab.after.verdict import ALPHA, SIGNS
from kerf.lab.statistics.effect import Effect
from kerf.lab.statistics.tests import smallest_p
from kerf.lab.statistics.text import bounds_text, signed
from kerf.runs.report.after.judged import AfterReport, Became
from kerf.runs.terminal.columns import ByGroups

WIDEST = 110
"""Characters of a sentence's line, even if the console is wider."""

BESIDE = (
    "savings: 1 - iterations to learn it again / iterations of agents that never had it; curves that do not get there "
    "count with all their iterations. new head: mean score of the value with a refitted head, on three kinds of trunk. "
    "bound to layouts: share of the change that is missing in layouts that training never showed; below 0, the change "
    "is larger there."
)
"""How to read the figures beside the signs."""

SIGN = {"kept": "=", "suppressed": "v", "erased": "x", "concealed": "?", "moved": ">", "undecided": "."}
"""A mark before each call, which needs no colour."""


class AfterTable:
    """The printed report.

    Args:
        report: The report.
    """

    def __init__(self, report: AfterReport) -> None:
        self._report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        report, width = self._report, min(WIDEST, options.max_width)
        naive = " and agents that never had it" if report.has_naive else ""
        yield Text(f"What became of `{report.value}`, against {report.control}{naive}", "bold")
        yield ""
        arm_width = max([len(one.arm) for one in report.became], default=0)
        for one in report.became:
            yield from self._called(one, arm_width, width)
        yield ""
        yield ByGroups(self._signs())
        yield from map(Text, textwrap.wrap(self._reading(), width))
        if (beside := self._beside()) is not None:
            yield ""
            yield ByGroups(beside)
            yield from map(Text, textwrap.wrap(BESIDE, width))
        seeds = max((len(one.value.seeds) for one in report.became), default=0)
        least = len(SIGNS) * smallest_p(seeds) if seeds else 1.0
        if least >= ALPHA:
            enough = next(n for n in range(seeds + 1, 65) if len(SIGNS) * smallest_p(n) < ALPHA)
            yield Text(f"With {seeds} seeds no sign can be shown: at least {enough} are needed.")
        for test, why in report.not_made.items():
            yield Text(f"Not made: {test}, since {why}.")

    def _called(self, one: Became, arm_width: int, width: int) -> Iterator[Text]:
        start = f"{SIGN[one.called.call]} {one.arm.ljust(arm_width)}  {one.called.call:<10}  "
        lines = textwrap.wrap(one.called.sentence, max(20, width - len(start)), break_on_hyphens=False)
        yield Text(start + (lines[0] if lines else ""))
        for line in lines[1:]:
            yield Text(" " * len(start) + line)

    def _measured(self) -> list[str]:
        return [name for name in SIGNS if any(name in one.signs for one in self._report.became)]

    def _signs(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("arm", no_wrap=True)
        measured = self._measured()
        table.add_column(Text(self._report.value), justify="right", no_wrap=True)
        for name in measured:
            table.add_column(SIGNS[name].heading, justify="right", no_wrap=True)
        for one in self._report.became:
            cells = [_cell(one.signs.get(name), name in one.called.shown) for name in measured]
            table.add_row(Text(one.arm), Text(_cell(one.value, False)), *map(Text, cells))
        return table

    def _beside(self) -> Table | None:
        """Figures that decide nothing; None if none of them was measured."""
        rows = {one.arm: _figures(one) for one in self._report.became}
        measured = list(dict.fromkeys(name for row in rows.values() for name in row))
        if not measured:
            return None
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("arm", no_wrap=True)
        for name in measured:
            table.add_column(name, justify="right", no_wrap=True)
        for arm, row in rows.items():
            table.add_row(Text(arm), *(Text(row.get(name, "-")) for name in measured))
        return table

    def _reading(self) -> str:
        told = [f"{SIGNS[name].heading}: {SIGNS[name].words}" for name in self._measured()]
        return (
            "Effects with 95% intervals over seeds; * marks a sign that is shown (adjusted p < .05, interval without "
            f"0, mean of at least {SIGNS['saved'].margin:g}). " + "; ".join(told) + "."
        )


def _figures(one: Became) -> dict[str, str]:
    found = {}
    if not math.isnan(one.savings):
        censored = f" ({one.censored[0]} of {len(one.savings_by_seed)} censored)" if one.censored[0] else ""
        found["savings"] = f"{one.savings:.0%}{censored}"
    if one.retained is not None:
        found["new head: arm / naive / random"] = " / ".join(f"{score:.2f}" for score in one.retained)
    for kind, share in one.bound.items():
        found[f"{kind} bound to layouts"] = "-" if share is None else f"{share:.0%}"
    return found


def _cell(effect: Effect | None, shown: bool) -> str:
    if effect is None or not effect.measurable:
        return "-"
    mark = "*" if shown else " "
    return f"{signed(effect.interval.mean)}{mark} {bounds_text(effect.interval)}"
