"""Sweeps whose study is in a real PostgreSQL: killed, cut off, without it for some seconds; and no password shown."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from kerf.lab.errors import KerfError
from kerf.runs.records.redaction import refuse_password, without_password, without_passwords_of
from kerf.runs.study import DONE
from kerf.runs.sweep.driver import run_sweep
from kerf.runs.sweep.storage import JOURNAL, Storage, StorageError
from kerf.runs.sweep.trials import Trials
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.postgres import CANARY, Postgres, programs
from tests.runs.sweep.test_sweep import in_this_process, make, one_thread, records, stamps, sweep
from tests.runs.sweep.test_trials import OVERS, drive

EMPTY = hashlib.sha256(b"").hexdigest()

needs_postgres = pytest.mark.skipif(programs() is None, reason="PostgreSQL (Debian: postgresql) is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    made = Postgres()
    try:
        made.start()
        yield made
        made.stop()
    finally:
        made.remove()


class At:
    """Calls `do` before the statement of that number that goes to a database; counts on."""

    def __init__(self, number: int, do: Callable[[], None]) -> None:
        self._number, self._do, self.count = number, do, 0

    def __enter__(self) -> At:
        event.listen(Engine, "before_cursor_execute", self._heard)
        return self

    def __exit__(self, *raised: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._heard)

    def _heard(self, *statement: Any) -> None:
        self.count += 1
        if self.count == self._number:
            self._do()


def in_a_fork_that_is_killed(number: int, do: Callable[[], object]) -> None:
    """Do it in a fork that is killed before that statement."""
    child = os.fork()
    if child == 0:
        try:
            with At(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                do()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, "it was faster than the kill"


def cut_all(url: str) -> None:
    """Have the server end every connection but the one that asks for it."""
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"))
    engine.dispose()


@needs_postgres
@pytest.mark.slow
def test_killed_or_cut_off_before_any_statement_the_trials_are_those_of_a_journal(server, tmp_path):
    spec, num = asked(recipe(tmp_path), "pareto", *OVERS, sampler="nsga2", sampler_seed=5), 5
    expected = drive(tmp_path, spec, num)
    with At(-1, lambda: None) as whole:
        assert drive(Storage(tmp_path, server.url()), spec, num, "whole") == expected
    assert whole.count > 300
    for number in range(25, whole.count, whole.count // 4):
        kept, name = Storage(tmp_path, server.url()), f"killed-{number}"
        in_a_fork_that_is_killed(number, lambda: drive(kept, spec, num, name))  # noqa: B023 (called at once)
        assert drive(kept, spec, num, name) == expected, f"killed before statement {number} of {whole.count}"
    for number in range(45, whole.count, whole.count // 5):
        heard: list[str] = []
        with At(number, lambda: cut_all(server.url())) as cut:
            found = drive(Storage(tmp_path, server.url(), heard.append), spec, num, f"cut-{number}")
        assert cut.count > number
        assert found == expected, f"cut off before statement {number} of {whole.count}"
        assert all(CANARY not in line and "does not answer" in line for line in heard)


@needs_postgres
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dose", "pareto"])
def test_a_sweep_killed_again_and_again_has_the_records_of_a_journal(server, tmp_path, mode):
    base, spec = make(mode, tmp_path)
    assert sweep(base, spec, tmp_path / "journal")[0] == DONE
    out, seen = tmp_path / mode, dict[str, int]()
    for number in (60, 130, 110, 230):  # before this statement of a process that begins with what the last one left
        in_a_fork_that_is_killed(number, lambda: sweep(base, spec, out, server.url()))
        for path, stamp in stamps(out).items():
            assert seen.setdefault(path, stamp) == stamp, f"{path} was done twice"
    assert sweep(base, spec, out, server.url())[0] == DONE
    assert records(out) == records(tmp_path / "journal")
    assert not (out / JOURNAL).exists()


@needs_postgres
@pytest.mark.slow
def test_without_a_server_for_some_seconds_it_goes_on_and_no_password_is_anywhere(server, tmp_path):
    base, spec = make("threshold", tmp_path)
    assert sweep(base, spec, tmp_path / "journal")[0] == DONE
    out, console = tmp_path / "sweep", Console(file=io.StringIO(), width=140)
    back = threading.Timer(3.0, server.start)

    def fall() -> None:
        server.stop()
        back.start()

    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with At(150, fall):
        tracking = f"sqlite:///{tmp_path}/mlflow.db"
        code = run_sweep(base, spec, out, tracking, 1, console, server.url(), start=in_this_process)
    back.join()
    printed = console.file.getvalue()
    assert code == DONE, printed
    assert records(out).items() - {(".mirror.lock", EMPTY)} == records(tmp_path / "journal").items()
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path not in before]
    assert len(written) > 20
    assert [path for path in written if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in printed


@needs_postgres
@pytest.mark.slow
def test_a_server_that_stays_away_or_lets_nobody_in_ends_in_one_sentence(server, tmp_path):
    spec = asked(recipe(tmp_path), "pareto", *OVERS, sampler="tpe")
    for url, sentence in (
        (server.url(password=f"wrong-{CANARY}"), "password authentication failed"),
        (server.url(database="nothing"), 'database "nothing" does not exist'),
        (server.url(port=1), "refused$"),
    ):
        with pytest.raises(StorageError, match=sentence) as refused:
            Trials(Storage(tmp_path, url), "toy", spec, "digest")
        assert_one_sentence(refused.value)
    kept = Storage(tmp_path, server.url(), patience=1.0)
    expected = drive(tmp_path, spec)
    with At(250, server.stop), pytest.raises(StorageError, match="cannot be used") as away:
        drive(kept, spec, name="away")
    assert_one_sentence(away.value)
    server.start()
    assert drive(kept, spec, name="away") == expected


def assert_one_sentence(error: KerfError) -> None:
    assert "postgresql+psycopg://kerf:***@127.0.0.1" in str(error)
    assert CANARY not in str(error)
    assert "\n" not in str(error)
    assert "sqlalche.me" not in str(error)


def test_a_trial_that_cannot_be_told_now_can_be_told_later(tmp_path):
    spec = asked(recipe(tmp_path), "dose", "strength=0,1")
    said: list[str] = []
    trials = Trials(
        Storage(tmp_path, f"sqlite:///{tmp_path}/optuna.db?timeout=0.2", said.append), "toy", spec, "digest"
    )
    trials.enqueue([{"strength": 0.0}])
    trial = trials.ask()
    with sqlite3.connect(tmp_path / "optuna.db", isolation_level=None) as other:
        other.execute("begin exclusive")
        with pytest.raises(StorageError, match="database is locked"):
            trials.tell(trial, (0.5, -0.5), [], {}, retry=False)
        assert said == [], "it is not asked again"
        other.execute("rollback")
    for _ in range(2):
        trials.tell(trial, (0.5, -0.5), [], {}, retry=False)
    assert [told.number for told in trials.finished()] == [0]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:pass@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:pa/ss@rd@host:1/db", "postgresql://me:***@host:1/db"),
        ("http://:pass@host", "http://:***@host"),
        ("mysql://me@host/db?ssl=1&password=pass&x=1", "mysql://me@host/db?ssl=1&password=***&x=1"),
        ("postgresql://me@host:5432/db?connect_timeout=3", "postgresql://me@host:5432/db?connect_timeout=3"),
        ("http://host:8265", "http://host:8265"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
    ],
)
def test_addresses_are_shown_without_their_passwords(address, shown):
    assert without_password(address) == shown
    if shown == address:
        refuse_password(address, "--address")
    else:
        with pytest.raises(KerfError, match="holds a password") as refused:
            refuse_password(address, "--address")
        assert "pass@" not in str(refused.value)


def test_a_password_is_hidden_as_it_was_typed_and_as_it_was_meant():
    address = "postgresql://me:a%40b-c@host/db"
    said = without_passwords_of(address, f"no {address}, no a%40b-c and no a@b-c for me")
    assert said == "no postgresql://me:***@host/db, no *** and no *** for me"


assert one_thread  # the fixture of the tests that fork, which pytest finds by its name
