"""`Queue` has jobs wait for each other, and does all that every backend does. Real processes."""

from __future__ import annotations

import fcntl
import shutil
import time

import pytest
from click.testing import CliRunner
from kerf_example_queue import BEGUN, Queue, lock_of

from kerf.runs.cli import main
from kerf.runs.submit.backend import BACKENDS
from kerf.runs.submit.job import Jobs

pytestmark = pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock (util-linux)")

SMALL = ("--seeds", "1", "--set", "iterations=2", "--set", "arms={frozen: null}", "--no-mlflow", "--workers", "1")


@pytest.fixture(autouse=True)
def listed(monkeypatch, tmp_path):
    """The one line that lists it in `kerf.runs.submit.backend.BACKENDS`, and a folder of its own for the jobs."""
    monkeypatch.setitem(BACKENDS, "queue", "kerf_example_queue:Queue")
    monkeypatch.delenv("KERF_JOBS", raising=False)
    monkeypatch.chdir(tmp_path)


def kerf(*words):
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done.output


def waited_for(job_id, *words, seconds):
    """The state of a job once its word is one of these."""
    deadline = time.monotonic() + seconds
    while (state := Queue().state(Jobs().read(job_id))).word not in words:
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return state


def test_a_dry_run_shows_the_lock_and_writes_nothing(tmp_path):
    printed = kerf("submit", "smoke", "--to", "queue", *SMALL, "--dry-run")
    assert f"flock {tmp_path}/out/jobs/queue.lock" in printed
    assert "kerf.runs run smoke" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_job_waits_for_its_turn_and_can_be_stopped_meanwhile(tmp_path):
    jobs = tmp_path / "out" / "jobs"
    jobs.mkdir(parents=True)
    with (jobs / "queue.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else's turn
        job_id = kerf("submit", "smoke", "--to", "queue", *SMALL).split()[0]
        job = Jobs().read(job_id)
        assert lock_of(job) == jobs / "queue.lock"
        assert waited_for(job_id, "waiting", "running", seconds=30).word == "waiting"
        kerf("stop", job_id)
        assert "stopped" in kerf("status", job_id)
    assert not (job.sent / BEGUN).exists()


@pytest.mark.slow
def test_two_studies_run_one_after_the_other():
    first, second = (kerf("submit", "smoke", "--to", "queue", *SMALL, "--out", out).split()[0] for out in ("a", "b"))
    done = {job_id: waited_for(job_id, "done", "failed", "lost", seconds=250) for job_id in (first, second)}
    assert {state.word for state in done.values()} == {"done"}
    spans = [
        ((job.sent / BEGUN).stat().st_mtime, (job.sent / "exit").stat().st_mtime)
        for job in map(Jobs().read, (first, second))
    ]
    (_, earlier_end), (later_begin, _) = sorted(spans)
    assert earlier_end <= later_begin
