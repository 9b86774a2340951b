"""Printed form of a finished sweep."""

from __future__ import annotations

from kerf.lab.errors import KerfError
from kerf.runs.records.store import Store


def shown_again(store: Store) -> str:
    """The table of a finished sweep, as it was first printed.

    Raises:
        KerfError: if the sweep has no table yet.
    """
    path = store.path / "table.txt"
    if not path.exists():
        raise KerfError(f"{store.path}: the sweep is not finished; the command that began it completes it")
    return path.read_text()
