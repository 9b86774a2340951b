"""The columns of the tables on disk, and Parquet in a form in which equal tables are equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kerf.lab.errors import KerfError

if TYPE_CHECKING:
    import pandas as pd

_KEYS = [
    ("arm", pa.string()),
    ("seed", pa.int32()),
    ("iteration", pa.int32()),
    ("env_steps", pa.int64()),
    ("metric", pa.string()),
]

MEASURES = pa.schema([*_KEYS, ("score", pa.float64()), ("num_scenarios", pa.int32())])
"""`measures.parquet`, a row a score: after `iteration` iterations (`env_steps` steps since the fork; with exact
gradients nothing is played, and these are gradient steps), the mean `score` of `metric` over `num_scenarios` held-out
scenarios (0: over all that there are, exactly). Scores are finite."""

TRAINING = pa.schema([*_KEYS, ("value", pa.float64())])
"""`training.parquet`, a row a number that training reports of itself; NaN where an iteration had nothing to report."""

PENALTY_COUNTS = pa.schema(
    [
        *_KEYS[:3],
        ("step", pa.int32()),
        ("episodes", pa.int32()),
        ("penalty", pa.float64()),
    ]
)
"""`penalty_counts.parquet`, a row a step of an iteration (counted from 1) at which any of its `episodes` were
penalised: `penalty` was subtracted from their reward at that `step` (counted from 0)."""

SCHEMAS = {"measures": MEASURES, "training": TRAINING, "penalty_counts": PENALTY_COUNTS}
"""Tables with fixed columns; all others have the columns that they are given."""


def table_bytes(name: str, columns: Mapping[str, Any] | pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file.

    Args:
        name: Name of the table; those in `SCHEMAS` are held to it.
        columns: Column name -> sequence, all of one length; or a DataFrame, whose index is left out.

    Raises:
        KerfError: for a score that is not finite; names its arm, seed, iteration and metric.
        ValueError: for missing, unknown or empty columns, wrong dtypes and missing entries.
    """
    import pyarrow.parquet as pq

    given = {str(key): np.asarray(column) for key, column in columns.items()}
    schema = SCHEMAS.get(name)
    if schema is None:
        table = pa.table({key: pa.array(column) for key, column in given.items()})
    else:
        if set(given) != set(schema.names):
            raise ValueError(f"{name} has the columns {schema.names}, got {sorted(given)}")
        # an empty column has no dtype of its own
        arrays = [pa.array(given[field.name] if len(given[field.name]) else [], type=field.type) for field in schema]
        table = pa.table(arrays, schema=schema)
        if any(column.null_count for column in table.columns):
            raise ValueError(f"{name} has missing entries")
    if name == "measures":
        _refuse_non_finite(given)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_tables(name: str, paths: Sequence[Path]) -> pd.DataFrame:
    """Tables of one schema under each other, sorted by arm, seed, iteration and metric, with a fresh index."""
    import pyarrow.parquet as pq

    schema = SCHEMAS[name]
    tables = [pq.read_table(path, schema=schema) for path in paths]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    frame: pd.DataFrame = table.sort_by(
        [(key, "ascending") for key in ("arm", "seed", "iteration", "metric")]
    ).to_pandas()
    return frame


def _refuse_non_finite(columns: Mapping[str, Any]) -> None:
    wrong = np.flatnonzero(~np.isfinite(columns["score"].astype(np.float64)))
    if len(wrong):
        at = ", ".join(f"{key} {columns[key][wrong[0]]}" for key in ("arm", "seed", "iteration", "metric"))
        raise KerfError(
            f"a score must be finite, got {columns['score'][wrong[0]]} ({at}): a failed measure is no score"
        )
