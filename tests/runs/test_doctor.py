"""`kerf doctor`: what it shows, what it calls wrong, and that no password is shown."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from kerf.runs.cli import main
from kerf.runs.doctor import PACKAGE, Findings, examine, outside
from kerf.runs.execution.limits import GIVEN, WORKER_BYTES, Allowance, allowance, core_limit, cores, memory_limit
from kerf.runs.execution.preflight import ROOM


def doctor(*words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *words])


@pytest.fixture
def broken_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `ray` that comes before the installed one and cannot be imported. Spares the second that Ray takes."""
    (tmp_path / "first" / "ray").mkdir(parents=True)
    (tmp_path / "first" / "ray" / "__init__.py").write_text("raise ImportError('libray.so: no such file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "first"))


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an installed distribution that requires what is not here, and of what is here other versions."""
    info = tmp_path / "site" / "demanding-1.0.dist-info"
    info.mkdir(parents=True)
    required = ("numpy<1", "click>=8", "nothing-of-this-name>=3", "absent>=1; extra == 'more'")
    lines = ("Metadata-Version: 2.1", "Name: demanding", "Version: 1.0", "Provides-Extra: more", "Requires-Python: <3")
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {text}" for text in required)]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "demanding"


def test_it_shows_what_a_report_needs_and_no_password(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://alice:hunter2@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    told = doctor()
    assert told.exit_code == 0, told.output
    lines = dict(line.split(maxsplit=1) for line in told.output.splitlines())
    shown = "kerf python code packages processor cores threads memory disk workers ray mlflow out package kernel"
    assert list(lines) == [*shown.split(), "problems"]
    for name in ("ray", "torch", "numba", "mlflow", "optuna"):
        assert f"{name} " in lines["packages"]
    assert "missing" not in told.output
    assert lines["ray"].endswith("can be imported")
    assert lines["mlflow"] == f"http://alice:***@127.0.0.1:{port} does not answer (Connection refused)"
    assert lines["threads"] == "OMP_NUM_THREADS=3"
    assert (lines["out"], lines["package"]) == (str(tmp_path / "out"), str(PACKAGE))
    assert lines["problems"] == "none"
    assert "hunter2" not in told.output
    assert list(tmp_path.iterdir()) == [], "it writes nothing"


@pytest.mark.usefixtures("broken_ray")
def test_what_is_wrong_is_a_sentence_and_exit_code_1(tmp_path):
    (tmp_path / "file").touch()
    told = doctor("--out", str(tmp_path / "file" / "out"), "--mlflow", f"sqlite:///{tmp_path}/m.db")
    assert told.exit_code == 1, told.output
    problems = [line for line in told.output.splitlines() if line.startswith("problem ")]
    assert len(problems) == 2, told.output
    assert "file is not a folder" in problems[0]
    assert "Ray cannot be imported: ImportError: libray.so: no such file" in problems[1]
    assert "problems" not in told.output


@pytest.mark.usefixtures("broken_ray")
def test_a_kernel_cache_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "file").touch()
    kernels = tmp_path / "file" / "kernels"
    found = examine(tmp_path, f"sqlite:///{tmp_path}/m.db", kernels)
    assert ("kernel cache", f"{kernels} (not writable)") in found.lines
    assert f"{kernels} cannot be written" in found.problems[0]


def test_versions_outside_of_what_is_required_are_problems(distribution):
    python, numpy, absent = outside(distribution)
    assert "expected <3" in python
    assert numpy == f"numpy is {np.__version__}, expected <1: `pip install 'numpy<1'`"
    assert absent.startswith("nothing-of-this-name is missing, expected >=3")


def test_requirements_of_what_is_not_installed_are_not_known():
    (sentence,) = outside("nothing-of-this-name")
    assert "is not installed" in sentence


def test_this_installation_keeps_its_own_requirements():
    assert outside() == []


def test_without_problems_it_says_so():
    assert str(Findings((("kerf", "0.1"),), ())) == "kerf          0.1\nproblems      none"


def test_too_little_room_is_told_as_before_a_study(tmp_path, monkeypatch, broken_ray):
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr("kerf.runs.execution.preflight.ROOM", 2 * free + ROOM)
    (problem, *_) = examine(tmp_path, f"sqlite:///{tmp_path}/m.db").problems
    assert "MiB are free on its disk, expected at least" in problem


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_limits_of_control_groups_count_from_the_innermost_up(tmp_path):
    groups, own = tmp_path / "groups", tmp_path / "own"
    own.write_text("0::/pod/box\n")
    written(groups, cpu__max="max 100000\n")
    written(groups / "pod", cpu__max="150000 100000\n", memory__max="4000\n", memory__current="3500\n")
    written(groups / "pod" / "box", cpu__max="max 100000\n", memory__max="3000\n", memory__current="100\n")
    assert core_limit(groups, own) == 1.5
    assert memory_limit(groups, own) == (4000, 3500), "the one that leaves least"


def test_limits_of_the_older_kind_of_control_groups_count_too(tmp_path):
    groups, own = tmp_path / "groups", tmp_path / "own"
    own.write_text("5:memory:/box\n4:cpu,cpuacct:/box\n1:name=systemd:/\n")
    written(groups / "cpu" / "box", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    written(groups / "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    written(groups / "memory" / "box", memory__limit_in_bytes=f"{2**63 - 4096}\n", memory__usage_in_bytes="1\n")
    assert core_limit(groups, own) == 0.5
    assert memory_limit(groups, own) is None, "as good as none"


def test_there_may_be_no_control_groups(tmp_path):
    assert core_limit(tmp_path, tmp_path / "own") is None
    assert memory_limit(tmp_path, tmp_path / "own") is None
    assert os.cpu_count()


def test_workers_are_as_many_as_the_job_has_cores(tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.write_text("0::/box\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert cores({}, tmp_path, own) == Allowance(16, "the affinity of this process")
    written(tmp_path / "box", cpu__max="650000 100000\n")
    assert cores({}, tmp_path, own) == Allowance(6, "a control group's limit of 6.5 cores")
    assert cores({"SLURM_CPUS_PER_TASK": "4"}, tmp_path, own) == Allowance(4, "SLURM_CPUS_PER_TASK=4")
    assert cores(dict.fromkeys(GIVEN, "many"), tmp_path, own).workers == 6
    written(tmp_path / "box", cpu__max="50000 100000\n")
    assert cores({}, tmp_path, own).workers == 1


def test_workers_are_no_more_than_the_memory_of_a_control_group_holds(tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.write_text("0::/box\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    for number, workers in ((0, 1), (2, 1), (4, 3)):
        written(tmp_path / "box", memory__max=f"{number * WORKER_BYTES}\n")
        assert allowance({}, tmp_path, own).workers == workers
    assert allowance({}, tmp_path, own).why == "a control group's limit of 3 GiB of memory, of which each takes 0.75"
