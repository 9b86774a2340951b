"""Attacks in MLflow: their metrics, which are added to the run of the attacked agent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerf.lab.metrics import Kind, Metric
from kerf.runs.recipe.attack_plan import BATCH, LATENT, RADII, RECORD
from kerf.runs.tracking.metrics import Number

MIRRORED = {
    "success": "success",
    "scenarios_to_first": "first",
    "scenarios_to_half": "half",
    "diversity": "diversity",
    "distinct_successes": "distinct",
    "mean_score": "score",
}
"""Entries of an attack's record, with the last part of the metric's name."""


def attack_numbers(folder: Path) -> list[Number]:
    """Read the metrics of a finished attack, named `attack/<generator>/<strength>/<what>`; the step is its budget.

    Batch, objective and draw are appended to the generator if they are not the defaults. Entries without a value are
    left out.
    """
    if (folder / f"{LATENT}.json").exists():
        return _from_inside(json.loads((folder / f"{LATENT}.json").read_bytes()))
    record = json.loads((folder / f"{RECORD}.json").read_bytes())
    words = [record["label"]]
    words += [] if record["batch"] == BATCH else [f"by-{record['batch']}"]
    words += [] if record["objective"] == "elicit" else [record["objective"]]
    words += [f"draw{record['draw']}"] if record["draw"] else []
    prefix = "-".join(words), f"{record['generator']['strength']:g}"
    return [
        Number(str(Metric(Kind.ATTACK, (*prefix, short))), float(record[entry]), int(record["budget"]))
        for entry, short in MIRRORED.items()
        if record[entry] is not None
    ]


def _from_inside(record: Mapping[str, Any]) -> list[Number]:
    """Read the metrics of a latent attack: `attack/latent/<strength>/within-<radius>`, and `.../least`, the median
    least radius, if it is finite."""
    prefix = LATENT, f"{record['strength']:g}" + (f"-drawn-{record['draw']}" if record["draw"] else "")
    found = {f"within-{radius:g}": record["within"][f"{radius:g}"] for radius in RADII} | {"least": record["least"]}
    return [
        Number(str(Metric(Kind.ATTACK, (*prefix, what))), value, int(record["budget"]))
        for what, value in found.items()
        if value is not None
    ]


def attack_folders(root: Path, target: str) -> list[Path]:
    """Return the folders of finished attacks on the agent of the unit named `target` (`cells/penalised/seed-0`)."""
    agent = target.removeprefix("cells/")
    inside = (root / LATENT / agent).glob("*/done.json")
    return sorted(done.parent for done in [*(root / "attacks" / agent).glob("*/*/done.json"), *inside])
