"""Records of after-tests, as data frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kerf.lab.errors import KerfError
from kerf.runs.recipe.after_plan import RECORD, AfterUnit
from kerf.runs.records.atomic_io import as_disk_error
from kerf.runs.records.store import Store

COLUMNS = ("test", "figure", "arm", "seed", "value")
"""Columns of `after.parquet`: a row per figure; `value` is nan where the figure is undefined."""


def read_after(store: Store, units: Sequence[AfterUnit]) -> pd.DataFrame:
    """Read the figures of finished tests, sorted; columns `COLUMNS`. Naive agents have the arm and test `naive`.

    Raises:
        KerfError: if a record is missing, or differs from what was published.
    """
    rows = []
    for unit in units:
        record = read_record(store, unit)
        for figure, value in record["figures"].items():
            number = float("nan") if value is None else float(value)
            rows.append((unit.test, figure, record["arm"], record["seed"], number))
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(list(COLUMNS[:4]), ignore_index=True)


def read_table(store: Store, units: Sequence[AfterUnit], test: str, name: str) -> pd.DataFrame:
    """Read a table of one test on all agents, with first columns `arm` and `seed`; empty if there is none."""
    parts = []
    for unit in units:
        path = store.path / unit.name / f"{name}.parquet"
        if unit.test != test or not path.exists():
            continue
        record = read_record(store, unit)
        with as_disk_error(path):
            part = pd.read_parquet(path)
        part.insert(0, "seed", record["seed"])
        part.insert(0, "arm", record["arm"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def read_record(store: Store, unit: AfterUnit) -> dict[str, Any]:
    """Read `after.json` of a finished test; raises as `read_after`."""
    folder: Path = store.path / unit.name
    if not store.finished(unit, verify=True):
        raise KerfError(f"{folder} is missing: run the same command again to make it")
    with as_disk_error(folder):
        record: dict[str, Any] = json.loads((folder / f"{RECORD}.json").read_bytes())
    return record
