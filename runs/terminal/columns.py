"""Tables that never cut a number: columns that do not fit the width are printed as further tables below."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text


class ByGroups:
    """A table whose columns are split into stacked tables as wide as the console.

    Title and caption stand above and below, as wide as the console. Where a column does not fit beside the repeated
    ones by itself, its cells are wrapped between words.

    Args:
        table: The table; a column that may fold needs no more width than its longest word and its `min_width`.
        keys: Number of first columns that every part repeats.
    """

    def __init__(self, table: Table, keys: int = 1) -> None:
        self._table, self._keys = table, keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._table.title:
            yield Text(str(self._table.title), "italic")
        for index, columns in enumerate(self._parts(console, options)):
            if index:
                yield ""
            yield self._part(columns, console, options)
        if self._table.caption:
            yield Text(str(self._table.caption))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        least = max((self._needed(column, console, options) for column in self._table.columns), default=0)
        return Measurement(min(least, options.max_width), options.max_width)

    def _parts(self, console: Console, options: ConsoleOptions) -> list[list[Column]]:
        """The columns of each table, the repeated ones first."""
        columns, keys = self._table.columns, self._keys
        widths = [self._needed(column, console, options) + self._gap for column in columns]
        first = sum(widths[:keys])
        parts: list[list[Column]] = [[]]
        used = first
        for column, width in zip(columns[keys:], widths[keys:], strict=True):
            if parts[-1] and used + width > options.max_width + self._gap:
                parts.append([])
                used = first
            parts[-1].append(column)
            used += width
        return [[*columns[:keys], *part] for part in parts]

    @property
    def _gap(self) -> int:
        """Characters between two columns: the padding of both, and a divider."""
        _, right, _, left = self._table.padding
        return right + left + 1

    def _needed(self, column: Column, console: Console, options: ConsoleOptions) -> int:
        cells = [column.header, *column.cells, *([column.footer] if column.footer else [])]
        measured = [Measurement.get(console, options, cell) for cell in cells]
        least = max(of.maximum if column.no_wrap else of.minimum for of in measured)
        return max(least, column.min_width or 0)

    def _part(self, columns: Sequence[Column], console: Console, options: ConsoleOptions) -> Table:
        """The table of these columns alone, without title and caption."""
        part = copy.copy(self._table)
        part.columns = []
        for column in columns:
            part.columns.append(copy.copy(column))
            part.columns[-1]._index = len(part.columns) - 1
        part.title = part.caption = None
        part.show_edge = part.pad_edge = False
        for column in reversed(part.columns):  # the repeated ones last
            if sum(self._needed(each, console, options) + self._gap for each in part.columns) - self._gap <= (
                options.max_width
            ):
                break
            column.no_wrap, column.overflow, column.min_width = False, "fold", None
        return part
