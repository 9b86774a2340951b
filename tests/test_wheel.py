"""The wheel: it holds all that Kerf needs, in one import package, and does not mind who else is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kerf.runs.records.store import Store
from tests.test_layering import PACKAGES, ROOT

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]

TINY = """
name: tiny
world: dilemma
seeds: 2
network: {hidden: [4]}
exact: {imitation: {iterations: 2}}
gate: {value: 0, competence: 0, fooled: 0}
iterations: 1
battery: {exact: true, strengths: [0, 1]}
arms: {continued: {}, penalised: {agent: table}}
primaries:
  - {name: p, arm: penalised, against: continued, metric: value/care, direction: decrease, falsified_by: nothing at all}
"""
"""Exact gradients: with PPO, a fresh installation would first compile for half a minute."""


def done(command: list[str], cwd: Path, python_path: Path | None = None) -> str:
    """What a command prints; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    came = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert came.returncode == 0, came.stdout + came.stderr
    return came.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as sources are changed by building: nothing is fetched for it."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    done([*PIP, "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", "built", "."], folder)
    (built,) = (folder / "built").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages: the wheel, and another distribution that owns `agents`. It hides the Kerf under test."""
    folder = tmp_path_factory.mktemp("packages")
    done([*PIP, "install", "-q", "--no-deps", "--no-index", "--target", str(folder), str(wheel)], folder)
    (folder / "agents").mkdir()
    (folder / "agents" / "__init__.py").write_text("OWNER = 'somebody else'\n")
    return folder


def test_it_holds_every_file_of_ours_in_one_import_package(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {
        f"kerf/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == ours - {"kerf/runs/revision.txt"}


def test_it_stands_beside_another_distribution_that_owns_agents(installed, tmp_path):
    code = "import agents, kerf.agents.algorithm as ours; print(agents.OWNER, ours.__file__)"
    owner, _, file = done([sys.executable, "-c", code], tmp_path, installed).strip().rpartition(" ")
    assert owner == "somebody else"
    assert Path(file) == installed / "kerf" / "agents" / "algorithm.py"


def test_a_study_runs_in_a_folder_that_holds_packages_of_these_names(installed, tmp_path):
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('{name} of the user was imported')\n")
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-m", "kerf.runs", "run", "tiny.yaml", "--workers", "2", "--no-mlflow", "--out", "out"]
    done(command, tmp_path, installed)
    assert Store(tmp_path / "out").manifest()["revision"] is None, "it ran from the copy, which has no history"


def test_the_package_is_found_from_anywhere(tmp_path):
    assert done([sys.executable, "-c", "import kerf.lab; print(kerf.lab.__file__)"], tmp_path).strip() == str(
        ROOT / "lab" / "__init__.py"
    )
