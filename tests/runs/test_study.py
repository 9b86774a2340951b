"""Whole studies, really run: what must be equal is compared byte for byte."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.runs.execution.fork_server import WORKER
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.records.tables import read_measures
from kerf.runs.report import make_report
from kerf.runs.study import DONE, NOT_ALIGNED, run_study

KERF = Path(sys.executable).with_name("kerf")

UNEQUAL = {"timing.jsonl", ".lock", ".mirror.lock", ".attacks.lock", ".remote", ".fetching"}
"""Files that hold wall times or nothing."""


def study(out: Path, *sets: str, seeds: int = 1, tracking: str | None = None, workers: int = 1) -> tuple[int, str]:
    """Run the smoke recipe, changed; its exit code and what it printed."""
    console = Console(file=io.StringIO(), width=140)
    code = run_study(load_recipe("smoke", sets=sets, seeds=seeds), out, tracking, workers, console)
    return code, console.file.getvalue()


def records(out: Path) -> dict[str, str]:
    """SHA-256 of every record, by relative path."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in UNEQUAL
    }


@pytest.fixture
def smoke(smoke_study: Path) -> Path:
    """That of all files, by two workers."""
    return smoke_study


@pytest.mark.slow
def test_same_recipe_and_seed_give_the_same_bytes_whatever_the_number_of_workers(smoke, tmp_path):
    assert study(tmp_path / "again", seeds=2, workers=1)[0] == DONE
    assert records(tmp_path / "again") == records(smoke)


def test_another_seed_gives_other_records(smoke):
    first, second = (records(smoke / "cells" / "continued" / f"seed-{seed}") for seed in (0, 1))
    assert set(first) == set(second)
    unequal = {name for name in first if first[name] != second[name]}
    assert unequal >= {"policy.safetensors", "measures.parquet", "training.parquet"}


def test_frozen_changes_nothing_and_every_arm_starts_from_the_aligned_agent(smoke):
    measures = read_measures(smoke, aligned=True).set_index(["arm", "seed", "iteration", "metric"])["score"]
    for seed in (0, 1):
        aligned = measures.loc[ALIGNED, seed].droplevel("iteration")
        for arm in ("frozen", "continued", "exposure", "penalised"):
            pd.testing.assert_series_equal(measures.loc[arm, seed, 0], aligned)
        pd.testing.assert_series_equal(measures.loc["frozen", seed, 4], aligned)
        assert not measures.loc["continued", seed, 4].equals(aligned)


def test_every_arm_ends_on_the_fresh_draws_of_the_aligned_agent(smoke):
    def noise(unit: Unit) -> pd.Series:
        return pd.read_parquet(smoke / unit.name / "noise.parquet").set_index(["draw", "metric"])["score"]

    measured = set(read_measures(smoke)["metric"])
    for seed in (0, 1):
        aligned = noise(Unit(ALIGNED, seed))
        for arm in ("frozen", "continued", "exposure", "penalised"):
            cell = noise(Unit(arm, seed))
            assert set(cell.index) == {(draw, metric) for draw in (0, 1) for metric in measured}
            assert (cell == aligned[cell.index]).all() == (arm == "frozen")


@pytest.mark.slow
def test_penalty_zero_is_exposure_byte_for_byte_and_twins_do_not_differ(tmp_path):
    arms = "arms={frozen: null, penalised: {penalty: 0}, twin: {kind: penalised, penalty: 7}, other: {kind: penalised, "
    code, _ = study(tmp_path / "s", arms + "penalty: 7}}")
    assert code == DONE

    def cell(arm: str) -> tuple[bytes, ...]:
        folder = tmp_path / "s" / "cells" / arm / "seed-0"
        frames = [pd.read_parquet(folder / f"{name}.parquet").drop(columns="arm") for name in ("measures", "training")]
        return (folder / "policy.safetensors").read_bytes(), *(frame.to_csv().encode() for frame in frames)

    assert cell("penalised") == cell("exposure")
    assert cell("twin") == cell("other")
    assert cell("twin")[0] != cell("exposure")[0], "a penalty of 7 must leave a mark, or the test shows nothing"
    effects = pd.read_parquet(tmp_path / "s" / "effects.parquet").set_index(["arm", "metric"])["mean"]
    pd.testing.assert_series_equal(effects.loc["twin"], effects.loc["other"])


def test_show_prints_the_table_again_from_the_records_alone(smoke):
    words = [str(KERF), "show", str(smoke), "--full"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert [line.rstrip() for line in printed.splitlines()] == (smoke / "table.txt").read_text().splitlines()


def test_a_study_that_lacks_a_unit_is_not_reported_as_a_whole(smoke, tmp_path):
    for lost in ("aligned/seed-1", "cells/exposure/seed-0"):
        torn = tmp_path / lost.replace("/", "-")
        shutil.copytree(smoke, torn)
        shutil.rmtree(torn / lost)
        with pytest.raises(KerfError, match=rf"not finished, 1 of its units are missing \({lost}"):
            make_report(Store(torn))


def test_the_table_says_who_passed_the_gate_and_who_was_penalised(smoke):
    table = " ".join((smoke / "table.txt").read_text().split())
    assert "Gate: 2 of 2 agents passed (held-out values >= 0, skills >= 0, leaves on >= 0" in table
    assert "The least certain of the scores that passed: held_out/" in table
    assert "Training episodes penalised" in table


def test_the_same_command_on_a_finished_study_repeats_nothing(smoke, tmp_path):
    out = Path(shutil.copytree(smoke, tmp_path / "s"))
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*.parquet")}
    done = [entry for entry in Store(out).timing() if "unit" in entry]
    code, printed = study(out, seeds=2)
    assert code == DONE
    assert "units of work" not in printed
    assert [entry for entry in Store(out).timing() if "unit" in entry] == done
    assert before == {path: path.stat().st_mtime_ns for path in (out / "cells").rglob("*.parquet")}


@pytest.mark.slow
def test_an_agent_that_is_not_aligned_is_not_studied(tmp_path):
    code, printed = study(tmp_path / "s", "gate.value=0.9")
    assert code == NOT_ALIGNED
    assert "GATE NOT PASSED" in printed
    assert "held_out/care is" in printed
    assert "--set align.ppo.iterations" in printed
    store = Store(tmp_path / "s")
    assert store.units() == [Unit(ALIGNED, 0)], "its own records are kept, and there are no cells"
    assert study(tmp_path / "s", "gate.value=0.9")[0] == NOT_ALIGNED, "the same command says the same again"


def test_a_study_cannot_continue_another_ones_folder(smoke, tmp_path):
    out = shutil.copytree(smoke, tmp_path / "s")
    with pytest.raises(KerfError, match="holds another study"):
        study(out, "penalty=3", seeds=2)


@pytest.mark.slow
def test_mlflow_out_of_reach_costs_one_warning_and_sync_gives_the_same_runs(smoke, mlflow_tables, tmp_path):
    from mlflow import MlflowClient

    from kerf.runs.tracking.metrics import AIM, MOST
    from kerf.runs.tracking.studies import sync

    code, printed = study(tmp_path / "s", seeds=2, workers=2, tracking="http://127.0.0.1:9")
    assert code == DONE
    assert printed.count("warning:") == 1
    assert records(tmp_path / "s") == records(smoke)

    def runs(uri: str) -> list[tuple[object, ...]]:
        client = MlflowClient(tracking_uri=uri)
        found = [
            run for experiment in client.search_experiments() for run in client.search_runs([experiment.experiment_id])
        ]
        kept = [(sorted(run.data.params.items()), sorted(run.data.metrics.items())) for run in found]
        return sorted((run.info.run_name, *content) for run, content in zip(found, kept, strict=True))

    late, live = f"sqlite:///{tmp_path}/late.db", f"sqlite:///{tmp_path}/live.db"
    for name in ("late.db", "live.db"):
        (tmp_path / name).write_bytes(mlflow_tables)
    assert sync(tmp_path / "s", late) > 0
    code, printed = study(tmp_path / "live", seeds=2, workers=2, tracking=live)
    assert code == DONE
    assert f"kerf ui {tmp_path}/live --mlflow {live}" in printed
    assert runs(late) == runs(live)
    assert len(runs(live)) == 1 + 2 + 8 + 5  # study, aligned seeds, cells, arms (aligned and four others)
    assert all(len(metrics) <= MOST for _, _, metrics in runs(live))
    names = {run: {name for name, _ in metrics} for run, _, metrics in runs(live)}
    curves = {name for name in names["penalised"] if not name.startswith("effect/")}
    assert names["penalised/seed-0"] == curves > {AIM, "competence", "utility/ideal", "value/care", "value/tidiness"}
    assert {f"effect/{name}/low" for name in ("value/care", AIM, "utility/ideal")} <= names["penalised"]


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_finishes_with_the_same_records(smoke, tmp_path):
    """Kills the whole process group at random moments of its work until that is done, then compares all records."""
    out = tmp_path / "s"
    command = [str(KERF), "run", "smoke", "--no-mlflow", "--workers", "2", "--out", str(out), "--checkpoint-every", "0"]
    moments = random.Random(20_261)
    kills = 0
    finished: dict[str, int] = {}
    for _ in range(12):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        left = set(out.rglob("*.partial-*"))  # by the kill before
        while set(out.rglob("*.partial-*")) <= left and process.poll() is None:
            time.sleep(0.01)
        try:
            output, _ = process.communicate(timeout=moments.uniform(0.0, 0.3) if kills < 3 else 900.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            for unit in Store(out).units():
                path = out / unit.name / "done.json"
                stamp = path.stat().st_mtime_ns
                assert finished.setdefault(str(path), stamp) == stamp, f"{path} was done twice"
            continue
        assert process.returncode == DONE, output
        break
    assert kills >= 2, "the study was faster than the kills: nothing was shown"
    assert all(Path(path).stat().st_mtime_ns == stamp for path, stamp in finished.items())
    assert records(out) == records(smoke)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_is_replaced_and_the_records_are_the_same(smoke, tmp_path):
    out, killed = tmp_path / "s", list[int]()
    killer = threading.Thread(target=kill_a_busy_worker, args=(out, killed))
    killer.start()
    code, printed = study(out, seeds=2, workers=2)
    killer.join()
    assert len(killed) == 1, "no worker was seen at work"
    assert code == DONE, printed
    assert records(out) == records(smoke)


def kill_a_busy_worker(out: Path, killed: list[int]) -> None:
    """SIGKILL a process below this one, as soon as a unit of the study in `out` is being written."""
    deadline = time.monotonic() + 240.0
    while not killed and time.monotonic() < deadline:
        if any(out.rglob("*.partial-*")):
            for child in psutil.Process().children(recursive=True):
                if child.name() == WORKER:
                    child.kill()
                    killed.append(child.pid)
                    break
        time.sleep(0.02)
