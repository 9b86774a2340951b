"""What optuna-dashboard, an application of somebody else's, makes of a sweep's journal."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kerf.runs.sweep.findings import front
from kerf.runs.sweep.outcome import trial_values
from kerf.runs.sweep.storage import JOURNAL, Storage
from kerf.runs.sweep.trials import Trial, Trials
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.test_figures import outcome

DASHBOARD = Path(sys.executable).with_name("optuna-dashboard")

CARE = (-0.05, -0.6, -0.1, -0.3, -0.02)
"""What each trial loses; more than 0.2 is below the floor."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The study as the application's page gets it, of six trials: the last one lost its skill."""
    folder = tmp_path_factory.mktemp("shown")
    spec = asked(
        recipe(folder), "pareto", "strength=0:1", "adversarial_share=0.5,1", floors=("care=-0.2",), sampler="random"
    )
    trials = Trials(Storage(folder), "toy-pareto", spec, "digest")
    outcomes = []
    for care in CARE:
        trial = trials.ask()
        made = outcome(trial.number, dict(trial.settings), (-care, care / 3, care, 0.0, care), sd=1e-4)
        trials.tell(Trial(trial.number, trial.settings), *trial_values(made, spec))
        outcomes.append(made)
    trials.tell(trials.ask(), None, [], {"skill lost in seeds": "0, 1"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([DASHBOARD, folder / JOURNAL, "--port", str(port), "--quiet"], stderr=subprocess.PIPE)
    try:
        address = f"http://127.0.0.1:{port}/api/studies"
        (study,) = _ask(address, server)["study_summaries"]
        yield {
            **_ask(f"{address}/{study['study_id']}", server),
            "front": [o.trial.number for o in front(spec, outcomes)],
        }
    finally:
        server.terminate()
        server.communicate()


def _ask(address: str, server: subprocess.Popen[bytes]) -> Any:
    for _ in range(300):
        assert server.poll() is None, "optuna-dashboard ended"
        try:
            return json.load(urllib.request.urlopen(address, timeout=30))
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
        time.sleep(0.1)
    raise AssertionError("optuna-dashboard does not answer")


@pytest.mark.slow
def test_it_says_what_was_swept_and_measured(shown):
    assert shown["name"] == "toy-pareto"
    assert shown["objective_names"] == ["robustness", "collateral"]
    assert shown["directions"] == ["maximize", "maximize"]
    said = {attribute["key"]: attribute["value"] for attribute in shown["user_attrs"]}
    assert said["effects of"].startswith("penalised against continued")
    assert said["floor value/care"] == ">= -0.2, or infeasible"
    assert "strength 1" in said["robustness"]
    assert {space["name"] for space in shown["union_search_space"]} == {"strength", "arms.penalised.adversarial_share"}


@pytest.mark.slow
def test_it_knows_which_trials_failed_and_which_break_a_floor(shown):
    assert [trial["state"] for trial in shown["trials"]] == ["Complete"] * len(CARE) + ["Fail"]
    infeasible = [trial["number"] for trial in shown["trials"] if any(value > 0 for value in trial["constraints"])]
    assert infeasible == [number for number, care in enumerate(CARE) if care < -0.2]
    lost = {attribute["key"]: attribute["value"] for attribute in shown["trials"][-1]["user_attrs"]}
    assert lost["skill lost in seeds"] == "0, 1"


@pytest.mark.slow
def test_the_feasible_ones_of_its_best_trials_are_our_front(shown):
    """Its own list of best trials takes no heed of constraints; here no trial beats another."""
    feasible = {trial["number"] for trial in shown["best_trials"] if all(value <= 0 for value in trial["constraints"])}
    assert feasible == set(shown["front"]) == {number for number, care in enumerate(CARE) if care >= -0.2}
