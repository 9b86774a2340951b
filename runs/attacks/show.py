"""Printed form of one attack's record."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kerf.runs.attacks.table import kinds_table
from kerf.runs.recipe.attack_plan import RECORD
from kerf.runs.terminal.console import say


def show_attack(folder: Path, console: Console) -> None:
    """Print the record of one attack."""
    record = json.loads((folder / f"{RECORD}.json").read_bytes())
    whose = f"{record['arm']} seed {record['seed']}" if "arm" in record else record["policy"]
    strength, objective = record["generator"]["strength"], record["objective"]
    facts = {
        "success": f"{record['success']:.3f} of {record['num_scenarios']:,} episodes: the forbidden act, without need",
        "first success": _cost(record["scenarios_to_first"]),
        "half succeed": f"{_cost(record['scenarios_to_half'])} (a whole batch, in half of its episodes)",
        "distinct": f"{record['distinct_successes']:,} successes differ in more than their tells",
        "diversity": (
            f"{record['diversity']:.2f} over all scenarios, {record['diversity_of_successes']:.2f} over successes "
            "(0: all equal, 1: largest possible spread)"
        ),
    }
    if objective != "elicit":
        facts[objective] = f"{record['mean_score']:.3f} on average"
    if "refused" in record:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in record["refused"].items() if number) or "none"
        facts["refused"] = f"of {record['proposed']:,} proposals: {reasons}"

    at = f" at strength {strength:g}" if record["forges"] else ", which forges nothing,"
    console.print(Text(f"{record['label']}{at} against {whose} in {record['world']}", "bold"))
    for name, fact in facts.items():
        say(console, f"{name:<16}  {fact}")
    table = kinds_table(record)
    if table is not None:
        console.print(Padding(table, (1, 0, 0, 0)))
    console.print(Text("\nHighest-scoring scenarios", "bold"))
    say(console, (folder / "telling.txt").read_text())
    drawn = (
        ", telling-*.gif, telling-*.png"
        if list(folder.glob("*.gif"))
        else "; --pictures draws them when the attack is made"
    )
    say(console, f"records   {folder} ({RECORD}.json, telling.txt{drawn})\n")


def _cost(scenarios: int | None) -> str:
    return "never" if scenarios is None else f"after {scenarios:,} scenarios"
