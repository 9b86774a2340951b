"""How the tests call `kerf`, wait for what happens, and look at what was left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from kerf.runs.cli import main

SMALL = ("--seeds", "1", "--set", "iterations=2", "--set", "arms={frozen: null}")
"""What makes `smoke` smaller still: one seed, three arms that train."""


def kerf(*words: str | Path, code: int = 0) -> str:
    """What a command prints that ends with this exit code."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, f"{result.output}{result.exception!r}"
    return result.output


def refused(*words: str | Path) -> str:
    """The sentence of a command that is refused."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 2, f"{result.output}{result.exception!r}"
    (sentence,) = result.stderr.splitlines()
    return sentence


def wait_for(happened: Callable[[], object], seconds: float) -> None:
    """Wait until `happened` says so."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def files_that_hold(folder: Path, word: str) -> list[Path]:
    """All files below a folder in which a word stands."""
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]
