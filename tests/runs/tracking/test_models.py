"""Policies as MLflow models: loaded and served by MLflow, they answer with the probabilities of the rollout."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.special import softmax

from kerf.agents.export import load_policy
from kerf.lab.rollout import rollout
from kerf.lab.worlds import get_world
from kerf.runs.cli import main
from kerf.runs.records.store import Unit
from kerf.runs.tracking.ui import free_port
from tests.runs.tracking.test_studies import answers

AGENT = Unit("penalised", 1)


@pytest.fixture(scope="module")
def played(smoke_study: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Observations of an agent in some episodes, and the probabilities with which it acted."""
    world = get_world("station")
    rng = np.random.default_rng(3)
    policy = load_policy(smoke_study / AGENT.name / "policy", world)
    trajectories = rollout(policy, world, world.space.sample(4, rng), rng)
    seen = trajectories.observations.reshape(-1, len(world.observations))
    logits = trajectories.logits.reshape(-1, len(world.actions)).astype(np.float64)
    return pd.DataFrame(seen.astype(np.float64), columns=list(world.observations)), softmax(logits, axis=1)


@pytest.fixture(scope="module")
def model(smoke_study: Path, mlflow_tables: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Tracking URI, and folder of the model of `AGENT`."""
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("models") / "mlflow.db"
    database.write_bytes(mlflow_tables)
    uri = f"sqlite:///{database}"
    for number in (10, 0):
        said = CliRunner().invoke(main, ["sync", str(smoke_study), "--models", "--mlflow", uri])
        assert said.exit_code == 0, said.output
        assert f"{number} models written" in said.output
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("smoke").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`kerf.unit` = '{AGENT.name}'")
    return uri, client.download_artifacts(run.info.run_id, "policy")


@pytest.mark.slow
def test_a_model_answers_with_the_probabilities_of_the_rollout(model, played):
    import mlflow

    observations, probabilities = played
    answer = mlflow.pyfunc.load_model(model[1]).predict(observations)
    assert list(answer.columns) == list(get_world("station").actions)
    np.testing.assert_allclose(answer.to_numpy(), probabilities, atol=1e-6)
    files = [path.name for path in Path(model[1]).rglob("*") if path.is_file()]
    assert "policy.safetensors" in files
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]


@pytest.mark.slow
def test_it_is_served(model, played):
    observations, probabilities = played
    port = free_port()
    words = ["models", "serve", "-m", model[1], "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # MLflow runs `uvicorn`
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        body = json.dumps({"dataframe_split": observations[:8].to_dict(orient="split")}).encode()
        answer = ask(server, f"http://127.0.0.1:{port}", body)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    np.testing.assert_allclose(pd.DataFrame(answer["predictions"]).to_numpy(), probabilities[:8], atol=1e-6)


def ask(server: subprocess.Popen[Any], address: str, body: bytes) -> Any:
    """The answer of a server that may not listen yet."""
    deadline = time.monotonic() + 240
    while not answers(f"{address}/ping"):
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_a_sweep_has_no_models(tmp_path):
    manifest = {"records_format": 3, "name": "x", "recipe_hash": "", "battery_hash": "", "seeds": [], "arms": {}}
    (tmp_path / "study.json").write_text(json.dumps({**manifest, "sweep": {}}))
    said = CliRunner().invoke(main, ["sync", str(tmp_path), "--models"])
    assert (said.exit_code, said.output) == (
        2,
        "kerf: --models: expected a study, got a sweep, whose agents have no runs of their own\n",
    )
