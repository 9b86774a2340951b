"""Submitting to this machine, and what all backends share: ids, records, sentences. Real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.core import url_to_fs

from kerf.runs.execution.fork_server import WORKER
from kerf.runs.execution.processes import JOB_MARK, end_marked, marked
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.paths import folder_of
from kerf.runs.records.store import Store
from kerf.runs.study import prepare_study
from kerf.runs.submit.backend import BACKENDS
from kerf.runs.submit.commands import OPTIONS, submit
from kerf.runs.submit.job import Jobs
from kerf.runs.submit.work import Asked, is_sweep, work_of
from tests.runs.submit.calls import SMALL, files_that_hold, kerf, refused, wait_for

CANARY = "canary-5f1d0c"


def test_options_concern_backends_that_there_are():
    assert {name for names in OPTIONS.values() for name in names} == set(BACKENDS)
    assert set(OPTIONS) <= {parameter.name for parameter in submit.params}


def test_a_dry_run_prints_what_would_be_sent_and_writes_nothing(workplace):
    printed = kerf("submit", "smoke", "--to", "local", *SMALL, "--dry-run")
    assert f"cd {workplace}" in printed
    assert "-m kerf.runs run smoke --seeds 1 --set iterations=2 --set" in printed
    assert f" --out {workplace}/out/smoke-" in printed
    assert list(workplace.iterdir()) == []


def test_the_id_is_that_of_what_is_asked_for(tmp_path):
    def job_id(to="local", **asked):
        return work_of(Asked(**{"what": "smoke", **asked}), tmp_path).job_id(to)

    assert job_id() == job_id()
    assert job_id().startswith("smoke-")
    others = [
        job_id("slurm"),
        job_id(seeds=1),
        job_id(sets=("penalty=1",)),
        job_id(out="/tmp/elsewhere"),
        job_id(mlflow=None),
    ]
    assert len({job_id(), *others}) == 6


def test_a_file_is_kept_as_it_was_when_it_was_submitted(workplace):
    (workplace / "mine.yaml").write_text(smoke_text())
    printed = kerf("submit", "mine.yaml", "--to", "local", "--dry-run")
    (kept,) = [word for word in printed.split() if word.endswith("files/mine.yaml")]
    assert Path(kept).is_relative_to(workplace / "out" / "jobs")
    before = work_of(Asked("mine.yaml"), workplace).job_id("local")
    (workplace / "mine.yaml").write_text(smoke_text().replace("seeds: 2", "seeds: 3"))
    assert work_of(Asked("mine.yaml"), workplace).job_id("local") != before


def smoke_text() -> str:
    from kerf.runs.recipe.files import built_in_recipes

    return built_in_recipes()["smoke"].read_text()


def test_a_sweep_file_is_known_by_its_key_and_passed_on(workplace):
    (workplace / "doses.yaml").write_text("sweep: {penalty: [1, 2]}\nrecipe: smoke\n")
    assert is_sweep("doses.yaml")
    assert not is_sweep("smoke")
    assert not is_sweep("nowhere.yaml")
    printed = kerf("submit", "doses.yaml", "--to", "local", "--out", "there", "--dry-run")
    assert f"sweep run {workplace}/out/jobs/doses-" in printed
    assert f"files/doses.yaml --out {workplace}/there" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit", "smoke", "--to", "slrm"], "unknown backend 'slrm'; did you mean 'slurm'?"),
        (["submit", "smok", "--to", "local"], "unknown recipe 'smok'; did you mean 'smoke'?"),
        (["submit", "smoke", "--to", "local", "--set", "penaly=1"], "did you mean 'penalty'?"),
        (["submit", "smoke", "--to", "local", "--image", "x"], "--image concerns kuberay only, got --to local"),
        (["submit", "smoke", "--to", "local", "--time", "1"], "--time concerns slurm and kuberay only"),
        (["submit", "smoke", "--to", "local", "--mlflow", "x", "--no-mlflow"], "exclude each other"),
        (["submit", "smoke", "--to", "local", "--mlflow", f"http://me:{CANARY}@host"], "--mlflow holds a password"),
        (["status", "smoke-1"], "unknown job 'smoke-1'"),
        (["stop", "../etc"], "unknown job '../etc'"),
        (["logs", "-f", "nothing"], "holds no jobs"),
        (["resume", "nothing"], "holds no jobs"),
    ],
)
def test_mistakes_end_in_a_sentence(words, said, workplace):
    sentence = refused(*words)
    assert said in sentence
    assert CANARY not in sentence
    assert list(workplace.iterdir()) == []


def test_a_damaged_record_is_told_of(workplace):
    (workplace / "out" / "jobs" / "smoke-1").mkdir(parents=True)
    (workplace / "out" / "jobs" / "smoke-1" / "job.json").write_text("{")
    assert "damaged" in refused("status", "smoke-1")


def test_the_folder_of_jobs_can_be_elsewhere(workplace, monkeypatch):
    monkeypatch.setenv("KERF_JOBS", str(workplace / "mine"))
    assert Jobs().root == workplace / "mine"
    assert "no jobs in" in kerf("jobs")


def test_ending_what_is_marked_ends_that_and_nothing_else(tmp_path):
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    script = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {stubborn!r}], start_new_session=True).wait()"
    )
    processes = {
        mark: subprocess.Popen(
            [sys.executable, "-c", script], env={JOB_MARK: str(tmp_path / mark)}, stdout=subprocess.PIPE, text=True
        )
        for mark in ("ours", "theirs")
    }
    try:
        for process in processes.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        assert len(marked(JOB_MARK, str(tmp_path / "ours"))) == 2
        assert end_marked(JOB_MARK, str(tmp_path / "ours"), grace=0.2) == 2
        assert marked(JOB_MARK, str(tmp_path / "ours")) == []
        assert len(marked(JOB_MARK, str(tmp_path / "theirs"))) == 2
    finally:
        end_marked(JOB_MARK, str(tmp_path / "theirs"), grace=0.1)
        for process in processes.values():
            process.wait(timeout=10)
            assert process.stdout is not None
            process.stdout.close()


@pytest.mark.slow
def test_a_local_job_is_stopped_without_a_trace_and_resumed_to_its_end(workplace, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", CANARY * 4)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", CANARY)
    job_id = kerf("submit", "smoke", "--to", "local", *SMALL).split()[0]
    assert "submitted already and is running" in refused("submit", "smoke", "--to", "local", *SMALL)
    folder = Jobs().folder(job_id)
    wait_for(lambda: any(process.name() == WORKER for process in marked(JOB_MARK, str(folder))), 600)
    assert kerf("stop", job_id) == f"{job_id} stopped\n"
    assert marked(JOB_MARK, str(folder)) == []
    assert f"{job_id}  local  stopped" in kerf("status", job_id)
    assert kerf("resume", job_id).endswith("(attempt 2)\n")
    assert "stop it first" in refused("resume", job_id)
    log = kerf("logs", "-f", job_id)
    status = kerf("status", job_id)
    assert f"{job_id}  local  done" in status, log
    assert "4 of 4 units, report written" in status
    assert "[  4/4]" in log
    assert "had ended already: done" in kerf("stop", job_id)
    assert "nothing is left to do" in refused("resume", job_id)
    assert "done" in kerf("jobs")
    wait_for(lambda: marked(JOB_MARK, str(folder)) == [], 600)
    assert json.loads((folder / "job.json").read_text())["id"] == job_id
    assert files_that_hold(workplace, CANARY) == [], "no secret is written down"


@pytest.mark.slow
def test_a_job_whose_records_are_elsewhere_is_seen_from_everywhere(workplace, s3, monkeypatch):
    submitted = kerf("submit", "smoke", "--to", "local", *SMALL, "--out", f"{s3}/x", "--no-mlflow")
    job = submitted.split()[0]
    assert f"  {s3}/x: not started, or not visible from here" in kerf("status", job)
    assert f"kept at   {s3}/x" in kerf("logs", "-f", job)
    assert f"{job}  local  done" in kerf("status", job)
    shutil.rmtree(workplace / "out" / "remote")
    assert f"  {s3}/x: 4 of 4 units, report written" in kerf("status", job)
    assert kerf("jobs").splitlines()[1].endswith(f"{s3}/x")
    (workplace / "another").mkdir()
    monkeypatch.chdir(workplace / "another")
    assert "penalty-costs-care" in kerf("show", f"{s3}/x", "--full")


@pytest.mark.slow
def test_units_of_a_study_elsewhere_are_done_one_by_one_on_machines_that_share_nothing(workplace, s3, monkeypatch):
    recipe = load_recipe("smoke", seeds=1, sets=["iterations=2"])
    names = ["aligned/seed-0", "cells/penalised/seed-0"]
    prepare_study(recipe, Store.kept_at(folder_of(f"{s3}/x"), f"{s3}/x").path)
    for name in names:
        (workplace / name).mkdir(parents=True)
        monkeypatch.chdir(workplace / name)
        assert f"{name} done: " in kerf("unit", f"{s3}/x", name)
    fs, base = url_to_fs(f"{s3}/x", skip_instance_cache=True)
    fs.rm(f"{base}/{names[1]}", recursive=True)  # as if its process had died before it could send it
    assert kerf("unit", f"{s3}/x", names[1]) == f"{names[1]} is done already\n"
    assert fs.exists(f"{base}/{names[1]}/done.json")
    assert [unit.name for unit in Store(Path("out/remote/s3/kept/x")).units()] == names
