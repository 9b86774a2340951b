"""SQLite database of MLflow: created by one process at a time, recreated if incomplete, adapted if it was moved.

MLflow creates it in hundreds of steps without a transaction. Two processes that do so at the same time, or a kill in
between, leave an unusable file.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from kerf.runs.records.atomic_io import file_lock

PATIENCE = 120.0
"""Seconds to wait for another process that creates the file; a few seconds are usual."""

ARTIFACTS = "mlflow-artifacts"
"""Folder beside the file, for the artifacts of its runs."""

_BESIDE = ("", "-journal", "-wal", "-shm")  # suffixes of the files that SQLite may keep for a database


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a tracking URI if that is of SQLite, else None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()


def artifacts_of(database: Path) -> str:
    """Return the URI of the artifacts folder of this database."""
    return (database.parent / ARTIFACTS).as_uri()


def settle(database: Path, say: Callable[[str], None]) -> None:
    """Make sure that the file exists and MLflow can use it. A file with runs is never replaced.

    Args:
        database: The file.
        say: Callback for a sentence about each repair.

    Raises:
        KerfError: if another process still creates it after `PATIENCE` seconds.
        sqlite3.Error: if it is not a database, or cannot be opened.
        OSError: if it cannot be written.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    if not _has_runs(database):
        with file_lock(database.with_name(f".{database.name}.lock"), f"making {database}", PATIENCE):
            _make(database, say)
    _follow(database, say)


def _has_runs(database: Path) -> bool:
    """Return whether the file exists and has runs."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(database)) as there:
        if "runs" not in _tables(there):
            return False
        return there.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None


def _make(database: Path, say: Callable[[str], None]) -> None:
    """Create the file, unless another process has done so."""
    if _has_runs(database):
        return
    fresh = database.with_name(f".{database.name}.{secrets.token_hex(4)}.partial")
    for leftover in database.parent.glob(f".{database.name}.*.partial*"):
        leftover.unlink()
    try:
        from mlflow import MlflowClient

        MlflowClient(tracking_uri=f"sqlite:///{fresh}").search_experiments(max_results=1)
        if database.exists() and database.stat().st_size:
            if _layout(database) == _layout(fresh):
                return
            aside = f"{database.name}.half-made-{secrets.token_hex(4)}"
            for suffix in _BESIDE:
                beside = database.with_name(database.name + suffix)
                if beside.exists():
                    beside.rename(database.with_name(aside + suffix))
            say(
                f"{database} was half made, or by another MLflow, and held no run: it is now {aside}, and a new one "
                "is in its place"
            )
        fresh.rename(database)
    finally:
        for suffix in _BESIDE:
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)


def _layout(database: Path) -> tuple[set[str], list[tuple[str]]]:
    """Read the names of the tables and the version of MLflow's schema."""
    with closing(sqlite3.connect(database)) as there:
        tables = _tables(there)
        version = "SELECT version_num FROM alembic_version"
        return tables, there.execute(version).fetchall() if "alembic_version" in tables else []


def _tables(there: sqlite3.Connection) -> set[str]:
    return {name for (name,) in there.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _follow(database: Path, say: Callable[[str], None]) -> None:
    """Update artifact paths if file and artifacts were moved or copied together: MLflow stores absolute paths."""
    here = artifacts_of(database)
    with closing(sqlite3.connect(database)) as there:
        places = there.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (place,) in places:
            if place == here or not str(place).endswith(f"/{ARTIFACTS}") or not str(place).startswith("file:///"):
                continue
            if _there(place) and not _there(here):
                continue  # only the file was moved; its artifacts are still found
            with there:
                there.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (here, place))
                there.execute(
                    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?",
                    (here, len(place) + 1, len(place) + 1, f"{place}/"),
                )
            say(f"MLflow's artifacts are beside {database} now, no longer in {place}")


def _there(uri: str) -> bool:
    return Path(url2pathname(urlsplit(uri).path)).is_dir()
