"""Units that fail: tried again after pauses, set aside when they do not get on, and the others go on."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from rich.console import Console

from kerf.runs.execution import schedule
from kerf.runs.execution.fork_server import WORKER
from kerf.runs.execution.pool import Pool
from kerf.runs.execution.schedule import MAX_TRIES
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Store, Unit
from kerf.runs.study import DONE, FAILED, run_study
from tests.runs.execution.test_forked_workers import TOY

SMOKE = load_recipe("smoke")


def work(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[object]:
    """Stands in for training, in real worker processes: what is tested is what becomes of those."""
    attempts = store.path / "attempts" / unit.arm
    attempts.parent.mkdir(exist_ok=True)
    with attempts.open("a") as file:
        file.write(f"{time.time()} {os.getpid()}\n")
    number = len(attempts.read_text().splitlines())
    yield SimpleNamespace(unit=unit, iteration=1)
    if unit.arm == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    if unit.arm == "raiser":
        raise ZeroDivisionError(f"try {number}")
    with store.unit(unit) as folder:
        folder.write_text("a.txt", "done")
    if unit.arm == "late":
        os.kill(os.getpid(), signal.SIGKILL)


def attempts(root: Path, arm: str) -> tuple[list[float], list[int]]:
    lines = [line.split() for line in (root / "attempts" / arm).read_text().splitlines()]
    return [float(when) for when, _ in lines], [int(pid) for _, pid in lines]


def kill_whoever_trains(root: Path, unit: Unit, times: int, killed: list[int]) -> None:
    """SIGKILL the worker that has this unit's folder open, so often."""
    deadline, seen = time.monotonic() + 240.0, set[Path]()
    while len(killed) < times and time.monotonic() < deadline:
        begun = set((root / unit.name).parent.glob(f"seed-{unit.seed}.partial-*")) - seen
        if begun:  # a kill leaves it there
            (trainer,) = (child for child in psutil.Process().children(recursive=True) if child.name() == WORKER)
            seen |= begun
            killed.append(trainer.pid)
            trainer.kill()
        time.sleep(0.02)


@pytest.mark.slow
def test_a_study_with_a_poison_cell_finishes_the_rest_says_so_and_tries_it_again_when_asked(
    write, tmp_path, monkeypatch
):
    monkeypatch.setattr(schedule, "BACKOFF", 0.01)
    recipe = load_recipe(write(TOY | {"arms": {"half": None}}), seeds=1)

    def study() -> tuple[int, str]:
        console = Console(file=io.StringIO(), width=140)
        code = run_study(recipe, tmp_path / "s", None, 1, console)
        return code, console.file.getvalue()

    killed = list[int]()
    poison = Unit("exposure", 0)
    killer = threading.Thread(target=kill_whoever_trains, args=(tmp_path / "s", poison, MAX_TRIES, killed))
    killer.start()
    code, printed = study()
    killer.join()
    assert len(killed) == MAX_TRIES
    assert code == FAILED
    assert "failed: cells/exposure/seed-0: set aside after 3 tries: its worker died" in printed
    assert printed.count("warning: cells/exposure/seed-0: its worker died") == MAX_TRIES - 1
    assert "the same command tries again what is missing" in printed
    done = Store(tmp_path / "s").units(verify=True)
    assert [unit.arm for unit in done] == ["aligned", "continued", "penalised"]
    assert study()[0] == DONE
    assert Store(tmp_path / "s").finished(poison, verify=True)


@pytest.mark.slow
def test_on_ray_what_does_not_get_on_is_set_aside_after_three_tries_and_the_rest_is_done(one_ray, tmp_path):
    """As `test_forked_workers.py` asks of forked workers; and with the pauses between two tries as they really are."""
    units = [Unit(arm, 0) for arm in ("raiser", "killer", "late", "plain", "needy")]
    told, done = list[str](), list[str]()

    def on_done(unit: Unit) -> list[Unit]:
        done.append(unit.arm)
        return []

    with Pool(SMOKE, tmp_path, 2, work, told.append) as workers:
        failures = workers.run(
            units, lambda unit: [Unit("raiser", 0)] if unit.arm == "needy" else [], lambda progress: None, on_done
        )
    assert {failure.unit.arm: failure.why.split(": ")[:2] for failure in failures} == {
        "raiser": ["set aside after 3 tries", "ZeroDivisionError"],
        "killer": ["set aside after 3 tries", "its worker died"],
        "needy": ["it needs cells/raiser/seed-0, which is missing"],
    }
    assert sorted(done) == ["late", "plain"]
    assert Store(tmp_path).units(verify=True) == [Unit(arm, 0) for arm in ("late", "plain")]
    for arm in ("raiser", "killer"):
        times, pids = attempts(tmp_path, arm)
        first, second = times[1] - times[0], times[2] - times[1]
        assert (first >= 1.0, second >= 4.0, len(times)) == (True, True, MAX_TRIES)
        assert len(set(pids)) == MAX_TRIES, "a process in which something went wrong is not used again"
        assert sum(line.startswith(f"cells/{arm}/seed-0: ") for line in told) == MAX_TRIES - 1
    assert len(attempts(tmp_path, "late")[0]) == 1, "it was published before its worker died"
    assert attempts(tmp_path, "plain")[0][0] < attempts(tmp_path, "killer")[0][-1], "the others go on meanwhile"
    assert "raiser/seed-0: ZeroDivisionError: try 1; try 2 of 3 in 1 s" in "\n".join(told)
    failing = next(failure for failure in failures if failure.unit.arm == "raiser")
    assert "ZeroDivisionError: try 3" in failing.traceback
