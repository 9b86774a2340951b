"""Whose code runs: workers import the Kerf of their driver, whatever lies in the working folder, or refuse to work."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kerf.lab
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.provenance import PACKAGES, digest, refuse_other_code, this_code
from kerf.runs.study import prepare_study
from tests.runs.submit.calls import refused

HERE = Path(kerf.lab.__file__).parents[1]
"""The folder of the packages."""

ROOT = Path(__file__).parents[3]
"""The folder of the tests."""


def clone(folder: Path, change: str = "") -> Path:
    """A copy of the packages that is imported where `folder` is on the path, with a line more."""
    for package in PACKAGES:
        shutil.copytree(HERE / package, folder / "kerf" / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "kerf" / "runs" / "execution" / "unit.py").open("a") as file:
        file.write(change)
    return folder


def with_path(*folders: Path) -> dict[str, str]:
    """The environment of a process that imports from these first."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def digest_in(folder: Path) -> str:
    words = [sys.executable, "-P", "-c", "from kerf.runs.records import provenance as p; print(p.digest())"]
    done = subprocess.run(words, env=with_path(folder), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_digest_is_that_of_the_code_wherever_it_lies(tmp_path):
    assert digest_in(clone(tmp_path / "same")) == digest()
    assert digest_in(clone(tmp_path / "changed", "# a line more\n")) != digest()


def test_other_code_is_refused_in_a_sentence_that_names_both():
    refuse_other_code(this_code())
    other = {"digest": "0" * 64, "text": "/else/where on another (0.1.0, revision abc, digest 000000000000)"}
    with pytest.raises(Exception, match="another Kerf than its driver") as refusal:
        refuse_other_code(other)
    for named in (other["text"], str(HERE), digest()[:12]):
        assert named in str(refusal.value)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    prepare_study(load_recipe("smoke", sets=["arms={frozen: null}"], seeds=1), tmp_path / "study")
    return tmp_path / "study"


def unit_by(folder: Path, study: Path, *words: str) -> str:
    """What `kerf unit` of a clone refuses."""
    command = [sys.executable, "-P", "-m", "kerf.runs", "unit", str(study), "aligned/seed-0", *words]
    done = subprocess.run(command, env=with_path(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    return done.stderr


def test_a_unit_is_refused_by_another_kerf_than_that_of_its_study(study, tmp_path):
    folder = clone(tmp_path / "clone", "# a line more\n")
    said = unit_by(folder, study)
    assert re.search(rf"^kerf: {folder}/kerf on .* is not the Kerf of {study}/study.json .*{digest()[:12]}", said), said
    assert len(said.splitlines()) == 1
    manifest = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**manifest, "digest": digest_in(folder)}))
    assert f"{HERE} on " in refused("unit", study, "aligned/seed-0")
    assert "is not the Kerf of digest" in refused("unit", study, "aligned/seed-0", "--code", "0" * 12)
    assert "--code: expected a digest" in refused("unit", study, "aligned/seed-0", "--code", "main")


ON_RAY = """
import json, os, sys
from pathlib import Path
import ray
from kerf.lab.errors import KerfError
from kerf.runs.execution.local_ray import local_ray
from kerf.runs.execution.pool import Pool
from kerf.runs.execution.ray_job import refuse_nodes_with_other_code
from kerf.runs.records.store import Unit
from tests.runs.execution.test_forked_workers import SMOKE, work

def nothing(unit):
    return []

out, before = Path(sys.argv[1]), sys.argv[2:]
if before:
    os.environ["PYTHONPATH"] = os.pathsep.join([*before, os.environ["PYTHONPATH"]])  # of Ray's workers, not ours
with local_ray(1):
    try:
        with Pool(SMOKE, out, 1, work) as pool:
            failed = pool.run([Unit("plain", 0)], nothing, lambda progress: None, nothing)
        why = [failure.why for failure in failed]
    except KerfError as error:
        why = str(error)

    nodes = ""
    try:
        refuse_nodes_with_other_code()
    except KerfError as error:
        nodes = str(error)

    @ray.remote
    def look():
        return sys.path, ray.get_runtime_context().runtime_env.to_dict()

    path, environment = ray.get(look.remote())
print(json.dumps({"why": why, "nodes": nodes, "path": path, "environment": environment, "ours": sys.path}))
"""


def on_ray(tmp_path: Path, *before: Path) -> dict[str, object]:
    """A unit of work on a private Ray under `uv run`, in a folder with packages of the user's own."""
    folder = tmp_path / "mine"
    for package in ("kerf", *PACKAGES):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(f"open({str(folder / 'executed')!r}, 'a').close()\n")
    (folder / "program.py").write_text(ON_RAY)
    (folder / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\n')
    # a shell by the name of uv, whose script is called `run`: what Ray takes for `uv run`
    (folder / "run").write_text('"$@"\nexit $?\n')
    command = ["uv", "run", sys.executable, "-P", "program.py", str(tmp_path / "out"), *map(str, before)]
    done = subprocess.run(
        command,
        executable="/bin/sh",
        cwd=folder,
        env=with_path(ROOT),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,  # workers that are started by "uv" never come
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "executed").exists(), "nothing of the user's own is executed"
    found = json.loads(done.stdout)
    assert str(folder) not in found["path"]
    assert found["path"][: len(found["ours"])] == found["ours"], "a worker imports from where its driver does"
    assert not {"working_dir", "py_executable"} & set(found["environment"])
    return found


@pytest.mark.slow
def test_workers_on_ray_import_nothing_from_the_working_folder_and_are_not_started_by_uv(tmp_path):
    found = on_ray(tmp_path)
    assert (found["why"], found["nodes"]) == ([], "")


@pytest.mark.slow
def test_workers_on_ray_with_other_code_are_refused_before_their_first_unit(tmp_path):
    folder = clone(tmp_path / "clone", "# a line more\n")
    found = on_ray(tmp_path, folder)
    expected = rf"a worker imports another Kerf than its driver: {folder}/kerf on .* instead of {HERE} on"
    for said in (found["why"], found["nodes"]):
        assert re.match(expected, str(said)), said
    assert not (tmp_path / "out" / "cells").exists()
