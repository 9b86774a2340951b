"""A sweep in MLflow: a run for each trial, with what was swept as parameters, and nothing written twice."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from kerf.lab.errors import KerfError
from kerf.runs.cli import main
from kerf.runs.records.store import Store
from kerf.runs.study import DONE
from kerf.runs.sweep.ending import sweep_ending
from kerf.runs.sweep.show import tables_again
from kerf.runs.terminal.console import PLAIN_WIDTH
from kerf.runs.tracking.sweeps import sync_sweep
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.test_sweep import TINY, sweep


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracked")
    base = recipe(folder, TINY)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    code, printed = sweep(base, asked(base, "dose", "strength=0.5,1"), folder / "sweep")
    torch.set_num_threads(threads)
    assert code == DONE, printed
    return folder / "sweep"


@pytest.mark.slow
def test_each_trial_is_a_run_with_its_settings_and_effects(out, mlflow_tables, tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "mlflow.db").write_bytes(mlflow_tables)
    assert sync_sweep(out, uri) == 1 + 3
    assert sync_sweep(out, uri) == 0, "nothing is written twice"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("toy-sweep")
    runs = {run.data.tags["kerf.unit"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"sweep", "trial-0", "trial-1", "trial-2"}
    trials = pd.read_parquet(out / "trials.parquet").set_index(["trial", "metric"])
    for number, strength in enumerate((0.0, 0.5, 1.0)):
        run = runs[f"trial-{number}"]
        assert run.data.params["strength"] == str(strength)
        assert (run.data.params["penalty"], run.data.params["phase"], run.data.params["seeds"]) == (
            "10.0",
            "trial",
            "2",
        )
        for metric in ("value/care", "robustness", "collateral"):
            assert run.data.metrics[f"effect/{metric}/mean"] == pytest.approx(trials.loc[(number, metric), "mean"])
        assert run.data.tags["mlflow.parentRunId"] == runs["sweep"].info.run_id
    kept = {artifact.path for artifact in client.list_artifacts(runs["sweep"].info.run_id)}
    assert {"findings.json", "table.txt", "dose-response.svg"} <= kept


@pytest.mark.slow
def test_show_and_sync_know_a_sweep(out, mlflow_tables, tmp_path):
    shown = CliRunner().invoke(main, ["show", str(out), "--full"])
    assert shown.output == (out / "table.txt").read_text()
    ending = CliRunner().invoke(main, ["show", str(out)]).output
    assert ending.splitlines() == sweep_ending(Store(out), PLAIN_WIDTH)
    narrow, wide = (tables_again(Store(out), width) for width in (60, PLAIN_WIDTH))
    assert max(map(len, narrow.splitlines())) <= 60
    numbers = [set(re.findall(r"[+-]?\d+\.\d+", text)) for text in (narrow, wide)]
    assert numbers[0] == numbers[1], "made again from the cells' records"
    (tmp_path / "mlflow.db").write_bytes(mlflow_tables)
    done = CliRunner().invoke(main, ["sync", str(out), "--mlflow", f"sqlite:///{tmp_path}/mlflow.db"])
    assert done.output.startswith("4 runs written")


@pytest.mark.slow
def test_a_sweep_that_is_not_finished_has_nothing_to_show_yet(out, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "study.json").write_bytes((out / "study.json").read_bytes())
    with pytest.raises(KerfError, match="the sweep is not finished"):
        sync_sweep(begun, f"sqlite:///{tmp_path}/mlflow.db")
    assert "the sweep is not finished" in CliRunner().invoke(main, ["show", str(begun)]).output
