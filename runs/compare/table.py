"""Text of a comparison of studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.metrics import COMPETENCE, UTILITY, exits_by_strength
from kerf.lab.statistics.text import interval_text
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.compare.comparison import ABSENT, Comparison
from kerf.runs.report.effects import ALIGNED
from kerf.runs.report.table import metric_label
from kerf.runs.terminal.columns import ByGroups

UNBOUNDED = 10_000
"""Characters per line where none is to be wrapped."""

MOST_SETTINGS = 12
"""Differing settings that are listed; an arm that only one recipe has counts as one."""


def headline(comparison: Comparison) -> list[str]:
    """The metrics that are shown unless all are asked for: what the world puts first, exits on the hardest forgeries,
    competence, utility."""
    measured = list(dict.fromkeys(found.metric for found in comparison.differences))
    exits = exits_by_strength(measured)
    hardest = [exits[max(exits)]] if exits else []
    first = focus(get_world(comparison.world))
    return [metric for metric in (*first, *hardest, COMPETENCE, UTILITY) if metric in measured]


def text(comparison: Comparison, metrics: Sequence[str]) -> RenderableType:
    """What differs in the recipes, and for each of the `metrics` a table of the effects with a row an arm."""
    parts: list[RenderableType] = [_settings(comparison), Text(f"\n{_how(comparison)}")]
    words = get_world(comparison.world).dilemma.words
    for metric in metrics:
        rows = [found for found in comparison.differences if found.metric == metric]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column(Text(metric_label(metric, words)), no_wrap=True)
        for heading in ("A", "B", "B - A"):
            table.add_column(heading, justify="right", no_wrap=True)
        for found in rows:
            excludes = found.difference.reliable and found.difference.excludes(0.0)
            style = "bold" if excludes else ""
            cells = [interval_text(part) for part in (found.first, found.second, found.difference)]
            table.add_row(Text(found.arm), *cells[:2], Text(("* " if excludes else "") + cells[2], style))
        parts += [Text(""), ByGroups(table)]
    parts.append(Text("\n* The 95% interval does not hold 0; not adjusted for the number of comparisons."))
    return Group(*parts)


def _settings(comparison: Comparison) -> RenderableType:
    if not comparison.settings:
        return Text("The recipes determine the same records.")
    rows: dict[str, tuple[str, str]] = {}
    for setting in comparison.settings:
        words = setting.path.split(".")
        missing = ABSENT in (setting.first, setting.second)
        path = ".".join(words[:2]) if missing and words[0] == "arms" else setting.path
        shown = (str(setting.first), str(setting.second))
        if path != setting.path:
            shown = ("" if setting.first == ABSENT else "yes", "" if setting.second == ABSENT else "yes")
        rows[path] = shown
    return _Settings([(path, *values) for path, values in list(rows.items())[:MOST_SETTINGS]], len(rows))


@dataclass(frozen=True)
class _Settings:
    """Differing settings: side by side where they fit, else the values below the name, which is then never folded.

    Attributes:
        rows: Name, value in A and value in B.
        num: How many there are; those beyond `rows` are counted.
    """

    rows: Sequence[tuple[str, str, str]]
    num: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("the recipes differ in", no_wrap=True)
        for name in ("A", "B"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row))
        if Measurement.get(console, options.update(max_width=UNBOUNDED), table).maximum <= options.max_width:
            yield table
        else:
            yield "the recipes differ in"
            for path, *values in self.rows:
                yield Padding(Text(path), (0, 0, 0, 2), expand=False)
                for name, value in zip("AB", values, strict=True):
                    if value:
                        yield Padding(Text(f"{name}  {value}"), (0, 0, 0, 4), expand=False)
        if self.num > len(self.rows):
            yield f"and {self.num - len(self.rows)} more"


def _how(comparison: Comparison) -> str:
    against = {found.against for found in comparison.differences}
    baseline = ", ".join(sorted(against - {ALIGNED}))
    effect = (
        f"Effects: change since alignment, less that of {baseline}" if baseline else "Effects: change since alignment"
    )
    if comparison.paired:
        num = len(comparison.paired)
        return f"{effect}. B - A is paired by seed: the aligned agents of all {num} seeds are the same bytes in both."
    return f"{effect}. B - A is not paired, by Welch's interval: the aligned agents differ between the studies."
