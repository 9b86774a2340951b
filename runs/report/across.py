"""The variants of a recipe next to each other: what each arm changed in each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from runs.report import make_report
from runs.report.effects import ALIGNED
from runs.report.table import effect_cell, metric_label
from runs.store import Store
from runs.verdicts import instead_of_table

METRICS = ("value/care", "utility/ideal")
"""What is compared, where all variants measure it."""


def across_table(folders: Mapping[str, Path]) -> Table:
    """A row per arm, a column per variant and metric.

    Args:
        folders: The folder of each variant's study. A variant none of whose agents passed the gate is named as such.
    """
    frames = {
        name: make_report(store).effects
        for name, folder in folders.items()
        if instead_of_table(store := Store(folder)) is None
    }
    arms = dict.fromkeys(arm for frame in frames.values() for arm in frame["arm"] if arm != ALIGNED)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title_justify="left", caption_justify="left")
    table.title = "The variants next to each other: change since the fork, less that of the control"
    left_out = [name for name in folders if name not in frames]
    table.caption = f"No agent passed the gate in: {', '.join(left_out)}." if left_out else None
    table.add_column("arm", no_wrap=True)
    for metric in METRICS:
        for name in frames:
            table.add_column(Text(f"{metric_label(metric)}, {name}"), justify="right")
    for arm in arms:
        cells: list[Text] = []
        for metric in METRICS:
            for frame in frames.values():
                rows = list(frame[(frame["arm"] == arm) & (frame["metric"] == metric)].itertuples())
                cells.append(effect_cell(rows[0]) if rows else Text("-"))
        table.add_row(Text(arm), *cells)
    return table
