"""Whole sweeps, really trained: killed at any moment, continued, repeated, and compared byte for byte."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.study import DONE, NOT_ALIGNED
from kerf.runs.sweep.driver import run_sweep
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.storage import JOURNAL
from kerf.runs.sweep.units import sweep_unit
from tests.runs.sweep.asking import asked, recipe

UNEQUAL = {"timing.jsonl", ".lock", JOURNAL, ".remote", ".fetching"}
"""Files that hold wall times or nothing."""

TINY = {"seeds": 2, "iterations": 2, "measure_every": 2, "exact": {"imitation": {"iterations": 40}}}


class InThisProcess:
    """Does units one after another, here: exact gradients need no Ray, and a kill takes all of it."""

    def __init__(self, base: Recipe, store: Store) -> None:
        self._base, self._store = base, store

    def run(
        self,
        units: Sequence[Unit],
        needs: Callable[[Unit], Sequence[Unit]],
        on_progress: Callable[[Any], None],
        on_done: Callable[[Unit], Sequence[Unit]],
    ) -> list[Any]:
        waiting = list(units)
        while waiting:
            unit = next(unit for unit in waiting if all(map(self._store.finished, needs(unit))))
            for progress in sweep_unit(self._base, unit, self._store, 1):
                on_progress(progress)
            dropped = [unit, *on_done(unit)]
            waiting = [unit for unit in waiting if unit not in dropped]
        return []


@contextmanager
def in_this_process(base: Recipe, store: Store, num_workers: int) -> Iterator[InThisProcess]:
    yield InThisProcess(base, store)


def sweep(base: Recipe, spec: SweepSpec, out: Path, storage: str | None = None) -> tuple[int, str]:
    """Run a sweep here; its exit code and what it printed."""
    console = Console(file=io.StringIO(), width=140)
    code = run_sweep(base, spec, out, None, 1, console, storage, start=in_this_process)
    return code, console.file.getvalue()


def records(out: Path) -> dict[str, str]:
    """SHA-256 of every record, by relative path."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in UNEQUAL
    }


def stamps(out: Path) -> dict[str, int]:
    """When each finished unit was finished."""
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("done.json") if ".partial-" not in str(path)}


def make(mode: str, tmp_path: Path) -> tuple[Recipe, SweepSpec]:
    base = recipe(tmp_path, TINY)
    if mode == "dose":
        return base, asked(base, "dose", "strength=0.5,1", "penalty=10", limit="care=-0.01")
    if mode == "threshold":
        return base, asked(base, "threshold", "exact.training.learning_rate=1e-3:0.1:log", limit="care=-0.02", points=3)
    overs = ("strength=0:1", "adversarial_share=0.5:1")
    return base, asked(base, "pareto", *overs, sampler="tpe", trials=5, batch=2, held_out=1, floors=("care=-0.9",))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """A fork has none of its parent's threads; and sums are the same with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dose")
    code, printed = sweep(*make("dose", folder), folder / "sweep")
    assert code == DONE, printed
    return folder / "sweep"


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "kills"), [("dose", 8), ("threshold", 5), ("pareto", 7)])
def test_killed_at_any_moment_the_same_command_finishes_with_the_same_records(tmp_path, mode, kills):
    """Twenty kills in all: a fork runs the sweep and is killed, again and again, until it is done; then from anew."""
    base, spec = make(mode, tmp_path)
    began = time.monotonic()
    assert sweep(base, spec, tmp_path / "whole")[0] == DONE
    whole, expected = time.monotonic() - began, records(tmp_path / "whole")
    moments, killed = random.Random(f"kerf {mode}"), 0
    for attempt in range(kills + 1):
        out, seen = tmp_path / f"killed-{attempt}", dict[str, int]()
        while True:
            patience = moments.uniform(0.01, 0.2) * whole if killed < kills else 60.0
            finished = run_for(patience, base, spec, out)
            for path, stamp in stamps(out).items():
                assert seen.setdefault(path, stamp) == stamp, f"{path} was done twice"
            if finished:
                break
            killed += 1
        assert records(out) == expected
        if killed >= kills:
            return
    raise AssertionError(f"only {killed} kills: the sweep was faster")


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 2])
def test_killed_on_one_machine_it_goes_on_on_another(tmp_path, told):
    """Of the first machine nothing is left but what it sent to where the sweep is kept."""
    base, spec = make("pareto", tmp_path)
    assert sweep(base, spec, tmp_path / "whole")[0] == DONE
    address, there = f"file://{tmp_path}/there", tmp_path / "there"
    Store.kept_at(tmp_path / "first", address)
    child = os.fork()
    if child == 0:
        try:
            sweep(base, spec, tmp_path / "first")
        finally:
            os._exit(1)
    wanted = told + 1  # a cell of the control, and one more for each trial
    while len(list(there.glob("cells/*/seed-*/done.json"))) < 2 * wanted:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the sweep ended before its kill"
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    shutil.rmtree(tmp_path / "first")
    sent = stamps(there)
    Store.kept_at(tmp_path / "second", address)
    code, printed = sweep(base, spec, tmp_path / "second")
    assert code == DONE, printed
    assert printed.endswith(f"kept at   {address}\n")
    assert sent.items() <= stamps(there).items(), "what was sent is not done again"
    expected = records(tmp_path / "whole")
    assert records(there) == expected
    assert records(tmp_path / "second") == expected


def run_for(seconds: float, base: Recipe, spec: SweepSpec, out: Path, storage: str | None = None) -> bool:
    """Run a sweep in a fork and kill that after `seconds`; whether it was done before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = sweep(base, spec, out, storage)[0]
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == DONE
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@pytest.mark.slow
def test_the_same_sweep_gives_the_same_bytes_and_repeats_nothing(dose, tmp_path):
    base, spec = make("dose", tmp_path)
    code, printed = sweep(base, spec, tmp_path / "again")
    assert code == DONE
    assert "continued seed 1  " in printed
    assert "penalised seed 0 at strength 0.5, penalty 10  " in printed
    assert records(tmp_path / "again") == records(dose)
    before = stamps(tmp_path / "again")
    code, printed = sweep(base, spec, tmp_path / "again")
    assert code == DONE
    assert stamps(tmp_path / "again") == before
    assert "worker" not in printed


@pytest.mark.slow
def test_alignment_and_control_are_shared(dose):
    units = Store(dose).units(verify=True)
    arms = {unit.arm for unit in units}
    assert len([unit for unit in units if unit.arm == ALIGNED]) == 2
    assert len([arm for arm in arms if arm.startswith("continued-")]) == 1
    assert len([arm for arm in arms if arm.startswith("penalised-")]) == 3 * 2, "strengths 0, 0.5, 1; penalties 0, 10"
    assert {path.stem for path in (dose / "arms").iterdir()} == arms - {ALIGNED}


@pytest.mark.slow
def test_the_records_are_the_effects_of_the_cells(dose):
    trials = pd.read_parquet(dose / "trials.parquet")
    changes = pd.read_parquet(dose / "changes.parquet")
    assert sorted(set(zip(trials["strength"], trials["penalty"], strict=True))) == [
        (strength, penalty) for strength in (0.0, 0.5, 1.0) for penalty in (0.0, 10.0)
    ]
    row = trials[(trials["strength"] == 1) & (trials["penalty"] == 10) & (trials["metric"] == "value/care")].iloc[0]
    effects = []
    for seed in (0, 1):
        gained = []
        for arm in (row["arm"], row["control"]):
            measures = pd.read_parquet(dose / Unit(arm, seed).name / "measures.parquet")
            care = measures[measures["metric"] == "value/care"].set_index("iteration")["score"]
            gained.append(care.loc[2] - care.loc[0])
        effects.append(gained[0] - gained[1])
    assert row["mean"] == pytest.approx(sum(effects) / 2)
    stored = changes[(changes["trial"] == row["trial"]) & (changes["metric"] == "value/care")]
    assert stored["effect"].tolist() == pytest.approx(effects)
    metrics = trials[trials["trial"] == row["trial"]].set_index("metric")["mean"]
    untouched = json.loads((dose / "findings.json").read_text())["sweep"]["untouched"]
    assert metrics["collateral"] == pytest.approx(sum(metrics[f"value/{name}"] for name in untouched) / len(untouched))
    assert metrics["robustness"] == pytest.approx(-metrics["false_exit/1.0"])


@pytest.mark.slow
def test_it_ends_in_a_table_and_figures(dose):
    text = (dose / "table.txt").read_text()
    assert "Effects of penalised against continued: mean over 2 seeds" in text
    assert "care" in text
    assert {path.name for path in dose.glob("*.svg")} == {"dose-response.svg", "phase.svg"}
    assert all((dose / name).read_bytes().startswith(b"\x89PNG") for name in ("dose-response.png", "phase.png"))


@pytest.mark.slow
def test_cells_that_were_moved_away_are_done_again(dose, tmp_path):
    torn = tmp_path / "torn"
    shutil.copytree(dose, torn)
    lost = next(unit for unit in Store(torn).units() if unit.arm.startswith("penalised-"))
    shutil.rmtree(torn / lost.name)
    assert sweep(*make("dose", tmp_path), torn)[0] == DONE
    assert records(torn) == records(dose)


@pytest.mark.slow
def test_another_sweep_or_a_study_is_refused(dose, tmp_path):
    from kerf.runs.sweep.driver import refuse_other_sweep

    base, _ = make("dose", tmp_path)
    other = asked(base, "dose", "strength=0.5,1", "penalty=20", limit="care=-0.01")
    with pytest.raises(KerfError, match="holds another sweep: over is"):
        refuse_other_sweep(dose, base, other)
    with pytest.raises(KerfError, match="holds another study"):
        sweep(base, other, dose)


@pytest.mark.slow
def test_a_sweep_without_an_aligned_agent_says_so(tmp_path):
    base = recipe(tmp_path, TINY | {"gate": {"value": 1}})
    code, printed = sweep(base, asked(base, "pareto", "strength=0:1", trials=2, sampler="tpe"), tmp_path / "sweep")
    assert code == NOT_ALIGNED
    assert printed.count("is not aligned and was not studied") == 2
    assert {unit.arm for unit in Store(tmp_path / "sweep").units()} == {ALIGNED}


@pytest.mark.slow
def test_the_front_is_measured_again_on_seeds_that_chose_nothing(tmp_path):
    base, spec = make("pareto", tmp_path)
    code, printed = sweep(base, spec, tmp_path / "sweep")
    assert code == DONE, printed
    trials = pd.read_parquet(tmp_path / "sweep" / "trials.parquet")
    held_out = trials[trials["held_out"]]
    front = json.loads((tmp_path / "sweep" / "findings.json").read_text())["front"]
    assert front
    assert set(held_out["trial"]) == set(front)
    assert set(pd.read_parquet(tmp_path / "sweep" / "changes.parquet").query("held_out")["seed"]) == {2}
    assert "On held-out seeds" in printed


@pytest.mark.slow
def test_a_threshold_is_bracketed_more_closely_round_by_round(tmp_path):
    base, spec = make("threshold", tmp_path)
    code, printed = sweep(base, spec, tmp_path / "sweep")
    assert code == DONE, printed
    doses = pd.read_parquet(tmp_path / "sweep" / "trials.parquet").groupby("trial")[spec.over[0].name].first()
    assert doses.iloc[:3].tolist() == [0.001, 0.01, 0.1]
    found = json.loads((tmp_path / "sweep" / "findings.json").read_text())["lines"]
    threshold = next(line["threshold"] for line in found if line["metric"] == "value/care")
    below, above = threshold["between"]
    assert above is not None, "the limit is passed at the largest dose, or the test shows nothing"
    assert len(doses) == 3 + spec.refine
    assert {below, above} <= set(doses)
    assert above - below <= 0.09 / 2 ** (spec.refine - 1)
