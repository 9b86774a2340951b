"""A disk that fills up in the middle of a study: a real one, of a few megabytes."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Store
from kerf.runs.study import DONE, FAILED, run_study
from tests.conditions import fill, small_disk
from tests.runs.test_study import records

RECIPE = load_recipe("smoke", sets=["arms={frozen: null}", "iterations=20", "measure_every=10"], seeds=1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 16) as mounted:
        yield mounted


def study(out: Path) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=140)
    code = run_study(RECIPE, out, None, 1, console, checkpoint_every=0.0)
    return code, console.file.getvalue()


def fill_when(filler: Path, when: Path) -> None:
    """Take all room that is left on the disk of `filler`, once `when` is there."""
    deadline = time.monotonic() + 600.0
    while not when.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    fill(filler)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_told_and_when_there_is_room_again_the_study_goes_on(disk, tmp_path):
    out = disk / "s"
    assert study(tmp_path / "calm")[0] == DONE
    filling = threading.Thread(
        target=fill_when, args=(disk / "filler", out / "cells" / "continued" / "seed-0" / "done.json")
    )
    filling.start()
    code, printed = study(out)
    filling.join()
    assert code == FAILED
    assert printed.count("No space left on device; free some room, then give the same command again") == 1
    assert "(the records written so far are intact)" in printed
    done = Store(out).units(verify=True)
    assert {unit.arm for unit in done} >= {"aligned", "continued"}
    assert len(done) < 4
    assert not list(out.rglob("*.partial-*"))
    (disk / "filler").unlink()
    code, printed = study(out)
    assert code == DONE, printed
    assert records(out) == records(tmp_path / "calm")
