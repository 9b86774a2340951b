"""Schemas of the tables on disk, and Parquet output in which equal tables have equal bytes."""

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
"""`measures.parquet`, one row per score: the mean `score` of `metric` over `num_scenarios` held-out scenarios (0:
exact, over all scenarios) after `iteration` iterations and `env_steps` environment steps since the aligned agent
(gradient steps in exact-gradient training). Scores are finite."""

TRAINING = pa.schema([*_KEYS, ("value", pa.float64())])
"""`training.parquet`, one row per training number; none where an iteration has no value."""

PENALTY_COUNTS = pa.schema(
    [
        *_KEYS[:3],
        ("step", pa.int32()),
        ("episodes", pa.int32()),
        ("penalty", pa.float64()),
    ]
)
"""`penalty_counts.parquet`, one row per iteration (counted from 1) and `step` (counted from 0) with penalised episodes:
`penalty` was subtracted from the reward of `episodes` episodes."""

SCHEMAS = {"measures": MEASURES, "training": TRAINING, "penalty_counts": PENALTY_COUNTS}
"""Tables with fixed columns; other tables have the columns that they are given."""


def table_bytes(name: str, columns: Mapping[str, Any] | pd.DataFrame) -> bytes:
    """Convert a table into the bytes of a Parquet file.

    Args:
        name: Name of the table; if in `SCHEMAS`, the columns must match that schema.
        columns: Sequences of equal length by column name, or a DataFrame, whose index is left out.

    Raises:
        KerfError: if a score is not finite; names its arm, seed, iteration and metric.
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
        # an empty column has no meaningful dtype
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
    """Read and concatenate tables of one schema, sorted by arm, seed, iteration and metric, with a new index."""
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
