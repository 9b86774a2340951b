"""What each command imports of what takes long to import: no more than it uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kerf.runs.records.store import FORMAT, Store

HEAVY = {
    *("torch", "ray", "ray.rllib", "numba", "pandas", "pyarrow", "scipy.special", "scipy.stats"),
    *("mlflow", "optuna", "sqlalchemy", "matplotlib", "fsspec", "s3fs", "gymnasium"),
}

LIGHT: Sequence[tuple[str, int]] = (
    ("recipes", 0),
    ("doctor", 0),
    ("new recipe mine", 0),
    ("new world wind-tunnel", 0),
    ("new generator hill-climber", 0),
    ("check turner", 0),
    ("check dilemma --preset quick", 0),
    ("check forced-or-chiselled", 0),
    ("check adversaries", 0),
    ("check adversaries --set arms.search.generator.ask_workers=2", 0),
    ("check turner --set world=statoin", 2),
    ("run turner --set world=statoin --ray auto", 2),
    ("sweep dose turner --over penalty=1:a", 2),
    ("submit smoke --to local --dry-run", 0),
    ("submit smoke --to slurm --dry-run", 0),
    ("submit smoke --to kuberay --dry-run --image kerf --out s3://kept/smoke", 0),
    ("submit smoke --to ray --dry-run --address http://127.0.0.1:8265", 0),
    ("jobs", 0),
    ("status none", 2),
    ("logs none", 2),
    ("stop none", 2),
    ("resume none", 2),
    ("cluster down", 2),
    ("show swept --full", 0),
    ("show nothing", 2),
    ("sync nothing", 2),
    ("exact nothing", 2),
    ("revealed nothing", 2),
    ("attack nothing --objective none", 2),
    ("unit nothing aligned/seed-0", 2),
)
"""Commands that load nothing heavy, and their exit codes."""

PROGRAM = """
import contextlib, json, os, sys
import kerf.runs.recipe.text
from kerf.runs.cli import main

heavy, commands = json.load(sys.stdin)
for words in commands:
    there, here = os.pipe()
    if os.fork() == 0:
        code = 0
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            try:
                main(words, prog_name="kerf")
            except SystemExit as end:
                code = end.code or 0
        os.write(here, json.dumps([code, sorted({*heavy} & {*sys.modules})]).encode())
        os._exit(0)
    os.close(here)
    with os.fdopen(there) as told:
        print(told.read(), flush=True)
    os.wait()
"""
"""Runs commands each in a process of its own, forked from one that has imported what nearly all of them need."""


def imported(commands: Sequence[Sequence[str]], folder: Path) -> list[tuple[int, set[str]]]:
    """The exit code of each command, given in `folder`, and what of `HEAVY` it imported."""
    environment = {name: value for name, value in os.environ.items() if name not in ("KERF_JOBS", "KERF_RAY")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([sorted(HEAVY), commands]),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(commands), done.stderr
    return [(code, set(names)) for code, names in map(json.loads, lines)]


def test_commands_that_only_read_text_import_nothing_heavy(tmp_path: Path) -> None:
    swept = Store(tmp_path / "swept")
    swept.path.mkdir()
    swept.write_json(
        "study",
        {
            "records_format": FORMAT,
            "name": "s",
            "recipe_hash": "",
            "battery_hash": "",
            "seeds": [],
            "arms": {},
            "sweep": {},
        },
    )
    swept.write_text("table.txt", "a dose-response\n")
    found = imported([words.split() for words, _ in LIGHT], tmp_path)
    assert {words: told for (words, _), told in zip(LIGHT, found, strict=True)} == {
        words: (code, set()) for words, code in LIGHT
    }


def test_a_table_takes_no_torch_and_an_attack_no_ray(smoke_study: Path, tmp_path: Path) -> None:
    shown, attacked = imported([["show", str(smoke_study)], ["attack", "nothing"]], tmp_path)
    tables = {"pandas", "pyarrow", "scipy.special"}
    assert shown == (0, tables)
    assert attacked == (2, tables | {"torch"})
