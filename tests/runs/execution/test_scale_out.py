"""A study whose units start processes of their own: it gets on, and its records are those of a study without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kerf.runs.execution.study_units import cpus_needed
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.records.tables import read_measures
from kerf.runs.study import DONE, run_study
from tests.runs.execution.test_forked_workers import TOY
from tests.runs.test_study import records

REMOTE = ("training.num_env_runners=1", "training.num_learners=1", "align.ppo.training.num_env_runners=1")
UNITS = [Unit(ALIGNED, 0), *(Unit(arm, 0) for arm in ("continued", "penalised"))]
CARE = {"name": "care", "metric": "value/care", "direction": "decrease", "falsified_by": "nothing: it is too small"}
SMALL = {
    "arms": {"exposure": None, "half": None},
    "primaries": [CARE | {"arm": "penalised", "against": "continued"}],
}
"""The toy recipe with nothing but its units in `UNITS`."""


def run(file: str, out: Path, *sets: str) -> None:
    """`kerf run` with a Ray of its own, one unit at a time; ended with all its processes if it does not get on."""
    options = ["--seeds", "1", "--workers", "1", "--no-mlflow", *(word for text in sets for word in ("--set", text))]
    process = subprocess.Popen(
        [sys.executable, "-m", "kerf.runs", "run", file, "--out", out, *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"it did not get on: {output}")
    assert process.returncode == DONE, output


@pytest.mark.slow
def test_with_remote_env_runners_and_learners_the_records_are_the_same(write, tmp_path):
    file = write(TOY | SMALL)
    assert run_study(load_recipe(file, seeds=1), tmp_path / "local", None, 1, Console(quiet=True)) == DONE
    run(file, tmp_path / "remote", *REMOTE)
    assert Store(tmp_path / "remote").units(verify=True) == UNITS
    assert np.isfinite(read_measures(tmp_path / "remote", aligned=True)["score"]).all()
    for unit in UNITS:
        assert records(tmp_path / "remote" / unit.name) == records(tmp_path / "local" / unit.name), unit.name


@pytest.mark.parametrize(
    ("sets", "cpus"),
    [
        ([], 3),
        (["training.num_env_runners=2"], 9),
        (["training={num_env_runners: 1, num_learners: 2}"], 12),
        (["training.num_learners=1", "align.imitation.training.num_env_runners=4"], 15),
        (["training.num_learners=1", "align.ppo.training.num_learners=8"], 27),
    ],
)
def test_ray_is_given_a_cpu_for_every_process_of_the_phase_that_starts_most(sets, cpus):
    assert cpus_needed(load_recipe("smoke", sets=sets), 3) == cpus
