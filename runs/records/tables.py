"""Reading of the tables of all finished units of one or several studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kerf.lab.errors import KerfError
from kerf.runs.records.store import ALIGNED, Store

if TYPE_CHECKING:
    import pandas as pd


def read_measures(root: str | Path, aligned: bool = False) -> pd.DataFrame:
    """Read the measures of all finished cells of a study, sorted by arm, seed, iteration and metric.

    Columns and dtypes are those of `kerf.runs.records.schema.MEASURES`. `aligned` adds the measures of the alignment
    of the agents, with arm `aligned`.

    Raises:
        KerfError: if there is no study, or a file does not match its unit's `done.json`.
    """
    return _read("measures", root, aligned)


def read_training(root: str | Path, aligned: bool = False) -> pd.DataFrame:
    """Read the training curves of all finished cells of a study, as `read_measures`; schema
    `kerf.runs.records.schema.TRAINING`."""
    return _read("training", root, aligned)


def read_together(roots: list[str | Path]) -> pd.DataFrame:
    """Read and concatenate the measures of several studies, with a first column `study` (the folder).

    Raises:
        KerfError: if their batteries differ, so that their scores cannot be compared.
    """
    import pandas as pd

    hashes = {str(root): Store(root).manifest()["battery_hash"] for root in roots}
    if len(set(hashes.values())) > 1:
        listed = ", ".join(f"{root}: {battery}" for root, battery in hashes.items())
        raise KerfError(f"these studies were measured with different batteries and cannot be compared ({listed})")
    frames = [read_measures(root) for root in roots]
    for root, frame in zip(roots, frames, strict=True):
        frame.insert(0, "study", str(root))
    return pd.concat(frames, ignore_index=True)


def _read(name: str, root: str | Path, aligned: bool) -> pd.DataFrame:
    from kerf.runs.records.schema import read_tables

    store = Store(root)
    store.manifest()
    units = [unit for unit in store.units(verify=True) if aligned or unit.arm != ALIGNED]
    paths = [store.path / unit.name / f"{name}.parquet" for unit in units]
    return read_tables(name, [path for path in paths if path.exists()])
