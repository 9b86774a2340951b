"""Penalty counts of a cell: numbers of penalised episodes by iteration and step, which another arm can be yoked to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.runs.records.folder import Folder
from kerf.runs.records.schema import PENALTY_COUNTS
from kerf.runs.records.store import Store, Unit


def write_penalty_counts(
    folder: Folder, unit: Unit, penalty_counts: Sequence[NDArray[np.int64]], penalty: float
) -> None:
    """Write `penalty_counts.parquet`: `penalty_counts[k][t]` episodes were penalised at iteration k and step t, with
    `penalty` (signed)."""
    table = np.stack(penalty_counts)
    iterations, steps = np.nonzero(table)
    columns = {
        "arm": [unit.arm] * len(steps),
        "seed": [unit.seed] * len(steps),
        "iteration": iterations + 1,
        "step": steps,
        "episodes": table[iterations, steps],
        "penalty": [penalty] * len(steps),
    }
    folder.write_table("penalty_counts", columns)


def read_penalty_counts(store: Store, unit: Unit, iterations: int, horizon: int) -> tuple[tuple[int, ...], ...]:
    """Read the numbers of penalised episodes of a finished cell, shape `(iterations, horizon)`.

    Raises:
        KerfError: if there are penalties outside this range of iterations and steps.
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(store.path / unit.name / "penalty_counts.parquet", schema=PENALTY_COUNTS).to_pydict()
    table = np.zeros((iterations, horizon), np.int64)
    try:
        table[np.array(rows["iteration"], np.int64) - 1, np.array(rows["step"], np.int64)] = rows["episodes"]
    except IndexError as error:
        raise KerfError(f"{unit.name} was dealt penalties beyond {iterations} iterations of {horizon} steps") from error
    return tuple(tuple(row) for row in table.tolist())
