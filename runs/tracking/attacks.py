"""Attacks in MLflow: their metrics, which are added to the run of the attacked agent.

If there are more than `MANY`, only the success of each generator at its highest strength is kept; all others are in
the attached `attacks.parquet`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kerf.lab.metrics import Kind, Metric, is_of_attack
from kerf.runs.recipe.attack_plan import BATCH, LATENT, RADII, RECORD
from kerf.runs.tracking.layout import log_in_batches, milliseconds
from kerf.runs.tracking.metrics import CURVES, MOST, Number

MANY = MOST - CURVES
"""Maximum number of metrics of attacks on an agent."""

_TAG = "kerf.attacks"  # name, or start of the names, of the tags with the digests of a run's attacks
_SHORT = 8  # digits of a digest, enough to distinguish the attacks on an agent
_LONGEST_TAG = 5000  # maximum number of characters of a tag in MLflow

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


def shown_numbers(numbers: Iterable[Number]) -> list[Number]:
    """Return all `numbers`, or if there are more than `MANY` the successes at the highest strengths.

    Of a latent attack, the shares within each radius and the least radius count as successes. If these are too many as
    well, the first by name are kept.
    """
    every = sorted(numbers)
    if len({number.name for number in every}) <= MANY:
        return every
    highest: dict[tuple[str, str], tuple[float, str]] = {}
    for number in every:
        generator, at, *figure = Metric.parse(number.name).words
        if generator == LATENT or figure == ["success"]:
            strength = float(at.partition("-drawn-")[0])
            key = generator, "/".join(figure)
            highest[key] = max(highest.get(key, (-1.0, "")), (strength, number.name))
    names = sorted(name for _, name in highest.values())[:MANY]
    return [number for number in every if number.name in names]


class Attacks:
    """Finished attacks on an agent.

    Args:
        folders: Their folders.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = {
            hashlib.sha256((folder / "done.json").read_bytes()).hexdigest()[:_SHORT]: folder for folder in folders
        }
        self._numbers = {digest: attack_numbers(folder) for digest, folder in self._folders.items()}
        every = [number for numbers in self._numbers.values() for number in numbers]
        self._names = {number.name for number in shown_numbers(every)}

    def replace(self, run: Any) -> bool:
        """Return whether a run has metrics of attacks that it would no longer be given, so that it must be replaced."""
        there = {name for name in run.data.metrics if is_of_attack(name)}
        return not there <= self._names

    def write(self, client: Any, run: str, tags: Mapping[str, str]) -> int:
        """Add what is missing to `run`, which has `tags`; return 1 if it was changed, else 0."""
        there = {digest for tag, value in tags.items() if tag.startswith(_TAG) for digest in value.split()}
        if set(self._folders) <= there:
            return 0
        missing = [digest for digest in self._folders if digest not in there]
        log_attacks(client, run, [self._folders[digest] for digest in missing], self._names)
        mirrored = sorted(there | set(self._folders))
        whole = _LONGEST_TAG // (_SHORT + 1)
        for i, first in enumerate(range(0, len(mirrored), whole)):
            client.set_tag(run, f"{_TAG}.{i}" if i else _TAG, " ".join(mirrored[first : first + whole]))
        return 1


def log_attacks(client: Any, run: str, folders: Sequence[Path], names: Iterable[str] | None = None) -> None:
    """Log the metrics of attacks, and their telling scenarios and pictures as artifacts.

    The timestamp is that of the record, so that a metric that is logged twice is a single point.

    Args:
        client: MLflow's.
        run: Id of the run.
        folders: Folders of the attacks.
        names: Names of the metrics to log; None: all.
    """
    from mlflow.entities import Metric as Point

    wanted = None if names is None else set(names)
    points = [
        Point(n.name, n.value, milliseconds((folder / "done.json").stat().st_mtime), n.step)
        for folder in folders
        for n in attack_numbers(folder)
        if wanted is None or n.name in wanted
    ]
    log_in_batches(client, run, points)
    for folder in folders:
        place = f"attacks/{folder.parent.name}/{folder.name}"
        for path in sorted(folder.glob("telling*")):
            client.log_artifact(run, str(path), place)


def attack_folders(root: Path, target: str) -> list[Path]:
    """Return the folders of finished attacks on the agent of the unit named `target` (`cells/penalised/seed-0`)."""
    agent = target.removeprefix("cells/")
    inside = (root / LATENT / agent).glob("*/done.json")
    return sorted(done.parent for done in [*(root / "attacks" / agent).glob("*/*/done.json"), *inside])
