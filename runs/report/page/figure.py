"""Figures and tables of the page as plain data: traces and layout of plotly, and the same numbers as rows.

Colours are names that start with `@`; the page replaces them by those of its light or dark theme.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")
NUM_COLOURS = 7
"""Colours `@0` to `@6` of a theme; with dashes and markers no series is told apart by colour alone."""

GREY, TEXT, DIVERGING = "@grey", "@text", "@diverging"

TEXT_FONT = {"size": 12}
"""Font of the numbers in a heat map."""

MAP_MARGIN = {"l": 60, "r": 70, "t": 100, "b": 15}
"""Margins of a heat map, in pixels, with slanted labels above."""

DIGITS = 6
"""Significant digits of the numbers in the page."""


@dataclass(frozen=True)
class DataTable:
    """Rows under headings; the data of a figure, or a table of its own.

    Attributes:
        columns: Headings.
        rows: Cells: text, numbers, or None where there is none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def csv(self) -> str:
        """The table as CSV; empty cells where there is no number."""
        sink = io.StringIO()
        writer = csv.writer(sink, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if cell is None else cell for cell in map(rounded, row)] for row in self.rows])
        return sink.getvalue()

    def cells(self) -> list[list[str]]:
        """The rows as text for readers: three decimals at most."""
        return [[cell_text(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        id: Its anchor in the page.
        title: What is to be seen.
        caption: How to read it.
        traces: Traces of plotly.
        layout: Layout of plotly, without colours and fonts.
        table: The same numbers.
        height: In pixels.
        folded: Whether it is shown on demand only.
        value: Name of the value, or `kerf.runs.report.effects.FORGED`, whose replay shows what the figure counts; empty
            if there is none.
    """

    id: str
    title: str
    caption: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    table: DataTable
    height: int = 420
    folded: bool = False
    value: str = ""

    def plain(self) -> dict[str, Any]:
        """What plotly needs, as JSON values."""
        return {"data": plain(list(self.traces)), "layout": plain(dict(self.layout)), "height": self.height}


@dataclass(frozen=True)
class TableBlock:
    """A table of its own.

    Attributes:
        id: Its anchor in the page.
        title: What is to be seen.
        caption: How to read it.
        table: The table.
        folded: Whether it is shown on demand only.
    """

    id: str
    title: str
    caption: str
    table: DataTable
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: Its anchor in the page.
        title: Its heading.
        intro: A paragraph below it.
        blocks: Figures and tables.
        lines: A list of sentences.
        code: Lines of a command.
        short: Its name in the list of sections, if that is not the heading.
        links: Text and address, relative to the page, of other files.
    """

    id: str
    title: str
    intro: str = ""
    blocks: Sequence[Figure | TableBlock] = ()
    lines: Sequence[str] = ()
    code: str = ""
    short: str = ""
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Look:
    """Look of a series: the same for an arm in every figure."""

    colour: str
    dash: str
    marker: str
    muted: bool = False

    def line(self, width: float) -> dict[str, Any]:
        return {"color": self.colour, "width": width, "dash": self.dash}


@dataclass(frozen=True)
class Looks:
    """Looks of the arms of a study. Muted arms (controls) are grey and differ in dash and marker.

    Attributes:
        arms: All arms.
        muted: The controls.
    """

    arms: Sequence[str]
    muted: frozenset[str] = field(default_factory=frozenset)

    def of(self, arm: str) -> Look:
        muted = [name for name in self.arms if name in self.muted]
        others = [name for name in self.arms if name not in self.muted]
        if arm not in others:
            index = muted.index(arm) if arm in muted else 0
            return Look(GREY, DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)], True)
        index = others.index(arm)
        dash = DASHES[index // NUM_COLOURS % len(DASHES)]
        return Look(f"@{index % NUM_COLOURS}", dash, MARKERS[index % len(MARKERS)])


def plain(value: Any) -> Any:
    """JSON values: numbers rounded to `DIGITS` digits, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return rounded(value)


def rounded(value: Any) -> Any:
    """A number rounded to `DIGITS` significant digits; None if it is not finite; anything else as it is."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None
    return value


def cell_text(value: Any) -> str:
    """A cell as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".").replace("-0", "0", 1) if abs(value) < 5e-4 else f"{value:.3f}"
    return str(value)


def axis(title: str, **settings: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": title}, **settings}
