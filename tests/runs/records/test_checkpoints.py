"""Checkpoints: a unit that goes on from one in another process gives the bytes of one that was never disturbed, and
what is damaged is noticed."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import recipe_hash
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.checkpoints import EVERY, Checkpoints, clear
from kerf.runs.records.store import ALIGNED, Store, Unit
from tests.runs.test_study import records

ARMS = (
    "arms={yoked: {}, sham: {}, anchor: {}, illuminate: {kind: penalised, generator: {kind: illuminate}}, "
    "learned: {kind: penalised, generator: {kind: learned}}, "
    "remembering: {kind: penalised, generator: {kind: replay}, adversarial_share: 0.75}}"
)
SETS = (ARMS, "iterations=6", "measure_every=4", "align.ppo.iterations=3")
UNITS = [
    Unit(arm, 0) for arm in (ALIGNED, "penalised", "yoked", "sham", "anchor", "illuminate", "learned", "remembering")
]
SMOKE = load_recipe("smoke")
CUT = 3
"""Iterations after which an arm is left: measured only at the start until then."""

FINISH = """
import json, sys
from pathlib import Path
from kerf.runs.execution.unit import run_unit
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Store, Unit

sets, units = json.loads(sys.argv[1])
for root, arm in units:
    first = next(told := run_unit(load_recipe("smoke", sets=sets), Unit(arm, 0), Store(root)))
    print(json.dumps([root, arm, first.iteration, first.note]), flush=True)
    for _ in told:
        pass
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every unit, undisturbed."""
    root = tmp_path_factory.mktemp("whole")
    recipe = load_recipe("smoke", sets=SETS)
    for unit in UNITS:
        for _ in run_unit(recipe, unit, Store(root)):
            pass
    assert not (root / "checkpoints").exists()
    return root


def left(root: Path, unit: Unit, iterations: int) -> None:
    """Do so many iterations of a unit with a checkpoint after each, and leave it."""
    begun = run_unit(load_recipe("smoke", sets=SETS), unit, Store(root), checkpoint_every=0.0)
    assert [progress.iteration for progress in islice(begun, iterations)][-1] == iterations
    begun.close()
    assert not Store(root).finished(unit)


def finished_elsewhere(units: list[tuple[Path, Unit]]) -> list[tuple[str, str, int, str]]:
    """Finish units in a process of its own; what it said first of each."""
    given = json.dumps([SETS, [(str(root), unit.arm) for root, unit in units]])
    done = subprocess.run([sys.executable, "-c", FINISH, given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_units_resumed_in_another_process_give_the_same_bytes(whole, tmp_path):
    arms, penalised, imitating, acting = (tmp_path / name for name in ("arms", "penalised", "imitating", "acting"))
    for needed in ("aligned", "cells/penalised"):
        shutil.copytree(whole / needed, arms / needed)
    shutil.copytree(whole / "aligned", penalised / "aligned")
    cut = [(arms, unit, CUT) for unit in UNITS[2:]]
    cut += [(penalised, UNITS[1], 4), (imitating, UNITS[0], 2), (acting, UNITS[0], 5)]
    for root, unit, iterations in cut:
        left(root, unit, iterations)
        # none where a phase of the alignment ends: the next one begins with its weights
        made = [k for k in range(1, iterations + 1) if (unit.arm, k) != (ALIGNED, 4)]
        assert sorted(path.name for path in (root / "checkpoints" / unit.name).iterdir()) == [
            f"{k:09d}" for k in made[-2:]
        ]
    newest = arms / "checkpoints" / "cells/sham/seed-0" / f"{CUT:09d}"
    flip(newest / "arrays.safetensors", 1000)
    told = finished_elsewhere([(root, unit) for root, unit, _ in cut])
    for (root, unit, iterations), (*where, iteration, note) in zip(cut, told, strict=True):
        assert where == [str(root), unit.arm]
        if unit.arm == "sham":
            assert iteration == CUT - 1
            assert note.startswith(f"checkpoint {newest} is damaged (the SHA-256 of arrays.safetensors is not the one")
            assert note.endswith(f"goes on after {CUT - 1} iterations")
        else:
            assert (iteration, note) == (iterations, f"goes on after {iterations} iterations")
    for root, unit, _ in cut:
        unbroken, resumed = (pq.read_table(of / unit.name / "training.parquet").to_pylist() for of in (whole, root))
        assert resumed == unbroken, unit.name
        assert records(root / unit.name) == records(whole / unit.name), unit.name
    assert not (penalised / "checkpoints").exists(), "they are removed when the unit is published"
    (aside,) = (arms / "checkpoints").rglob("arrays.safetensors")
    assert aside.parent.name.startswith(f"{CUT:09d}.damaged-"), "what is damaged is left for its owner to look at"
    assert any(str(newest) in line.get("checkpoint", "") for line in Store(arms).timing())


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def parts(iteration: int) -> dict[str, tuple[dict[str, np.ndarray], dict[str, object]]]:
    rng = np.random.default_rng(iteration)
    arrays = {
        "a/b": rng.random((3, 4)),
        "step": np.float32(iteration),
        "none": np.zeros((0, 2)),
        "bytes": np.uint8([7]),
    }
    return {"one": (arrays, {"iteration": iteration, "odd": [0.1, 1e-300, float("inf")]}), "two": ({}, {"x": None})}


def kept(root: Path, *iterations: int) -> Checkpoints:
    checkpoints = Checkpoints(Store(root), Unit("penalised", 0), recipe_hash(SMOKE), every=0.0)
    for iteration in iterations:
        checkpoints.offer(iteration, lambda k=iteration: parts(k))
    return checkpoints


def same(found: object, iteration: int) -> bool:
    expected = parts(iteration)
    return (
        isinstance(found, dict)
        and set(found) == set(expected)
        and all(found[part][1] == plain for part, (_, plain) in expected.items())
        and all(
            found[part][0][name].tobytes() == array.tobytes() and found[part][0][name].shape == array.shape
            for part, (arrays, _) in expected.items()
            for name, array in arrays.items()
        )
    )


def test_the_two_latest_are_kept_and_come_back_as_they_were(tmp_path):
    checkpoints = kept(tmp_path, 9, 10, 11, 100)
    assert sorted(path.name for path in checkpoints.path.iterdir()) == ["000000011", "000000100"]
    assert same(kept(tmp_path).newest(), 100)
    checkpoints.remove()
    assert list(tmp_path.iterdir()) == []
    assert kept(tmp_path).newest() is None


def test_none_is_made_before_it_is_time(tmp_path):
    checkpoints = Checkpoints(Store(tmp_path), Unit("penalised", 0), recipe_hash(SMOKE), every=3600.0)
    checkpoints.offer(1, lambda: pytest.fail("the state was asked for"))
    assert list(tmp_path.iterdir()) == []


def test_no_flipped_bit_and_no_torn_file_goes_unnoticed(tmp_path):
    kept(tmp_path / "s", 1, 2)
    newest = tmp_path / "s" / "checkpoints" / "cells/penalised/seed-0" / "000000002"
    rng = np.random.default_rng(5)
    cases = [
        (path.name, int(at), int(rng.integers(8)))
        for path in sorted(newest.iterdir())
        for at in rng.choice(path.stat().st_size, 30)
    ] + [(path.name, -1, 0) for path in newest.iterdir()]
    assert len(cases) == 93
    for number, (name, at, bit) in enumerate(cases):
        copy = tmp_path / str(number)
        shutil.copytree(tmp_path / "s", copy)
        hurt = copy / newest.relative_to(tmp_path / "s") / name
        if at >= 0:
            flip(hurt, at, bit)
        else:
            hurt.write_bytes(hurt.read_bytes()[:-5])
        checkpoints = kept(copy)
        found = checkpoints.newest()
        if same(found, 2):  # it hit what nobody reads: the unit's name or a blank in done.json
            assert name == "done.json"
            continue
        assert same(found, 1), (name, at, bit)
        assert "is damaged" in checkpoints.notes[0]
        assert len(list(checkpoints.path.glob("000000002.damaged-*"))) == 1
        checkpoints.keep(2, parts(2))
        assert same(kept(copy).newest(), 2)


def test_when_both_are_damaged_the_unit_begins_anew(tmp_path):
    checkpoints = kept(tmp_path, 1, 2)
    for path in checkpoints.path.rglob("state.json"):
        path.write_text("")
    assert checkpoints.newest() is None
    assert len(checkpoints.notes) == 2


def test_one_of_another_recipe_or_version_is_not_used(tmp_path):
    checkpoints = kept(tmp_path, 1)
    other = Checkpoints(Store(tmp_path), Unit("penalised", 0), recipe_hash(load_recipe("smoke", sets=["penalty=3"])))
    assert other.newest() is None
    assert other.notes == [f"checkpoint {checkpoints.path / '000000001'} is of another recipe_hash and was removed"]


def test_what_a_kill_left_of_a_checkpoint_is_cleared_away(tmp_path):
    checkpoints = kept(tmp_path, 1)
    (checkpoints.path / "000000002.partial-0a0b0c0d").mkdir()
    assert same(kept(tmp_path).newest(), 1)
    assert [path.name for path in checkpoints.path.iterdir()] == ["000000001"]


def test_those_of_a_finished_unit_are_cleared_away_and_no_others(tmp_path):
    kept(tmp_path, 1)
    Checkpoints(Store(tmp_path), Unit("sham", 0), recipe_hash(SMOKE), every=0.0).keep(1, parts(1))
    clear(Store(tmp_path), [Unit("penalised", 0), Unit("yoked", 3)])
    assert [path.name for path in (tmp_path / "checkpoints" / "cells").iterdir()] == ["sham"]


def test_a_checkpoint_takes_less_than_a_fiftieth_of_the_time_between_two(tmp_path):
    """That of a long cell: the usual network, a hundred thousand rows of its log, an adversary's full memory."""
    rng = np.random.default_rng(0)
    weights = {f"{kind}/{layer}": rng.random((64, 64), np.float32) for kind in ("w", "m", "v") for layer in range(4)}
    log = {name: rng.random(100_000) for name in ("iteration", "env_steps", "value")}
    memory = {"slots": rng.integers(0, 9, (4096, 40)).tolist(), "score": rng.random(4096).tolist()}
    state = {"algorithm": (weights, memory), "log": (log, {"metric": ["sample/elicited"] * 100_000})}
    checkpoints, seconds = kept(tmp_path), []
    for iteration in range(5):
        began = time.perf_counter()
        checkpoints.keep(iteration, state)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < EVERY / 50


def test_a_full_disk_is_explained_and_the_one_before_stays(tmp_path):
    checkpoints = kept(tmp_path, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(DiskError, match=r"cannot write .*: File too large; have the limit on file sizes raised"):
            checkpoints.keep(2, parts(2))
    finally:
        signal.signal(signal.SIGXFSZ, before)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert same(kept(tmp_path).newest(), 1)
    checkpoints.keep(2, parts(2))
    assert same(kept(tmp_path).newest(), 2)
