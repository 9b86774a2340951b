"""The pool: what it says of units that could not be done, and that it wastes no time between units."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from kerf.runs.execution.pool import Pool
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from tests.runs.execution.test_forked_workers import TOY

SLOW_RAY = """
import os
import signal
import sys
import psutil
import ray
from ray._private import services
from kerf.lab.errors import KerfError
from kerf.runs.execution.local_ray import STARTS, local_ray

slow = "The current node timed out during startup. This could happen because of something."
begun, start, ask = [], ray.init, services.get_node

def ours(name):
    return [process for process in psutil.Process().children() if process.name().startswith(name)]

def get_node(*words):
    if len(begun) < 2:
        assert ours("gcs_server") and ours("raylet"), "they have started, late"
        raise Exception(slow)
    return ask(*words)

def init(**options):
    begun.append(True)
    start(**options)

ray.init, services.get_node = init, get_node
signal.signal(signal.SIGTERM, ends := lambda number, frame: sys.exit(143))
with local_ray(1):
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is ends, "and not Ray's, which aborts with a stack of C++"
    assert [len(ours(name)) for name in ("gcs_server", "raylet")] == [1, 1], "those that were late are gone"
assert len(begun) == 2

def init(**options):
    begun.append(True)
    if len(begun) < fast_from:
        raise Exception(slow)
    start(**options)

ray.init, services.get_node = init, ask
begun.clear()
fast_from = 10
try:
    with local_ray(1):
        raise AssertionError("it cannot have started")
except KerfError as error:
    assert f"Ray did not start, {STARTS} times: {slow} The machine may be too busy" in str(error), error
assert len(begun) == STARTS
assert not ray.is_initialized()
print("told")
"""


def test_a_ray_that_is_slow_to_start_is_started_again_and_at_last_told_of():
    """In a process of its own: in this one other tests may have a Ray, which would be used."""
    done = subprocess.run([sys.executable, "-c", SLOW_RAY], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "told", done.stderr


@pytest.mark.slow
def test_an_error_has_a_sentence_and_a_plain_traceback_and_the_others_are_done_without_it(tmp_path):
    units = [Unit(ALIGNED, 0), Unit(ALIGNED, 1), Unit("frozen", 0)]
    for unit in units[:2]:
        (tmp_path / unit.name).mkdir(parents=True)  # in the way: a unit is never overwritten
    with Pool(load_recipe("smoke"), tmp_path, 1, run_unit) as workers:
        failures = workers.run(
            units,
            lambda unit: [] if unit.arm == ALIGNED else [Unit(ALIGNED, unit.seed)],
            lambda progress: None,
            lambda unit: [],
        )
    assert [failure.unit for failure in failures] == units
    for failure in failures[:2]:
        assert failure.why.startswith(f"{tmp_path / failure.unit.name} is damaged: done.json cannot be read")
        assert failure.traceback.splitlines()[-1].endswith(failure.why)
        assert "store.py" in failure.traceback
        assert "\x1b" not in failure.traceback
        assert not failure.disk
    assert failures[2].why == "it needs aligned/seed-0, which is missing"


@pytest.mark.slow
def test_what_units_need_is_asked_once_and_not_at_every_progress(write, tmp_path):
    """Else the cost of a study grows with the square of its units."""
    recipe = load_recipe(write(TOY | {"iterations": 8}))
    cells = [Unit(arm, 0) for arm in ("continued", "exposure", "penalised")]
    asked, heard, done = list[Unit](), list[Unit](), list[Unit]()

    def needs(unit: Unit) -> list[Unit]:
        asked.append(unit)
        return [] if unit.arm == ALIGNED else [Unit(ALIGNED, 0)]

    def on_done(unit: Unit) -> list[Unit]:
        done.append(unit)
        return []

    with Pool(recipe, tmp_path, 1, run_unit) as workers:
        failures = workers.run([*cells, Unit(ALIGNED, 0)], needs, lambda progress: heard.append(progress.unit), on_done)
    assert not failures
    assert len(heard) > 10
    assert asked == [*cells, Unit(ALIGNED, 0)]
    assert done == [Unit(ALIGNED, 0), *cells]


@pytest.mark.slow
def test_a_unit_leaves_no_thread_that_its_end_would_wait_for(write, tmp_path):
    """RLlib's monitor of the machine's load sleeps 0.7 s at a time, and stopping waits for it."""
    before = set(threading.enumerate())
    for _ in run_unit(load_recipe(write(TOY)), Unit(ALIGNED, 0), Store(tmp_path)):
        ours = set(threading.enumerate()) - before
        assert not [thread for thread in ours if type(thread).__name__ == "UtilMonitor"]
