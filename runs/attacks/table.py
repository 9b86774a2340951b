"""Tables of attacks: each generator's success before and after each arm, its cost, and robustness to own teachers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.metrics import attack_metric
from kerf.lab.statistics.text import interval_text, p_text, signed
from kerf.runs.attacks.records import SIZE, attack_effects, read_attacks
from kerf.runs.attacks.summary import unforged, unforged_sentence
from kerf.runs.attacks.transfer import LEAST_SUCCESS, TransferGap, transfer_gaps
from kerf.runs.recipe.attack_plan import AttackSettings
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.gate_records import finished_seeds
from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.records.tables import read_measures
from kerf.runs.report.table import metrics_table, reading, to_text
from kerf.runs.terminal.columns import ByGroups

TEXT_WIDTH = 140
"""Characters per line in `attacks.txt`."""


@dataclass(frozen=True)
class Grid:
    """Attacks of one `kerf.runs.attacks.records.SIZE` on the same agents.

    Attributes:
        size: The values of `SIZE`.
        attacks: Their rows, as in `attacks.parquet`.
        effects: From `kerf.runs.attacks.records.attack_effects`.
        teachers: Robustness of arms to the generators they were trained on.
    """

    size: tuple[int, int, str, int]
    attacks: pd.DataFrame
    effects: pd.DataFrame
    gaps: Sequence[TransferGap]

    def has(self, attack: AttackSettings) -> bool:
        """Whether `attack` belongs to this grid."""
        if self.size != (attack.budget, attack.batch, attack.objective, attack.draw):
            return False
        made = zip(self.attacks["generator"], self.attacks["strength"], strict=True)
        return (attack.label, attack.generator.strength) in set(made)


@dataclass(frozen=True)
class AttackReport:
    """All attacks on the agents of a study.

    Attributes:
        grids: One for each size and each set of arms with the same attacks.
        left_out: Attacks that were not made on the aligned agents and the control in all seeds, in words.
    """

    grids: Sequence[Grid]
    left_out: Sequence[str] = ()

    def of(self, attacks: Sequence[AttackSettings]) -> AttackReport:
        """The report limited to grids that contain any of these attacks."""
        return AttackReport([grid for grid in self.grids if any(map(grid.has, attacks))])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, grid in enumerate(self.grids):
            for part, renderable in enumerate(_grid(grid, options.max_width)):
                yield Padding(renderable, (1 if index or part else 0, 0, 0, 0))
        if self.left_out:
            yield Text(
                "\nLeft out, because they do not cover the aligned agents and the control of all seeds: "
                f"{', '.join(self.left_out)}."
            )


def attack_report(store: Store, recipe: Recipe, seeds: Sequence[int]) -> tuple[AttackReport, pd.DataFrame]:
    """Make the report of all attacks on a study, and the rows of `attacks.parquet`.

    Args:
        store: Store of the finished study.
        recipe: Its recipe.
        seeds: Seeds that passed the gate.

    Raises:
        KerfError: if records are missing or damaged.
    """
    found = read_attacks(store)
    control, arms = recipe.control_arm, recipe.resolve()
    needed = {ALIGNED, *([control] if control is not None else [])}
    measures = read_measures(store.path)
    grids, left_out = [], []
    for size in sorted(set(zip(*(found[name].tolist() for name in SIZE), strict=True))):
        attacks = found[(found[list(SIZE)] == pd.Series(size, index=SIZE)).all(axis=1)]
        alike: dict[tuple[str, ...], list[pd.DataFrame]] = {}
        for (label, strength), group in attacks.groupby(["generator", "strength"], sort=False):
            covered = {arm for arm, attacked in group.groupby("arm") if set(attacked["seed"]) >= set(seeds)}
            if needed <= covered and len(covered) > 1:
                alike.setdefault(tuple(arm for arm in arms if arm in covered), []).append(group)
            else:
                left_out.append(f"{label} at strength {strength:g}, {size[0]:,} scenarios")
        for names, groups in sorted(alike.items(), key=lambda item: -len(item[0])):
            whole = pd.concat(groups, ignore_index=True)
            whole = whole[whole["seed"].isin(seeds) & whole["arm"].isin({ALIGNED, *names})]
            effects = attack_effects(store, whole, list(names), control)
            grids.append(Grid(size, whole, effects, transfer_gaps(whole, measures, arms)))
    return AttackReport(grids, left_out), found


def write_attack_report(store: Store, recipe: Recipe, seeds: Sequence[int]) -> AttackReport:
    """Make the report and write its records: `attacks.parquet`, `attacks.txt`."""
    report, found = attack_report(store, recipe, seeds)
    store.write_table("attacks", found)
    store.write_text("attacks.txt", to_text(report, TEXT_WIDTH))
    return report


def show_attacks(store: Store, console: Console) -> None:
    """Print the report of all attacks on a study, which must have some; writes nothing."""
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    console.print()
    console.print(attack_report(store, recipe, finished_seeds(store, recipe.seed_numbers, recipe.arms))[0])


def _grid(grid: Grid, width: int) -> list[Table | Text]:
    effects = grid.effects
    parts: list[Table | Text] = []
    strengths = sorted(set(grid.attacks["strength"]))
    labels = sorted(set(grid.attacks["generator"]))
    plain = set(unforged(grid.attacks)["generator"])
    for strength in strengths:
        columns = {
            attack_metric(label, strength): f"{label} (any strength)" if label in plain else label for label in labels
        }
        shown = [metric for metric in columns if metric in set(effects["metric"])]
        stack = Table.grid()
        stack.add_row(Text(f"Success of attacks at strength {strength:g}", "bold"))
        stack.add_row(metrics_table(effects, shown, width=width, labels=columns))
        parts.append(stack)
    budget, batch, objective, draw = grid.size
    maximised = "" if objective == "elicit" else f" that maximise {objective}"
    another = f" Draw {draw}." if draw else ""
    lines = [
        f"Attacks of {budget:,} scenarios{maximised}, with feedback every {batch:,}.{another} Success: share of an "
        "attack's episodes in which the agent did the forbidden act without need; less is better."
        f"{unforged_sentence(grid.attacks)}",
        *reading(effects),
    ]
    settings = dict(zip(grid.attacks["generator"], grid.attacks["settings"], strict=True))
    lines += [f"{label}: {_words(settings[label])}." for label in labels if "-" in label]
    parts.append(Text("\n".join(lines)))
    parts.append(_costs(grid))
    if grid.gaps:
        parts.append(_transfer_table(grid.gaps))
    return parts


def _words(settings: str) -> str:
    fields = json.loads(settings)
    return ", ".join([fields.pop("kind"), *(f"{name} {value}" for name, value in fields.items())])


def _titled(title: str, table: Table, reading: str) -> Table:
    """A table with its title above and its legend below, as wide as the page."""
    stack = Table.grid()
    for part in (Text(title, "bold"), ByGroups(table), Text(reading)):
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
        by_generator = hardest[hardest["arm"] == arm].groupby("generator")
        first, half = (
            by_generator[name].apply(lambda costs: costs.fillna(math.inf).median())
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
        f"Median over seeds; -: not within {grid.size[0]:,} scenarios in half of the seeds or more.",
    )


def _number(cost: float) -> str:
    return f"{cost:,.0f}" if math.isfinite(cost) else "-"


def _transfer_table(gaps: Sequence[TransferGap]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("arm", no_wrap=True)
    table.add_column("trained against", no_wrap=True)
    for heading in ("strength", "left to it", "to others", "other arms' gap", "difference", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for gap in gaps:
        numbers = [f"{gap.strength:g}", *map(_share, (gap.left, gap.others)), "-", f"not comparable: {gap.why}", "-"]
        if gap.difference is not None:
            own = interval_text(gap.difference.interval) if gap.difference.measurable else "skill lost"
            numbers[3:] = f"{signed(gap.other_arms)} ({gap.num_other_arms})", own, p_text(gap.difference.p)
        table.add_row(Text(gap.arm), Text(gap.adversary), *map(Text, numbers))
    return _titled(
        "Is robustness specific to the training adversary?",
        table,
        "Left: success of a generator against the arm over its success against the aligned agent, at the strength of "
        "the arm's training. Others: all kinds of forging generators that trained neither the arm nor an arm before "
        "it, pooled. Gap: left to the training adversary less left to others. Other arms' gap: that of the same "
        "generator on arms (number in brackets) that it did not train, under the same penalty. Difference: gap less "
        "other arms' gap, paired by seed; below 0 the robustness is specific to the training adversary. Generators "
        f"with a success below {LEAST_SUCCESS:g} on the aligned agent are left out. p: permutation, not adjusted.",
    )


def _share(left: float) -> str:
    return f"{left:.2f}" if math.isfinite(left) else "-"


def kinds_table(record: Mapping[str, object], most: int = 12) -> Table | None:
    """Table of which kinds of forgery worked, from the record of an attack whose generator kept an archive of kinds."""
    cells = record.get("cells")
    names = record.get("descriptors")
    if not isinstance(cells, list) or not isinstance(names, list):
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(Text(str(name)), justify="right", no_wrap=True)
    table.add_column("played", justify="right")
    table.add_column("mean score", justify="right")
    table.add_column("highest-scoring", overflow="fold")
    for cell in cells[:most]:
        ranges = (cell["descriptors"][name] for name in names)
        spans = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in ranges]
        table.add_row(*spans, f"{cell['plays']:,}", f"{cell['success']:.2f}", Text(cell["elite"]))
    reached = f"The archive covers {record['coverage']:.0%} of all kinds."
    more = f" The {most} with the highest mean score; attack.json has all {len(cells)}." if len(cells) > most else ""
    return _titled("Which kinds of forgery work", table, reached + more)
