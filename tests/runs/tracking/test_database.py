"""MLflow's SQLite file: made by several at once, half made, moved."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kerf.runs.tracking.database import ARTIFACTS, artifacts_of, settle

SETTLE = """
import sys
from pathlib import Path
from kerf.runs.tracking.database import settle
settle(Path(sys.argv[1]), print)
"""


def held(database: Path, location: str, artifact: str = "") -> None:
    """A file as MLflow's, with an experiment that keeps its artifacts there, and a run if it is to have one."""
    with closing(sqlite3.connect(database)) as there, there:
        there.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT)")
        there.execute("CREATE TABLE runs (artifact_uri TEXT)")
        there.execute("INSERT INTO experiments VALUES ('toy', ?)", (location,))
        if artifact:
            there.execute("INSERT INTO runs VALUES (?)", (artifact,))


def places(database: Path) -> tuple[str, str]:
    with closing(sqlite3.connect(database)) as there:
        (location,) = there.execute("SELECT artifact_location FROM experiments WHERE name = 'toy'").fetchone()
        (artifact,) = there.execute("SELECT artifact_uri FROM runs").fetchone()
    return location, artifact


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.mark.slow
def test_a_half_made_file_is_set_aside_and_made_anew(tmp_path, told):
    database = tmp_path / "new" / "mlflow.db"
    database.parent.mkdir()
    held(database, "./mlruns/0")
    with closing(sqlite3.connect(database)) as there, there:
        there.execute("CREATE TABLE alembic_version (version_num TEXT)")
    settle(database, told.append)
    (sentence,) = told
    (aside,) = database.parent.glob("mlflow.db.half-made-*")
    assert aside.name in sentence
    assert {path.name for path in database.parent.iterdir()} == {database.name, aside.name, ".mlflow.db.lock"}
    settle(database, told.append)
    assert len(told) == 1, "a whole one without runs stays"
    from mlflow import MlflowClient

    assert MlflowClient(tracking_uri=f"sqlite:///{database}").create_experiment("toy")


def test_what_holds_runs_is_never_replaced(tmp_path, told):
    database = tmp_path / "mlflow.db"
    held(database, "s3://bucket/artifacts", "s3://bucket/artifacts/1/artifacts")
    before = database.read_bytes()
    settle(database, told.append)
    assert (database.read_bytes(), told) == (before, [])


def test_artifacts_are_followed_where_file_and_folder_were_moved(tmp_path, told):
    old, new = tmp_path / "old", tmp_path / "new"
    new.mkdir()
    (new / ARTIFACTS).mkdir()
    database, location = new / "mlflow.db", artifacts_of(old / "mlflow.db")
    held(database, location, f"{location}/1/artifacts")
    settle(database, told.append)
    assert places(database) == (artifacts_of(database), f"{artifacts_of(database)}/1/artifacts")
    assert told == [f"MLflow's artifacts are beside {database} now, no longer in {location}"]
    settle(database, told.append)
    assert len(told) == 1


def test_artifacts_stay_where_the_file_alone_was_moved(tmp_path, told):
    (tmp_path / "old" / ARTIFACTS).mkdir(parents=True)
    database, location = tmp_path / "mlflow.db", artifacts_of(tmp_path / "old" / "mlflow.db")
    held(database, location, f"{location}/1/artifacts")
    settle(database, told.append)
    assert (places(database)[0], told) == (location, [])


@pytest.mark.slow
def test_several_may_be_the_first(tmp_path):
    database = tmp_path / "mlflow.db"
    words = [sys.executable, "-c", SETTLE, str(database)]
    first = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)]
    for process in first:
        told, _ = process.communicate(timeout=600)
        assert process.returncode == 0, told
        assert "half made" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.db.lock", "mlflow.db"]
