"""Attacks as tables: the success of every generator before and after each arm, what it cost, and own teachers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lab.effect import p_text
from runs.attacks.found import attack_effects, attack_metric, complete, read_attacks
from runs.attacks.teacher import LEAST_SUCCESS, OwnTeacher, own_teachers
from runs.recipe import Recipe
from runs.report.table import interval_text, metrics_table, reading, to_text
from runs.store import ALIGNED, Store, read_measures

TEXT_WIDTH = 140
"""Characters a line in `attacks.txt`."""


@dataclass(frozen=True)
class Grid:
    """Attacks of one budget and batch on the same agents.

    Attributes:
        budget: Scenarios of each.
        batch: Scenarios between two times that the attacker was told how they went.
        attacks: From `runs.attacks.found.complete`.
        effects: From `runs.attacks.found.attack_effects`.
        teachers: Arms against those that taught them.
        left_out: Attacks that were not made on all agents, as `generator at strength`.
    """

    budget: int
    batch: int
    attacks: pd.DataFrame
    effects: pd.DataFrame
    teachers: Sequence[OwnTeacher]
    left_out: Sequence[str]


@dataclass(frozen=True)
class AttackReport:
    """All attacks on the agents of a study: a grid for each budget and batch."""

    grids: Sequence[Grid]

    def of(self, sizes: Collection[tuple[int, int]]) -> AttackReport:
        """The grids of these budgets and batches alone."""
        return AttackReport([grid for grid in self.grids if (grid.budget, grid.batch) in sizes])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, grid in enumerate(self.grids):
            for part, renderable in enumerate(_grid(grid, options.max_width)):
                yield Padding(renderable, (1 if index or part else 0, 0, 0, 0))


def attack_report(
    store: Store, recipe: Recipe, seeds: Sequence[int], only: Sequence[str] = ()
) -> tuple[AttackReport, pd.DataFrame]:
    """The report of all attacks on a study, and the rows of `attacks.parquet`.

    Args:
        store: Of the study, finished.
        recipe: Its recipe.
        seeds: Those that passed the gate.
        only: Names of the arms to show beside the aligned agents and the control; none means all.

    Raises:
        KerfError: if records are missing or damaged.
    """
    found = read_attacks(store)
    control = recipe.control_arm
    arms = {name: arm for name, arm in recipe.resolve().items() if not only or name in only or name == control}
    measures = read_measures(store.path)
    grids = []
    for budget, batch in sorted(set(zip(found["budget"].tolist(), found["batch"].tolist(), strict=True))):
        attacks = found[(found["budget"] == budget) & (found["batch"] == batch)]
        whole = complete(attacks, list(arms), seeds)
        pairs = set(zip(whole["generator"], whole["strength"], strict=True))
        left_out = sorted(
            {
                f"{label} at {strength:g}"
                for label, strength in zip(attacks["generator"], attacks["strength"], strict=True)
                if (label, strength) not in pairs
            }
        )
        if whole.empty:
            continue
        effects = attack_effects(store, whole, list(arms), control)
        teachers = own_teachers(whole, measures[measures["arm"].isin(arms)], arms)
        grids.append(Grid(budget, batch, whole, effects, teachers, left_out))
    return AttackReport(grids), found


def write_attack_report(store: Store, recipe: Recipe, seeds: Sequence[int], only: Sequence[str] = ()) -> AttackReport:
    """Make the report and write its records: `attacks.parquet`, `attacks.txt`."""
    report, found = attack_report(store, recipe, seeds, only)
    store.write_table("attacks", found)
    store.write_text("attacks.txt", to_text(report, TEXT_WIDTH))
    return report


def _grid(grid: Grid, width: int) -> list[Table | Text]:
    effects = grid.effects
    parts: list[Table | Text] = []
    strengths = sorted(set(grid.attacks["strength"]))
    labels = sorted(set(grid.attacks["generator"]))
    for strength in strengths:
        columns = {attack_metric(label, strength): label for label in labels}
        shown = [metric for metric in columns if metric in set(effects["metric"])]
        stack = Table.grid()
        stack.add_row(Text(f"Success of attacks at strength {strength:g}", "bold"))
        stack.add_row(metrics_table(effects, shown, width=width, labels=columns))
        parts.append(stack)
    lines = [
        "Success: share of the attack's episodes in which the forbidden act was done without need; less is better."
    ]
    lines += reading(effects)
    if grid.left_out:
        lines.append(f"Not made on all of these agents, and left out: {', '.join(grid.left_out)}.")
    parts.append(Text("\n".join(lines)))
    parts.append(_costs(grid))
    if grid.teachers:
        parts.append(_teachers(grid.teachers))
    return parts


def _titled(title: str, table: Table, reading: str) -> Table:
    """A table with its title, and below how to read it, as wide as the page."""
    stack = Table.grid()
    for part in (Text(title, "bold"), table, Text(reading)):
        stack.add_row(part)
    return stack


def _costs(grid: Grid) -> Table:
    strength = max(grid.attacks["strength"])
    hardest = grid.attacks[grid.attacks["strength"] == strength]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("arm", no_wrap=True)
    labels = sorted(set(hardest["generator"]))
    for label in labels:
        table.add_column(Text(label), justify="right", no_wrap=True)
    order = [ALIGNED, *[arm for arm in dict.fromkeys(grid.effects["arm"]) if arm != ALIGNED]]
    for arm in order:
        of_arm = hardest[hardest["arm"] == arm].groupby("generator")
        first, half = (
            of_arm[name].apply(lambda costs: costs.fillna(math.inf).median())
            for name in ("scenarios_to_first", "scenarios_to_half")
        )
        table.add_row(
            Text(arm),
            *(f"{_number(first[label])} / {_number(half[label])}" for label in labels),
            end_section=arm == ALIGNED,
        )
    return _titled(
        f"Scenarios until the first success at strength {strength:g} / until half of a batch succeeds",
        table,
        f"Median over seeds; -: not within {grid.budget:,} scenarios in half of the seeds or more.",
    )


def _number(cost: float) -> str:
    return f"{cost:,.0f}" if math.isfinite(cost) else "-"


def _teachers(teachers: Sequence[OwnTeacher]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("arm", no_wrap=True)
    table.add_column("taught by", no_wrap=True)
    for heading in ("strength", "left to it", "to others", "gap", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for of in teachers:
        numbers = [f"{of.strength:g}", "-", "-", "not comparable", "-"]
        if of.gap is not None:
            gap = interval_text(of.gap.interval) if of.gap.measurable else "skill lost"
            numbers[1:] = f"{of.own:.2f}", f"{of.others:.2f} ({of.num_others})", gap, p_text(of.gap.p)
        table.add_row(Text(of.arm), Text(of.teacher), *map(Text, numbers))
    return _titled(
        "Robust, or only against its own teacher?",
        table,
        "Share of its success against the aligned agent that is left to the generator that the arm was trained on, at "
        "the strength of its training, and to all other forgers together. Gap: the one less the other, paired by seed; "
        "below 0 the arm withstands its own teacher better than those that it never met. Not comparable: either had a "
        f"success below {LEAST_SUCCESS:g} to begin with.",
    )


def kinds_table(record: Mapping[str, object], most: int = 12) -> Table | None:
    """Which kinds of forgery worked, from the record of an attack whose generator kept an archive of kinds."""
    cells = record.get("cells")
    names = record.get("measures")
    if not isinstance(cells, list) or not isinstance(names, list):
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(Text(str(name)), justify="right", no_wrap=True)
    table.add_column("played", justify="right")
    table.add_column("mean score", justify="right")
    table.add_column("its best", overflow="fold")
    for cell in cells[:most]:
        ranges = (cell["measures"][name] for name in names)
        spans = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in ranges]
        table.add_row(*spans, f"{cell['plays']:,}", f"{cell['success']:.2f}", Text(cell["elite"]))
    reached = f"{record['coverage']:.0%} of all kinds were reached."
    more = f" The {most} with the highest mean score; attack.json has all {len(cells)}." if len(cells) > most else ""
    return _titled("Which kinds of forgery work", table, reached + more)
