"""`kerf new`: what it writes really works, and it refuses names that would not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kerf.runs.cli import main
from tests.test_layering import ROOT

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
RUFF = Path(sys.executable).with_name("ruff")


def kerf(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which the commands are given in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_works(here):
    """The tests of both packages pass, in one process to save imports, and the recipe is checked and run."""
    for kind, name in (("world", "wind-tunnel"), ("generator", "hill-climber"), ("recipe", "mine")):
        told = kerf("new", kind, name)
        assert told.exit_code == 0, told.output
        assert {f"wrote {file}" for file in files(here) if Path(file).parts[0] in (name, f"{name}.yaml")} == {
            line for line in told.output.splitlines() if line.startswith("wrote ")
        }
    suites = subprocess.Popen(
        [
            *PYTEST,
            "-c",
            "/dev/null",
            "-o",
            "pythonpath=wind-tunnel/src hill-climber/src",
            "wind-tunnel",
            "hill-climber",
        ],
        env={**os.environ, "PYTHONPATH": "wind-tunnel/src:hill-climber/src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    checked = kerf("check", "mine.yaml")
    assert checked.exit_code == 0, checked.output
    ran = kerf("run", "mine.yaml", "--preset", "quick", "--no-mlflow", "--workers", "1")
    assert ran.exit_code == 0, ran.output
    assert "1 of 1 agents passed" in (here / "out" / "mine-quick" / "table.txt").read_text()
    told, _ = suites.communicate(timeout=240)
    assert suites.returncode == 0, told
    assert " passed" in told
    linted = subprocess.run(
        f"{RUFF} check --config {ROOT}/pyproject.toml . && {RUFF} format --check --config {ROOT}/pyproject.toml .",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.slow
def test_packages_that_are_installed_are_found_by_their_names(here, monkeypatch):
    """Each is tested and installed as its users would, and all are used in a study."""
    asked = (("world", "wind-tunnel", "--forgeries"), ("generator", "hill-climber"), ("world", "sweet-shop"))
    for kind, name, *options in asked:
        assert kerf("new", kind, name, *options).exit_code == 0
        tested = subprocess.run(PYTEST, cwd=name, capture_output=True, text=True, timeout=240)
        assert tested.returncode == 0, tested.stdout
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*pip, "--target", "site", f"./{name}"], check=True, timeout=240)
    monkeypatch.setenv("PYTHONPATH", str(here / "site"))
    command = [sys.executable, "-m", "kerf.runs", "run", "smoke", "--seeds", "1", "--no-mlflow", "--out", "out"]
    settings = ("world=wind_tunnel", "arms.penalised.generator.kind=hill_climber")
    done = subprocess.run(
        [*command, *(word for setting in settings for word in ("--set", setting))],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (here / "out" / "table.txt").is_file()
    own = ["sweet-shop/sweet_shop.yaml", "--preset", "quick", "--no-mlflow", "--out", "own"]
    done = subprocess.run([sys.executable, "-m", "kerf.runs", "run", *own], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ideal utility kept" in done.stdout, "its agents pass the gate, and the conclusion is drawn"
    assert "skill lost" not in done.stdout


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("world", "Wind Tunnel", "expected lower-case words"),
        ("world", "../up", "expected lower-case words"),
        ("generator", "2fast", "expected lower-case words"),
        ("world", "station", "there is a world 'station' already"),
        ("generator", "mutation", "there is a generator 'mutation' already"),
        ("world", "while", "is reserved by Python"),
        ("world", "json", "is reserved by Python"),
        ("world", "numpy", "is installed already"),
        ("recipe", "smoke", "a built-in recipe has this name"),
        ("recipe", "my/recipe", "expected at most 60 lower-case letters"),
        ("recipe", "x" * 61, "expected at most 60 lower-case letters"),
    ],
)
def test_names_that_would_not_do_are_refused(here, kind, name, sentence):
    told = kerf("new", kind, name)
    assert told.exit_code == 2
    assert sentence in told.output
    assert len(told.output.splitlines()) == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("kind", ["world", "generator", "recipe"])
def test_nothing_is_overwritten(here, kind):
    assert kerf("new", kind, "mine").exit_code == 0
    before = {file: (here / file).read_bytes() for file in files(here)}
    told = kerf("new", kind, "mine")
    assert told.exit_code == 2
    assert "is there already, and nothing is overwritten" in told.output
    assert {file: (here / file).read_bytes() for file in files(here)} == before


@pytest.mark.parametrize(
    ("name", "cls"),
    [("harbour", "HarbourWorld"), ("my-world", "MyWorld"), ("none", "NoneWorld"), ("realm", "RealmWorld")],
)
def test_the_class_is_named_after_the_package_and_is_no_other(here, name, cls):
    assert kerf("new", "world", name).exit_code == 0
    module = name.replace("-", "_")
    source = (here / name / "src" / module / "world.py").read_text()
    assert re.search(rf"^class {cls}\(StateMachine\):$", source, re.MULTILINE)


def test_a_folder_that_cannot_be_written_is_refused(here):
    (here / "mine.yaml").mkdir()
    told = kerf("new", "recipe", "mine")
    assert told.exit_code == 2
    assert "nothing is overwritten" in told.output
