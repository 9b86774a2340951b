"""From records to what a reader sees: effects as a data frame, tables for the terminal and for files."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from lab.effect import Primary
from lab.errors import KerfError
from runs.report.effects import effects_frame, judge_primaries
from runs.report.table import Report
from runs.store import ALIGNED, Store, Unit, read_measures

TEXT_WIDTH = 140
"""Characters a line in `table.txt`."""


NOISE_KINDS = ("false_exit", "value", "skill", "utility")
"""Kinds of metric whose noise floor is printed; the records have all."""


def make_report(store: Store) -> Report:
    """The report of a finished study, from its records alone.

    Raises:
        KerfError: if cells are missing, damaged or do not belong together.
    """
    manifest = store.manifest()
    units = store.units()
    passed = [seed for seed in manifest["seeds"] if _passed(store, units, seed)]
    missing = [unit.name for arm in manifest["arms"] for seed in passed if (unit := Unit(arm, seed)) not in units]
    if not passed:
        raise KerfError(
            f"{store.path}: no agent of this study has passed the gate (yet), so there is nothing to compare"
        )
    if missing:
        raise KerfError(
            f"{store.path}: {len(missing)} cells are missing ({missing[0]}, ...); `kerf run` with the same recipe and "
            "--out completes the study"
        )
    measures = read_measures(store.path)
    cells = measures[(measures["arm"] != ALIGNED) & measures["seed"].isin(passed)]
    predictions = [Primary(**primary) for primary in manifest["primaries"]]
    noise = pd.concat(
        [pd.read_parquet(store.path / Unit(ALIGNED, seed).name / "noise.parquet").assign(seed=seed) for seed in passed]
    )
    noise = noise[noise["metric"].str.split("/").str[0].isin(NOISE_KINDS)]
    return Report(
        effects_frame(cells, manifest["control"], arms=manifest["arm_order"]),
        judge_primaries(cells, predictions),
        noise,
    )


def write_report(store: Store) -> Report:
    """Make the report and write its records: `effects.parquet`, `primaries.json`, `table.txt`."""
    report = make_report(store)
    store.write_table("effects", report.effects)
    store.write_json("primaries", [_finite(asdict(judged)) for judged in report.judged])
    store.write_text("table.txt", report.to_text(TEXT_WIDTH))
    return report


def show(out: Path, console: Console) -> None:
    """Print the report of the study in `out`, from its records alone; writes nothing."""
    console.print(make_report(Store(out)))


def _passed(store: Store, units: list[Unit], seed: int) -> bool:
    unit = Unit(ALIGNED, seed)
    return unit in units and bool(store.read_json(unit, "gate")["passed"])


def _finite(value: Any) -> Any:
    """Plain data with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
