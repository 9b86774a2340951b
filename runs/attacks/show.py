"""Printed form of one attack's record."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from kerf.runs.attacks.table import kinds_table
from kerf.runs.console import say
from kerf.runs.recipe.attack_plan import RECORD


def show_attack(folder: Path, console: Console) -> None:
    """Print the record of one attack."""
    said = json.loads((folder / f"{RECORD}.json").read_bytes())
    whose = f"{said['arm']} seed {said['seed']}" if "arm" in said else said["policy"]
    strength, objective = said["generator"]["strength"], said["objective"]
    facts = {
        "success": f"{said['success']:.3f} of {said['num_scenarios']:,} episodes: the forbidden act, without need",
        "first success": _cost(said["scenarios_to_first"]),
        "half succeed": f"{_cost(said['scenarios_to_half'])} (a whole batch, in half of its episodes)",
        "different": f"{said['distinct_successes']:,} successes differ in more than their tells",
        "diversity": (
            f"{said['diversity']:.2f} of all that was tried, {said['diversity_of_successes']:.2f} of the successes "
            "(0: all alike, 1: as spread as can be)"
        ),
    }
    if objective != "elicit":
        facts[objective] = f"{said['mean_score']:.3f} on average"
    if "refused" in said:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in said["refused"].items() if number) or "none"
        facts["refused"] = f"of {said['proposed']:,} proposals: {reasons}"

    console.print(Text(f"{said['label']} at strength {strength:g} against {whose} in {said['world']}", "bold"))
    for name, fact in facts.items():
        say(console, f"{name:<16}  {fact}")
    table = kinds_table(said)
    if table is not None:
        console.print(Padding(table, (1, 0, 0, 0)))
    console.print(Text("\nMost telling scenarios", "bold"))
    say(console, (folder / "telling.txt").read_text())
    drawn = ", telling-*.gif, telling-*.png" if list(folder.glob("*.gif")) else "; pictures are drawn as it is made"
    say(console, f"records   {folder} ({RECORD}.json, telling.txt{drawn})\n")


def _cost(scenarios: int | None) -> str:
    return "never" if scenarios is None else f"after {scenarios:,} scenarios"
