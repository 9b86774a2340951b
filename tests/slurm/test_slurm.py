"""Jobs under a real Slurm: every script is one that it takes, and what it runs leaves the records of `kerf run`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kerf.runs.records.store import Store
from kerf.runs.submit.job import Jobs
from tests.runs.submit.calls import SMALL, kerf, refused, wait_for
from tests.slurm.daemons import slurm, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]


@pytest.fixture(scope="module", autouse=True)
def _slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with slurm(tmp_path_factory.mktemp("slurm"), cpus=2) as configuration, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(configuration))
        yield


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("KERF_JOBS", "KERF_RAY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_slurm_of_the_tests_listens_on_the_loopback_address_alone():
    names = {"slurmctld", "slurmd"}
    family = {process.pid for process in psutil.process_iter(["name"]) if process.info["name"] in names}
    listening = [one.laddr.ip for one in psutil.net_connections("tcp") if one.pid in family and one.status == "LISTEN"]
    assert listening == ["127.0.0.1"] * 2


@pytest.mark.parametrize("words", [["smoke"], ["turner"], ["dilemma"], ["smoke", "--nodes", "4"]], ids=" ".join)
def test_slurm_takes_every_script(words, workplace):
    options = ["--time", "10:00", "--memory", "100M", "--partition", "short", "--cpus", "2"]
    printed = kerf("submit", *words, "--to", "slurm", *options, "--dry-run")
    scripts = [text for text in printed.split("# ---- ") if text.partition("\n")[0].endswith(".sbatch")]
    assert len(scripts) == (1 if "--nodes" in words else 3 if words[0] == "smoke" else 4), "yoked arms come later"
    for script in scripts:
        name, _, text = script.partition("\n")
        (workplace / name).write_text(text)
        here = ["--nodes=1"] if "--nodes" in words else []  # this Slurm has no more
        (workplace / "out" / "jobs").mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["sbatch", "--test-only", *here, name], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stderr}"


def test_what_slurm_refuses_is_told_and_nothing_stays_behind():
    sentence = refused("submit", "smoke", "--to", "slurm", "--partition", "nowhere", "--no-mlflow")
    assert "Slurm refuses" in sentence
    assert "invalid partition" in sentence
    assert "no jobs in" in kerf("jobs")
    assert subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout == ""


def test_a_study_runs_as_arrays_with_the_records_of_kerf_run(workplace):
    job_id = kerf("submit", "smoke", "--to", "slurm", *SMALL, "--out", "there", "--no-mlflow").split()[0]
    log = kerf("logs", "-f", job_id)
    status = kerf("status", job_id)
    assert f"{job_id}  slurm  done" in status, log
    assert "4 of 4 units, report written" in status
    for part in ("aligned-0", "cells-1-0", "cells-1-2", "report"):
        assert f"==> {part}\n" in log
    assert "units of work" not in log, "the last job has nothing left to do but the report"
    ran = [sys.executable, "-P", "-m", "kerf.runs", "run", "smoke", *SMALL, "--out", "here", "--no-mlflow"]
    subprocess.run(ran, check=True, capture_output=True, timeout=600)
    here, there = Store("here"), Store("there")
    assert len(here.units()) == 4
    assert {unit: here.digest(unit) for unit in here.units()} == {unit: there.digest(unit) for unit in there.units()}
    for name in ("effects.parquet", "primaries.json", "table.txt"):
        assert (workplace / "here" / name).read_bytes() == (workplace / "there" / name).read_bytes()


def test_a_unit_that_is_told_to_stop_is_queued_again_and_a_stopped_job_leaves_nothing(workplace):
    long = ["--set", "align.imitation.iterations=100000", "--out", "long", "--no-mlflow"]
    job_id = kerf("submit", "smoke", "--to", "slurm", *SMALL, *long).split()[0]
    job = Jobs().read(job_id)
    wait_for(lambda: list((workplace / "long" / "aligned").glob("*.partial-*")), 600)
    assert "running" in kerf("status", job_id)
    subprocess.run(["scancel", "--signal=USR1", "--batch", f"{job.handle['aligned']}_0"], check=True)
    log = job.sent / "aligned-0.log"
    wait_for(lambda: "aligned/seed-0 stopped after iteration" in log.read_text(), 600)
    wait_for(lambda: "Restarts=1" in details(job.handle["aligned"]), 600)
    assert not list((workplace / "long" / "aligned").glob("*")), "nothing half done is left"
    assert kerf("stop", job_id) == f"{job_id} stopped\n"
    assert "stopped" in kerf("status", job_id)
    assert subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout == ""
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(workplace) in " ".join(process.info["cmdline"] or [])
    ]
    assert left == []


def details(slurm_job: str) -> str:
    words = ["scontrol", "show", "job", slurm_job]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ).stdout
