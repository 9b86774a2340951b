"""Advice that is printed works as printed: every command that a message suggests is run, or read by the program itself.

`ADVICE` lists what the packages suggest. A suggestion that is not in the list fails the first test.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from kerf.lab.errors import KerfError
from kerf.runs.cli import main
from kerf.runs.records.store import Store
from kerf.runs.terminal.console import shell
from kerf.runs.tracking.commands import default_uri
from kerf.runs.tracking.ui import pages
from tests.runs.submit.calls import kerf, wait_for
from tests.test_layering import PACKAGES, name_of, sources
from tests.tiny_study import write_tiny

PROGRAMS = ("kerf", "mlflow", "ray", "pip", "git", "pytest", "optuna-dashboard", "python")

SUGGESTION = re.compile(rf"(?<![\w./-])(?:{'|'.join(PROGRAMS)}) (?!=)[\w{{'\"-][^`;,()]*")
"""The beginning of a command within a message; the rest of the message may follow it."""

NAMED, RUN = "names a command", "is run"

ADVICE = {
    ("runs/bench/train.py", "kerf --help"): NAMED,
    ("runs/cluster/commands.py", "kerf cluster down"): NAMED,
    ("runs/cluster/commands.py", "kerf submit RECIPE --to ray uses it"): NAMED,
    ("runs/cluster/local.py", "kerf cluster down"): NAMED,
    ("runs/cluster/local.py", "kerf cluster up starts one"): NAMED,
    ("runs/doctor.py", "pip install"): RUN,
    ("runs/doctor.py", "pip install --force-reinstall"): RUN,
    ("runs/doctor.py", "pip install -e ."): NAMED,
    ("runs/new/command.py", "kerf check {name}.yaml"): RUN,
    ("runs/new/command.py", "kerf run {tried} --no-mlflow"): NAMED,
    ("runs/new/command.py", "kerf run {name}.yaml"): RUN,
    ("runs/new/command.py", "pip install -e {name}"): NAMED,
    ("runs/new/command.py", "pytest {name}"): NAMED,
    ("runs/recipe/text.py", "kerf run"): NAMED,
    ("runs/attacks/command.py", "kerf show --full"): NAMED,
    ("runs/cli.py", "kerf report --open"): NAMED,
    ("runs/records/gate_records.py", "kerf show"): NAMED,
    ("runs/records/remote.py", "pip install 'kerf-lab[s3]'"): RUN,
    ("runs/collection/command.py", "kerf run --out"): NAMED,
    ("runs/collection/summary.py", "kerf run"): NAMED,
    ("runs/collection/table.py", "kerf report --open"): NAMED,
    ("runs/collection/table.py", "kerf show"): NAMED,
    ("runs/exact/adequacy.py", "kerf exact"): NAMED,
    ("runs/exact/adequacy.py", "python -m kerf.runs.exact.adequacy OUT"): NAMED,
    ("runs/exact/trajectories.py", "python -m kerf.runs.exact.trajectories OUT [STEPS]"): NAMED,
    ("runs/recipe/files.py", "kerf check"): NAMED,
    ("runs/recipe/files.py", "kerf run"): NAMED,
    ("runs/records/collected.py", "kerf run"): NAMED,
    ("runs/submit/commands.py", "kerf show"): NAMED,
    ("runs/records/store.py", "kerf run --out"): RUN,
    ("runs/report/ending.py", "kerf replay --open"): RUN,
    ("runs/report/ending.py", "kerf report --open"): RUN,
    ("runs/report/ending.py", "kerf show --full"): RUN,
    ("runs/report/ending.py", "kerf sync"): NAMED,
    ("runs/report/replay.py", "kerf replay"): NAMED,
    ("runs/report/page/records_sections.py", "kerf run recipe.yaml --out again"): NAMED,
    ("runs/report/page/render.py", "pip install plotly"): NAMED,
    ("runs/study.py", "kerf report"): NAMED,
    ("runs/submit/commands.py", "kerf cluster up"): NAMED,
    ("runs/submit/commands.py", "kerf doctor"): NAMED,
    ("runs/submit/commands.py", "kerf logs -f {job.id}"): RUN,
    ("runs/submit/commands.py", "kerf run."): NAMED,
    ("runs/submit/commands.py", "kerf status {job.id}"): RUN,
    ("runs/submit/ray_jobs.py", "kerf cluster up"): NAMED,
    ("runs/submit/submissions.py", "kerf logs -f {job.id} shows its output"): RUN,
    ("runs/submit/submissions.py", "kerf resume {job.id} continues it"): RUN,
    ("runs/submit/unit.py", "kerf doctor shows"): NAMED,
    ("runs/after/command.py", "kerf report --open"): RUN,
    ("runs/revealed/command.py", "kerf report --open"): RUN,
    ("runs/revealed/table.py", "kerf run --out"): NAMED,
    ("runs/sweep/file.py", "kerf run"): RUN,
    ("runs/sweep/storage.py", "pip install"): RUN,
    ("runs/tracking/commands.py", "kerf sync"): RUN,
    ("runs/tracking/commands.py", "mlflow experiments restore --experiment-id"): RUN,
    ("runs/tracking/commands.py", "kerf ui"): RUN,
}
"""What a test here does with each suggestion. A package that is begun by `kerf new` is installed, tested and run as it
says in `tests/runs/test_new.py`, a local cluster and its jobs in `tests/runs/submit/test_ray_cluster.py`."""


def words_of(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = (part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}" for part in node.values)  # type: ignore[attr-defined]
    return "".join(map(str, parts))


def suggestions(tree: ast.AST) -> Iterator[str]:
    """Commands within the texts of a module, docstrings apart, and the constant words of calls of `shell`."""
    nodes = list(ast.walk(tree))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    within = {
        id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part is not node
    }
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "shell":
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            if words and words[0] in PROGRAMS:
                yield " ".join(words)
        is_text = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        if is_text and id(node) not in docstrings | within:
            for text in words_of(node).split(", or "):  # type: ignore[arg-type]
                yield from (found.strip() for found in SUGGESTION.findall(text))


def test_every_suggestion_is_listed() -> None:
    found = {
        (name_of(path), suggestion)
        for path in sources(*PACKAGES)
        for suggestion in suggestions(ast.parse(path.read_text()))
    }
    assert found == set(ADVICE)


def test_the_search_sees_every_form() -> None:
    code = "raise Error(f'{a}: `kerf show {b}`')\nshell('mlflow', 'ui', '--port', port)\nx = 'see kerf run; no'\n"
    assert set(suggestions(ast.parse(code))) == {"kerf show {b}", "mlflow ui --port", "kerf run"}


def read(words: list[str]) -> click.Context:
    """Let the program read the words of a command, as it would before it begins."""
    command: click.Command = main
    assert words.pop(0) == "kerf"
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    return command.make_context(command.name, words)


@pytest.mark.parametrize(
    "named", sorted({text for (_, text), how in ADVICE.items() if how == NAMED and "kerf " in text})
)
def test_commands_that_are_named_exist(named: str) -> None:
    command: click.Command = main
    for word in named.split()[1:]:
        if isinstance(command, click.Group) and not word.startswith("-"):
            command = command.commands[word.strip(".")]
    assert not isinstance(command, click.Group) or "--help" in named


def in_backticks(said: str) -> str:
    """The command that a message suggests."""
    return re.findall(r"`([^` ]+ [^`]+)`", said)[-1]


def refusal(*words: str | Path) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 2, result.output
    return result.stderr


def as_printed(command: str) -> str:
    """Run a command in this process as a shell would, variables before it included; returns its output."""
    words = shlex.split(command)
    environment = {}
    while "=" in words[0]:
        name, _, environment[name] = words.pop(0).partition("=")
    if words[0] == "mlflow":
        from mlflow.cli import cli as program
    else:
        assert words[0] == "kerf"
        program = main
    result = CliRunner(env=environment).invoke(program, words[1:])
    assert result.exit_code == 0, f"{result.output}{result.exception!r}"
    return result.output


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recipe; its name needs quoting."""
    folder = tmp_path / "a place"
    folder.mkdir()
    write_tiny(folder / "tiny.yaml")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.mark.slow
def test_an_unfinished_study_is_completed_and_mlflow_filled_and_restored_as_they_say(place):
    from kerf.runs.recipe.files import load_recipe
    from kerf.runs.study import prepare_study

    out = Path("-my study")  # as of `--out ./-my...`
    prepare_study(load_recipe("tiny.yaml"), out)
    commands = {in_backticks(refusal(command, "--", out)) for command in ("show", "exact", "attack")}
    assert commands == {"kerf run './-my study/recipe.yaml' --out './-my study'"}
    said = as_printed(commands.pop())
    assert "mlflow    kerf ui './-my study'" in said
    assert Store(out).units()

    ui = next(line.partition("mlflow    ")[2] for line in said.splitlines() if line.startswith("mlflow"))
    words = shlex.split(ui)
    asked = main.commands["ui"].make_context("ui", words[2:]).params
    assert asked["uri"] is None
    assert pages("http://127.0.0.1:1", default_uri(), asked["out"]).keys() == {"arms", "study"}

    from mlflow import MlflowClient

    client = MlflowClient(default_uri())
    client.delete_experiment(client.get_experiment_by_name("tiny").experiment_id)
    restore = in_backticks(refusal("sync", "--", out))
    assert "Experiment" in as_printed(restore)
    assert client.get_experiment_by_name("tiny").lifecycle_stage == "active"


@pytest.mark.slow
def test_what_mlflow_lacks_is_filled_as_they_say(place, monkeypatch):
    kerf("run", "tiny.yaml", "--out", "a study", "--no-mlflow")
    wrong = f"sqlite:///{place}/tiny.yaml/none/mlflow.db"
    said = refusal("sync", "a study", "--mlflow", wrong)
    assert in_backticks(said) == shell("kerf", "sync", "a study", "--mlflow", wrong), (
        "where it is mended, that is filled"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", wrong)
    assert in_backticks(refusal("sync", "a study")) == "kerf sync 'a study'"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mended.db")
    assert "5 runs written" not in as_printed("kerf sync 'a study'")
    assert (place / "mended.db").exists()


def test_what_a_study_ends_with_shows_more_as_it_says(place, smoke_study, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    shutil.copytree(smoke_study, "-my study")
    said = as_printed("kerf show './-my study'").splitlines()
    looks = [line.partition(" ")[2].strip() for line in said if line.startswith(("look ", "watch ", "tables "))]
    assert len(looks) == 3
    for command in looks:
        as_printed(command)
    assert [address.rpartition("/")[2] for address in opened] == ["report.html", "replay.html#replay"]


def test_a_recipe_that_is_no_sweep_is_run_as_it_says(place):
    (place / "tiny.yaml").rename(place / "-tiny one.yaml")
    command = in_backticks(refusal("sweep", "run", "./-tiny one.yaml"))
    assert command == "kerf run './-tiny one.yaml'"
    assert read(shlex.split(command)).params["recipe"] == "./-tiny one.yaml"
    as_printed(command.replace("run", "check", 1))


def test_what_is_begun_goes_on_as_it_says(place):
    printed = [line.strip() for line in kerf("new", "recipe", "mine").splitlines() if line.startswith("  ")]
    assert printed == ["kerf check mine.yaml", "kerf run mine.yaml"]
    as_printed(printed[0])
    assert read(shlex.split(printed[1])).params["recipe"] == "mine.yaml"


def test_what_pip_is_to_install_can_be_asked_of_it():
    from kerf.runs.doctor import _pinned, outside
    from kerf.runs.sweep.storage import check_url

    assert Requirement(_pinned("ray", "kerf-lab")).specifier.contains("2.60.0")
    assert Requirement(_pinned("ray", "kerf-lab")).extras == {"default", "rllib"}
    assert outside() == []
    with pytest.raises(KerfError) as raised:
        check_url("mssql+pymssql://host/sweeps")
    assert shlex.split(in_backticks(str(raised.value))) == ["pip", "install", "pymssql"]
    assert "s3" in (metadata("kerf-lab").get_all("Provides-Extra") or ())


@pytest.mark.slow
def test_a_job_is_followed_stopped_and_resumed_as_it_says(place, monkeypatch):
    """By a real shell, which finds `kerf` on its path."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def in_shell(command: str) -> str:
        return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout

    asked = ("submit", "tiny.yaml", "--to", "local", "--no-mlflow", "--set", "iterations=20000")
    status, follow = re.findall(r"kerf (?:status|logs) [^;\n]+", kerf(*asked))
    assert "running" in in_shell(status)
    job = status.split()[-1]
    assert re.findall(r"kerf logs -f \S+", refusal(*asked)) == [follow]
    kerf("stop", job)
    (resume,) = re.findall(r"kerf resume \S+", refusal(*asked))
    in_shell(resume)
    kerf("stop", job)
    wait_for(lambda: "stopped" in in_shell(status), 60)
    in_shell(follow)
