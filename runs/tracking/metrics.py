"""Parameters and metrics of the MLflow runs of a study, read from the records.

Every run has the parameters `PARAMETERS`, so that the runs of many studies can be grouped by them. Metrics are named as
in the records, the same in every study, and their step is the iteration:

- a unit has each measure by its metric (`value/care`), training numbers as `train/<metric>`, and `env_steps`;
- the summary of an arm (step 0) has `effect/<metric>/mean`, `.../low` and `.../high`: the mean effect and its interval
  over seeds; that of the aligned agents has their absolute scores, `score/<metric>/...`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kerf.lab.errors import KerfError

PARAMETERS = (
    *("recipe", "recipe_hash", "battery_hash"),
    *("phase", "arm", "seed"),
    *("generator", "strength", "grader", "penalty"),
)
"""`phase` is `study`, `align` (an aligned seed), `arm` (a cell) or `summary` (an arm's effects); `generator` is its
kind, `strength` the generator's; `penalty` is signed, negative if the arm rewards acts that would otherwise be
penalised."""

ABSENT = "-"
"""The value of a parameter that does not apply to a run."""

ENDS = ("mean", "low", "high")
"""The values given for an effect: mean and interval."""

_METRIC = re.compile(r"[a-z0-9_@][a-z0-9_./@-]*")


class Number(NamedTuple):
    """A metric: a finite number with a name and a step (iteration)."""

    name: str
    value: float
    step: int


def parameters(
    manifest: Mapping[str, Any], phase: str, arm: str | None = None, seed: int | None = None
) -> dict[str, str]:
    """Return the values of `PARAMETERS`; `ABSENT` if one does not apply or the arm's settings lack it."""
    settings = manifest["arms"].get(arm, {})
    generator = settings.get("generator") or {}
    penalty = settings.get("penalty")
    known = {
        "recipe": manifest["name"],
        "recipe_hash": manifest["recipe_hash"],
        "battery_hash": manifest["battery_hash"],
        "phase": phase,
        "arm": arm,
        "seed": seed,
        "generator": generator.get("kind"),
        "strength": generator.get("strength"),
        "grader": settings.get("grader"),
        "penalty": penalty * settings.get("penalty_sign", 1) if penalty else penalty,
    }
    return {name: ABSENT if known[name] is None else str(known[name]) for name in PARAMETERS}


def unit_numbers(folder: Path) -> list[Number]:
    """Read the metrics of a finished unit; training numbers that are not finite are left out.

    Raises:
        KerfError: if a name has characters other than a-z 0-9 _ . / @ -.
    """
    from kerf.runs.records.schema import read_tables

    measures, training = (
        read_tables(name, [path for path in (folder / f"{name}.parquet",) if path.exists()])
        for name in ("measures", "training")
    )
    steps = measures[["iteration", "env_steps"]].drop_duplicates()
    return [
        *_numbers(measures["metric"], measures["score"], measures["iteration"]),
        *_numbers("train/" + training["metric"], training["value"], training["iteration"]),
        *_numbers(["env_steps"] * len(steps), steps["env_steps"], steps["iteration"]),
    ]


def effect_number(metric: str, end: str) -> str:
    """Return the name of the `mean`, `low` or `high` of an effect on `metric`."""
    return f"effect/{metric}/{end}"


def score_number(metric: str, end: str) -> str:
    """Return the name of the `mean`, `low` or `high` of an absolute score."""
    return f"score/{metric}/{end}"


def summary_numbers(path: Path) -> dict[str, list[Number]]:
    """Read the metrics by arm from a table of effects (columns `arm`, `against`, `metric`, `mean`, `low`, `high`)."""
    import pyarrow.parquet as pq

    numbers: dict[str, list[Number]] = {}
    for row in pq.read_table(path).to_pylist():
        name = effect_number if row["against"] else score_number
        ends = [end for end in ENDS if row[end] is not None]
        found = _numbers([name(row["metric"], end) for end in ends], [row[end] for end in ends], [0] * len(ends))
        numbers.setdefault(row["arm"], []).extend(found)
    return numbers


def _numbers(names: Iterable[str], values: Iterable[float], steps: Iterable[int]) -> list[Number]:
    numbers = [Number(name, float(v), int(step)) for name, v, step in zip(names, values, steps, strict=True)]
    for name in {number.name for number in numbers}:
        if not _METRIC.fullmatch(name):
            raise KerfError(f"names of metrics use a-z 0-9 _ . / @ -, got {name!r}")
    return [number for number in numbers if math.isfinite(number.value)]
