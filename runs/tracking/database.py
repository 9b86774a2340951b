"""The SQLite file that MLflow keeps runs in: made whole by one process, made anew if it is half made, and moved along.

MLflow makes it in hundreds of steps that are no transaction. Two processes that do so at once leave a file that nobody
can use, and so does a kill in the middle.
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
"""Seconds that another process may take to make the file; some seconds are usual."""

ARTIFACTS = "mlflow-artifacts"
"""Folder beside the file that holds the artifacts of its runs."""

_BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite may keep beside a file belongs to it


def sqlite_path(uri: str) -> Path | None:
    """The file of a tracking URI, if it names one of SQLite's."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()


def artifacts_of(database: Path) -> str:
    """Where artifacts of runs in this file go, as a URI."""
    return (database.parent / ARTIFACTS).as_uri()


def settle(database: Path, say: Callable[[str], None]) -> None:
    """See that a file is there that MLflow can use. What holds runs is never replaced.

    Args:
        database: The file.
        say: Hears, in a sentence, what was put right.

    Raises:
        KerfError: if another process has been making it for minutes.
        sqlite3.Error: if it is no database, or cannot be opened.
        OSError: if it cannot be written.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    if not _has_runs(database):
        with file_lock(database.with_name(f".{database.name}.lock"), f"making {database}", PATIENCE):
            _make(database, say)
    _follow(database, say)


def _has_runs(database: Path) -> bool:
    """Whether it is there and holds something that could be lost."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(database)) as there:
        if "runs" not in _tables(there):
            return False
        return there.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None


def _make(database: Path, say: Callable[[str], None]) -> None:
    """Make it, unless another process has meanwhile."""
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
    """Its tables, and the version of MLflow's schema that they are said to have."""
    with closing(sqlite3.connect(database)) as there:
        tables = _tables(there)
        version = "SELECT version_num FROM alembic_version"
        return tables, there.execute(version).fetchall() if "alembic_version" in tables else []


def _tables(there: sqlite3.Connection) -> set[str]:
    return {name for (name,) in there.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _follow(database: Path, say: Callable[[str], None]) -> None:
    """Have experiments keep their artifacts beside the file, if both were moved or copied: MLflow notes whole paths."""
    here = artifacts_of(database)
    with closing(sqlite3.connect(database)) as there:
        places = there.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (place,) in places:
            if place == here or not str(place).endswith(f"/{ARTIFACTS}") or not str(place).startswith("file:///"):
                continue
            if _there(place) and not _there(here):
                continue  # the file alone was moved, and its artifacts are found
            with there:
                there.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (here, place))
                there.execute(
                    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?",
                    (here, len(place) + 1, len(place) + 1, f"{place}/"),
                )
            say(f"MLflow's artifacts are beside {database} now, no longer in {place}")


def _there(uri: str) -> bool:
    return Path(url2pathname(urlsplit(uri).path)).is_dir()
