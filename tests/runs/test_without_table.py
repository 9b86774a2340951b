"""Studies that end without a table: no agent was aligned, or the disk is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kerf.runs.execution.measurements import make_battery
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit, open_study
from kerf.runs.study import FAILED, NOT_ALIGNED, manifest
from tests.runs.test_study import study

KERF = Path(sys.executable).with_name("kerf")


@pytest.mark.slow
def test_a_study_without_any_aligned_agent_is_finished_and_says_why_there_is_no_table(mlflow_tables, tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "mlflow.db").write_bytes(mlflow_tables)
    code, printed = study(tmp_path / "s", "gate.value=0.9", seeds=2, tracking=uri)
    assert code == NOT_ALIGNED
    assert "smoke: 10 units of work on 1 worker\n" in printed
    first, *seeds = (tmp_path / "s" / "table.txt").read_text().splitlines()
    assert first == "No agent of this study passed the gate, so there is nothing to compare."
    for number, line in enumerate(seeds):
        assert line.startswith(f"seed {number} is not aligned and was not studied: ")
        assert "held_out/care is " in line
    assert len(seeds) == 2
    shown = subprocess.run([str(KERF), "show", str(tmp_path / "s")], capture_output=True, text=True, check=True).stdout
    assert shown == (tmp_path / "s" / "table.txt").read_text()
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = [found for found in client.search_experiments() if found.name == "smoke"]
    statuses = {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert {name.partition("@")[0] for name in statuses} == {"smoke", ALIGNED, "aligned/seed-0", "aligned/seed-1"}
    assert len(statuses) == 4
    assert set(statuses.values()) == {"FINISHED"}


@pytest.mark.slow
def test_on_a_full_disk_the_study_stops_and_says_so_once(tmp_path):
    """The kernel's own full disk under the wall times: the first unit is trained and published, and meets it then."""
    recipe = load_recipe("smoke", seeds=2)
    with open_study(tmp_path / "s", manifest(recipe, make_battery(recipe))):
        pass
    (tmp_path / "s" / "timing.jsonl").symlink_to("/dev/full")
    code, printed = study(tmp_path / "s", seeds=2)
    assert code == FAILED
    assert Store(tmp_path / "s").units() == [Unit(ALIGNED, 0)], "no other unit was begun"
    assert printed.count("free some room, then give the same command again") == 1
    assert f"failed: aligned/seed-0: cannot write {tmp_path / 's'}: No space left on device" in printed
