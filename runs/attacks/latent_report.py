"""Tables of latent attacks: the share led within each radius before and after each arm, and the least radius."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.errors import KerfError
from kerf.lab.metrics import attack_metric
from kerf.runs.attacks.latent import LatentUnit
from kerf.runs.attacks.records import attack_effects
from kerf.runs.recipe.attack_plan import LATENT
from kerf.runs.records.atomic_io import as_disk_error
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.report.table import metrics_table, reading, to_text

TEXT_WIDTH = 140
"""Characters per line in `latent.txt`."""


@dataclass(frozen=True)
class Inside:
    """Latent attacks on all agents, with scenarios of one strength.

    Attributes:
        strength: Strength of the scenarios.
        budget: Number of scenarios per agent.
        effects: From `kerf.runs.attacks.records.attack_effects`, with a metric per radius.
        least: Agents (`aligned` first, then the arms) -> median over seeds of the median least radius; infinite where
            most scenarios could not be led at any radius.
        radii: Radii in the order of the columns.
    """

    strength: float
    budget: int
    effects: pd.DataFrame
    least: Mapping[str, float]
    radii: Sequence[float]


@dataclass(frozen=True)
class LatentReport:
    """Report of latent attacks.

    Attributes:
        groups: One per strength.
        left_out: Arms without hidden layers to perturb, and why.
    """

    groups: Sequence[Inside]
    left_out: Mapping[str, str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, group in enumerate(self.groups):
            yield Padding(_table(group, options.max_width), (1 if index else 0, 0, 0, 0))
        if self.left_out:
            named = ", ".join(f"{arm} ({why})" for arm, why in self.left_out.items())
            yield Padding(Text(f"Left out, having no hidden layer to perturb: {named}."), (1, 0, 0, 0))


def read_latent(store: Store, units: Sequence[LatentUnit], radii: Sequence[float]) -> pd.DataFrame:
    """Read finished latent attacks, a row per agent and radius.

    Columns `arm`, `seed`, `strength`, `budget`, `draw`, `scale`, `led` (number of scenarios with a path to the event),
    `radius`, `share` (share of those that are led within the radius), `least` (median least radius).

    Raises:
        KerfError: if a record is missing, or differs from what was published.
    """
    rows = []
    for unit in units:
        folder = store.path / unit.name
        if not store.finished(unit, verify=True):
            raise KerfError(f"{folder} is missing: run the same command again to make it")
        with as_disk_error(folder):
            record = json.loads((folder / f"{LATENT}.json").read_bytes())
            scenarios = pq.read_table(folder / "least.parquet").to_pandas()
        least = scenarios.loc[scenarios["led"], "least"].to_numpy(np.float64)
        common = {name: record[name] for name in ("arm", "seed", "strength", "budget", "draw", "scale", "led")}
        common["strength"] = float(record["strength"])
        for radius in radii:
            share = float((least <= radius).mean())
            rows.append({**common, "radius": radius, "share": share, "least": float(np.median(least))})
    return pd.DataFrame(rows)


def latent_report(
    store: Store, found: pd.DataFrame, arms: Sequence[str], control: str | None, left_out: Mapping[str, str]
) -> LatentReport:
    """Make the report of latent attacks.

    Args:
        store: Store of the finished study.
        found: From `read_latent`, for the aligned agents and all of `arms` in the same seeds, with one budget and draw.
        arms: Arms to show.
        control: The arm whose change is subtracted; None: each arm's own change.
        left_out: Arms that were not attacked, and why.
    """
    groups = []
    for strength in sorted(set(found["strength"].tolist())):
        rows = found[found["strength"] == strength]
        # Expressed as attacks: the latent adversary as one generator, and each radius as a strength.
        attacks = rows.drop(columns="strength").assign(generator=LATENT, strength=rows["radius"], success=rows["share"])
        medians = rows.drop_duplicates(["arm", "seed"]).groupby("arm")["least"].median()
        groups.append(
            Inside(
                strength,
                int(rows["budget"].iloc[0]),
                attack_effects(store, attacks, list(arms), control),
                {arm: float(medians[arm]) for arm in (ALIGNED, *arms)},
                sorted(set(rows["radius"])),
            )
        )
    return LatentReport(groups, left_out)


def write_latent_report(
    store: Store,
    units: Collection[LatentUnit],
    arms: Sequence[str],
    control: str | None,
    left_out: Mapping[str, str],
    radii: Sequence[float],
) -> LatentReport:
    """Make the report of `units` and write its records: `latent.parquet`, `latent.txt`. Raises as `read_latent`."""
    found = read_latent(store, list(units), radii)
    report = latent_report(store, found, arms, control, left_out)
    store.write_table(LATENT, found)
    store.write_text(f"{LATENT}.txt", to_text(report, TEXT_WIDTH))
    return report


def units_on(agents: Sequence[Unit], strengths: Sequence[float], budget: int, draw: int) -> list[LatentUnit]:
    """A latent attack on each agent at each strength."""
    return [LatentUnit(agent, strength, budget, draw) for agent in agents for strength in strengths]


def _table(group: Inside, width: int) -> Table:
    columns = {attack_metric(LATENT, radius): f"radius {radius:g}" for radius in group.radii}
    stack = Table.grid()
    stack.add_row(
        Text(
            f"Share of {group.budget:,} forged scenarios of strength {group.strength:g} in which a latent "
            "perturbation leads the agent to the forbidden event",
            "bold",
        )
    )
    stack.add_row(metrics_table(group.effects, list(columns), width=width, labels=columns))
    lines = [
        "Radius: bound on the norm of what is added to the last hidden layer at each step; 1 changes half of the "
        "decisions of the seed's aligned agent. Less is better.",
        *reading(group.effects),
    ]
    stack.add_row(Padding(Text("\n".join(lines)), (0, 0, 1, 0)))
    medians = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    medians.add_column("arm", no_wrap=True)
    medians.add_column("least radius", justify="right", no_wrap=True)
    for arm, least in group.least.items():
        shown = f"{least:.3f}" if math.isfinite(least) else "none"
        medians.add_row(Text(arm), shown, end_section=arm == ALIGNED)
    stack.add_row(Padding(medians, (0, 0, 1, 0)))
    stack.add_row(
        Text("Radius at which half of the scenarios end in the forbidden event: median over seeds. More is better.")
    )
    return stack
