"""Comparison of a recipe's variants: the effect of each arm in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.metrics import UTILITY
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.records.gate_records import instead_of_table
from kerf.runs.records.store import Store
from kerf.runs.report import make_report
from kerf.runs.report.effects import ALIGNED
from kerf.runs.report.table import effect_cell, metric_label
from kerf.runs.terminal.columns import ByGroups


def across_table(folders: Mapping[str, Path]) -> Table:
    """Build a table for each metric that the worlds show first, and for ideal utility: a row per arm, a column per
    variant.

    Args:
        folders: The folder of each variant's study. A variant without agents that passed the gate is marked as such.
    """
    stores = {name: store for name, folder in folders.items() if instead_of_table(store := Store(folder)) is None}
    reports = {name: make_report(store) for name, store in stores.items()}
    frames = {name: report.effects for name, report in reports.items()}
    worlds = [get_world(Store(folder).manifest()["recipe"]["world"]) for folder in folders.values()]
    labels = {metric: metric_label(metric, world.dilemma.words) for world in worlds for metric in focus(world)}
    labels |= {UTILITY: metric_label(UTILITY)}
    arms = dict.fromkeys(arm for frame in frames.values() for arm in frame["arm"] if arm != ALIGNED)
    stack = Table.grid()
    stack.add_row(Text("The variants next to each other: change since the fork, less that of the control", "italic"))
    for metric, label in labels.items():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column(label, no_wrap=True, min_width=max(map(len, arms), default=0))
        for name in frames:
            table.add_column(Text(name), justify="right", no_wrap=True)
        for arm in arms:
            cells: list[Text] = []
            for frame in frames.values():
                rows = list(frame[(frame["arm"] == arm) & (frame["metric"] == metric)].itertuples())
                cells.append(effect_cell(rows[0]) if rows else Text("-"))
            table.add_row(Text(arm), *cells)
        stack.add_row(Padding(ByGroups(table), (1, 0, 0, 0)))
    for line in where_verdicts_differ({name: report.verdicts for name, report in reports.items()}):
        stack.add_row(Padding(Text(line), (1, 0, 0, 0)))
    left_out = [name for name in folders if name not in frames]
    if left_out:
        stack.add_row(Text(f"No agent passed the gate in: {', '.join(left_out)}."))
    return stack


def where_verdicts_differ(verdicts: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    """A line for each prediction: its outcome if all variants agree, else the variants of each outcome.

    Args:
        verdicts: Outcomes by variant and prediction; a prediction may be missing from a variant.
    """
    lines = []
    for prediction in dict.fromkeys(name for found in verdicts.values() for name in found):
        variants: dict[str, list[str]] = {}
        for variant, found in verdicts.items():
            if prediction in found:
                variants.setdefault(found[prediction], []).append(variant)
        if len(variants) == 1:
            ((outcome, agreeing),) = variants.items()
            lines.append(f"{prediction}: {outcome} in all {len(agreeing)} variants")
        else:
            parts = [f"{outcome} in {', '.join(names)}" for outcome, names in variants.items()]
            lines.append(f"{prediction} depends on the variant: {'; '.join(parts)}")
    return lines
