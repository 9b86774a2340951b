"""Every command under unusual conditions: paths, streams and folders. None ends in a traceback or half a file.

Commands and parameters are those of click's own tree, so that a new command is tried on the day it is added.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest
import yaml

from kerf.runs.cli import main
from kerf.runs.records.store import Store
from tests.conditions import Case, Ended, fill, run_cases, small_disk
from tests.runs.submit.calls import kerf
from tests.sharing import Shared
from tests.tiny_study import write_tiny

Words = tuple[str, ...]

KERF = Path(sys.executable).with_name("kerf")

BASES: dict[Words, Words] = {
    ("run",): ("tiny.yaml", "--out", "study", "--no-mlflow"),
    ("check",): ("tiny.yaml", "--out", "study"),
    ("compare",): ("study", "study"),
    ("exact",): ("study", "--situations", "4"),
    ("revealed",): ("study", "--arm", "penalised", "--no-mlflow"),
    ("after",): ("study", "--test", "trade", "--arm", "penalised", "--no-mlflow"),
    ("attack",): ("study", "--generator", "uniform", "--budget", "8", "--no-mlflow"),
    ("sync",): ("study", "--mlflow", "sqlite:///mlflow.db"),
    ("oracles",): ("3",),
    ("reproduce",): ("side-effects",),
    ("submit",): ("tiny.yaml", "--to", "local", "--dry-run"),
    ("unit",): ("study", "aligned/seed-0"),
    ("sweep", "run"): ("sweep.yaml", "--out", "swept", "--no-mlflow"),
    ("sweep", "dose"): ("tiny.yaml", "--over", "penalty=1,a", "--no-mlflow"),
    ("sweep", "pareto"): ("tiny.yaml", "--over", "penalty=1:a", "--no-mlflow"),
    ("sweep", "threshold"): ("tiny.yaml", "--over", "penalty=1:a", "--no-mlflow"),
    **{("bench", name): ("--help",) for name in ("train", "exact", "generators", "scale", "sweep")},
    ("cluster", "up"): ("--help",),
    ("ui",): ("--help",),
}
"""Arguments by which a command is short; for others, what its parameters ask for."""

LONG = {"bench", "cluster", "ui"}
"""Commands that begin something long or without end, for which `--help` stands in, but where a path cannot be used."""

PATHS = ("recipe", "file", "studies")
"""Names of parameters that take paths, among those whose type does not say so."""

GIVEN = {
    "recipe": "tiny.yaml",
    "file": "sweep.yaml",
    "out": "study",
    "target": "study",
    "job_id": "none",
    "name": "mine",
}

CODES = {0, 1, 2, 3}
"""Documented in docs/guides/commands.md."""

LIGHT = (
    "kerf.runs.cli",
    "kerf.runs.recipe.text",
    "kerf.runs.records.store",
    "kerf.runs.submit.submissions",
    "rich.table",
)

HEAVY = (
    *LIGHT, "torch", "numba", "pandas", "pyarrow.parquet", "scipy.stats", "mlflow", "optuna", "matplotlib.figure",
    "kerf.runs.study", "kerf.runs.report", "kerf.runs.exact", "kerf.runs.exact.table", "kerf.runs.attacks.command",
    "kerf.runs.attacks.table", "kerf.runs.sweep.driver", "kerf.runs.sweep.report", "kerf.runs.tracking.studies",
    "kerf.runs.tracking.sweeps", "kerf.runs.oracles.command", "kerf.runs.reproduce.registry", "kerf.runs.doctor",
)  # fmt: skip


def commands(command: click.Command = main, name: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    """All commands that are no groups, with their names."""
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from commands(below, (*name, word))
    else:
        yield name, command


ALL = dict(commands())

SHORT = (("sync",), ("unit",), ("compare",), ("show",), ("report",), ("replay",), ("status",))
READ = (("exact",), ("attack",), *SHORT)
"""Commands that need a study that is there; the others begin one anew where a signal is to interrupt them."""

QUICK = [
    ("check",), ("recipes",), ("submit",), ("jobs",), ("status",), ("logs",), ("stop",), ("resume",),
    ("new", "recipe"), ("new", "world"), ("new", "generator"), ("cluster", "down"), ("cluster", "up"),
]  # fmt: skip
"""Commands that load little."""


def base(name: Words) -> Words:
    """A short run of a command."""
    words = BASES.get(name)
    if words is None:
        required = [param for param in ALL[name].params if param.required]
        words = ()
        for param in required:
            given = (GIVEN[param.name or ""],)
            words += given if isinstance(param, click.Argument) else (param.opts[0], *given)
    return (*name, *words)


def path_parameters(name: Words) -> list[click.Parameter]:
    return [param for param in ALL[name].params if isinstance(param.type, click.Path) or param.name in PATHS]


def with_path(name: Words, param: click.Parameter, value: str) -> Words:
    """The short run with this value for a parameter; arguments come after `--`."""
    words = [word for word in base(name)[len(name) :] if word != "--help"]
    if isinstance(param, click.Option):
        if param.opts[0] in words:
            at = words.index(param.opts[0])
            del words[at : at + 2]
        return (*name, f"{param.opts[0]}={value}", *words)
    # the argument comes first in the short run, and others may follow it
    others = [word for word in words[1:] if not word.startswith("-") and words[words.index(word) - 1][:2] != "--"]
    options = [word for word in words[1:] if word not in others]
    return (*name, *options, "--", value, *others)


USABLE = ("with a space", "-dash", ".", "ünï-cödé-🜁", "new/below", "n" * 200, "line\nbreak", "'quote\"$(x)`", "%d{}[]*")
UNUSABLE = (
    "file/below",
    "n" * 300,
    "dangling",
    "\udcff",
    "file",
    "folder",
    "loop",
    "x/" * 2500,
    "/dev/null",
    "/proc/none/x",
)
"""Values of paths; the working folder has what they name."""

FEWER = ("-dash", *UNUSABLE[:4])
"""For commands that take longer."""


def write_recipes(folder: Path) -> None:
    write_tiny(folder / "tiny.yaml")
    sweep = {"sweep": "dose", "recipe": "tiny.yaml", "over": {"penalty": [1, 10]}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))


@pytest.fixture(scope="module")
def finished(shared: Shared) -> Path:
    """A finished study with an attack, and a finished sweep, made in the present folder by these commands."""

    def make(folder: Path) -> None:
        write_recipes(folder)
        before = os.getcwd()
        try:
            os.chdir(folder)
            kerf(*base(("run",)))
            kerf(*base(("attack",)))
            kerf(*base(("sweep", "run")))
            kerf(*base(("sync",)))
        finally:
            os.chdir(before)

    return shared.make("every-command", make)


class Places:
    """Makes working folders with what the commands name, copied from one folder, and what is in the way."""

    def __init__(self, copied: Path, into: Path) -> None:
        self._copied, self._into, self._number = copied, into, 0

    def __call__(self) -> Path:
        self._number += 1
        folder = self._into / f"place-{self._number}"
        shutil.copytree(self._copied, folder)
        (folder / "file").write_text("some text\n")
        (folder / "folder").mkdir()
        (folder / "dangling").symlink_to("nothing")
        (folder / "loop").symlink_to("loop")
        return folder


STREAMS = (
    ("stdout", None), ("stdout", "/dev/full"), ("stdin", None), ("stderr", None), ("stderr", "/dev/full"),
    ("stdout", "broken pipe"), ("stderr", "broken pipe"),
)  # fmt: skip
"""Streams, and what they are; None: closed. With commands that take longer the second is tried, and all are closed."""


def stream_cases(names: Sequence[Words], here: Callable[[], Path]) -> Iterator[Case]:
    for name in names:
        for stream, how in STREAMS:
            if name in QUICK or (stream, how) == STREAMS[1]:
                yield Case(base(name), f"{stream}: {how or 'closed'}", str(here()), streams={stream: how})
        yield Case(base(name), "no stream", str(here()), streams=dict.fromkeys(("stdin", "stdout", "stderr")))
        if name in QUICK:
            yield Case(base(name), "full, unbuffered", str(here()), streams={"stdout": "/dev/full"}, buffered=False)


def path_cases(names: Sequence[Words], here: Callable[[], Path]) -> Iterator[Case]:
    for name in names:
        for param in path_parameters(name):
            for value in (*USABLE, *UNUSABLE) if name in QUICK else FEWER:
                if name[0] in LONG and value in USABLE:
                    continue
                words = with_path(name, param, value)
                limit = 3.0 if name[0] in LONG else 60.0
                yield Case(words, f"{param.name}={value[:20]!r}", str(here()), limit=limit)


def folder_cases(names: Sequence[Words], here: Callable[[], Path]) -> Iterator[Case]:
    for name in names:
        words = base(name)
        yield Case(words, "no file can be written", str(here()), file_bytes=0)
        if name in QUICK:
            yield Case(words, "files of 100 bytes", str(here()), file_bytes=100)
        closed = here()
        for folder in [closed, *(path for path in closed.rglob("*") if path.is_dir() and not path.is_symlink())]:
            folder.chmod(0o500)
        yield Case(words, "read-only", str(closed))
        below = f"{here()}/file/below"
        for variable in ("HOME", "TMPDIR", "KERF_JOBS") if name in QUICK else ("TMPDIR",):
            yield Case(words, f"{variable} cannot be", str(here()), variables={variable: below})
        gone = here() / "gone"
        gone.mkdir()
        yield Case(words, "the working folder is gone", str(gone), gone=True)
        if name in QUICK:
            empty = here() / "empty"
            empty.mkdir()
            yield Case(words, "an empty folder", str(empty))
        if "--out" not in words:
            taken = here()
            (taken / "out").write_text("a file\n")
            yield Case(words, "out is a file", str(taken))


SIGNALS = (
    (signal.SIGINT, 0.1), (signal.SIGTERM, 0.5), (signal.SIGHUP, 1.0), (signal.SIGINT, 2.0), (signal.SIGTERM, 4.0),
)  # fmt: skip
"""Signals, and seconds after which they come: while a command reads, starts its workers, trains, writes. Those that are
short have ended before the last two."""


def signal_cases(names: Sequence[Words], here: Callable[[], Path]) -> Iterator[Case]:
    for name in names:
        for number, after in () if name in QUICK or name[0] in LONG else SIGNALS[: 3 if name in SHORT else None]:
            words = tuple(w if w not in ("study", "swept") or name in READ else "begun" for w in base(name))
            yield Case(words, f"{number.name} after {after} s", str(here()), signal=number, signal_after=after)


KINDS = (stream_cases, path_cases, folder_cases, signal_cases)

TORN = re.compile(r"\.partial|\.tmp|~$")


def wrong(ended: Ended) -> str | None:
    """What is wrong with what became of a case; None: nothing."""
    for said in (ended.stderr, ended.stdout):
        for sign in ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error"):
            if sign in said:
                return f"{sign}: {said.strip().splitlines()[-1][:200]}"
    ends = CODES if ended.case.signal == 0 else CODES | {128 + ended.case.signal, -ended.case.signal}
    if ended.code not in ends and not (ended.code == -9 and ended.case.words[0] in LONG):
        return f"exit code {ended.code}"
    lines = [line for line in ended.stderr.splitlines() if line.startswith("kerf: ")]
    if ended.code == 2 and ended.case.streams.get("stderr", "") == "" and not lines and "Error: " not in ended.stderr:
        return "no sentence"
    if ended.code > 128 and not any("kept" in line or "again" in line for line in ended.stderr.splitlines()):
        return "not told how to go on"
    if not ended.case.gone and ended.code >= 0:
        left = [str(path) for path in Path(ended.case.cwd).rglob("*") if TORN.search(path.name)]
        if left:
            return f"half a file: {left[0]}"
    return None


def check(cases: Sequence[Case], modules: Sequence[str], tmp_path: Path) -> None:
    ended = run_cases(cases, modules, tmp_path / "said")
    names = {case.words[:2] if case.words[:2] in ALL else case.words[:1] for case in cases}
    print(f"\n{len(cases)} cases of {len(names)} commands; exit codes:", Counter(each.code for each in ended))
    odd = [f"{why}\n    {each}" for each in ended if (why := wrong(each)) is not None]
    assert not odd, f"{len(odd)} of {len(cases)}:\n" + "\n".join(odd)


def test_commands_that_load_little(tmp_path):
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    write_recipes(recipes)
    here = Places(recipes, tmp_path)
    check([case for kind in KINDS for case in kind(QUICK, here)], LIGHT, tmp_path)


@pytest.mark.slow
def test_all_other_commands(finished, tmp_path):
    """All kinds of cases in one go, for it takes long to import what they need."""
    names, here = [name for name in ALL if name not in QUICK], Places(finished, tmp_path)
    check([case for kind in KINDS for case in kind(names, here)], HEAVY, tmp_path)


WRITE = (("exact",), ("attack",), ("report",), ("sync",), ("new", "recipe"))
"""Commands that write into a study or the working folder; each is also called as a user calls it."""


@pytest.mark.slow
def test_all_commands_on_a_disk_that_is_full(finished, tmp_path):
    """A real one: files can be made there, but nothing can be written into them."""
    with small_disk(tmp_path / "disk", 512) as disk:
        places = Places(finished, disk)
        here = {name: places() for name in ALL if name[0] not in LONG}
        fill(disk / "filler")
        check([Case(base(name), "a full disk", str(place)) for name, place in here.items()], HEAVY, tmp_path)
        kept = {place: Store(place / "study").units(verify=True) for place in here.values()}
        assert len({len(units) for units in kept.values()}) == 1, "what was there is intact"
        for name in WRITE:
            words = [str(KERF), *base(name)]
            full = subprocess.run(words, cwd=here[name], capture_output=True, text=True, check=False)
            assert full.returncode in (1, 2), full
            assert "No space left on device" in full.stderr + full.stdout or "are free on its disk" in full.stderr, full
            assert "Traceback" not in full.stderr, full.stderr
            assert not [path for path in here[name].rglob("*") if TORN.search(path.name)]
        (disk / "filler").unlink()
        for name in (("report",), ("new", "recipe")):
            again = subprocess.run(
                [str(KERF), *base(name)], cwd=here[name], capture_output=True, text=True, check=False
            )
            assert again.returncode == 0, again


def test_arguments_are_put_where_they_belong():
    unit = dict(path_parameters_by_name(("unit",)))["out"]
    assert with_path(("unit",), unit, "-x") == ("unit", "--", "-x", "aligned/seed-0")
    run = dict(path_parameters_by_name(("run",)))
    assert with_path(("run",), run["recipe"], "-x") == ("run", "--out", "study", "--no-mlflow", "--", "-x")
    assert with_path(("run",), run["out"], "-x") == ("run", "--out=-x", "tiny.yaml", "--no-mlflow")


def path_parameters_by_name(name: Words) -> Iterator[tuple[str, click.Parameter]]:
    for param in path_parameters(name):
        yield param.name or "", param
