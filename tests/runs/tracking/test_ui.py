"""`kerf ui`: MLflow's own server, asked as a browser asks it, and ended by the signals that end a command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from kerf.lab.errors import KerfError
from kerf.runs.records.store import open_study
from kerf.runs.tracking.studies import sync
from kerf.runs.tracking.ui import Server, pages
from tests.runs.tracking.test_studies import MANIFEST

PROGRAM = """
import signal, sys
from kerf.runs.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests with `&`
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def study(mlflow_tables: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and tracking URI of a study."""
    root = tmp_path_factory.mktemp("shown")
    with open_study(root / "out", MANIFEST):
        pass
    uri = f"sqlite:///{root / 'mlflow.db'}"
    (root / "mlflow.db").write_bytes(mlflow_tables)
    assert sync(root / "out", uri) == 1
    return root / "out", uri


def test_what_mlflow_does_not_have_is_one_sentence(study, tmp_path):
    with open_study(tmp_path / "other", {**MANIFEST, "recipe_hash": "d" * 64}):
        pass
    with pytest.raises(KerfError, match=r"has no run of .*other: `kerf sync"):
        pages("http://127.0.0.1:1", study[1], tmp_path / "other")
    assert pages("http://127.0.0.1:1", study[1], None) == {"experiments": "http://127.0.0.1:1/#/experiments"}


@pytest.mark.slow
def test_a_server_that_ends_is_one_sentence_without_its_password():
    with (
        Server("nonsense://me:secret@127.0.0.1/none") as server,
        pytest.raises(KerfError, match="ended with exit code 1") as raised,
    ):
        server.wait_for_answer(lambda: False)
    assert "secret" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_it_shows_the_study_on_the_loopback_address_and_a_signal_leaves_nothing(study, tmp_path, number, code):
    root, uri = study
    words = [sys.executable, "-c", PROGRAM, "ui", str(root), "--mlflow", uri, "--no-browser"]
    shown = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True)
    assert shown.stdout is not None
    lines: list[str] = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(shown.stdout.readline())
        assert lines[-1], lines
    found = dict(line.split(maxsplit=1) for line in lines if "http" in line)
    address, _, page = found["study"].strip().partition("/#/")
    assert address.startswith("http://127.0.0.1:")
    run = page.rsplit("/", 1)[-1].partition("?")[0]
    with urllib.request.urlopen(f"{address}/api/2.0/mlflow/runs/get?run_id={run}") as answer:
        tags = {tag["key"]: tag["value"] for tag in json.load(answer)["run"]["data"]["tags"]}
    assert tags["kerf.unit"] == "study"
    assert "compareRunsMode=CHART&searchFilter=params.phase%20%3D%20%27arm%27" in found["arms"]
    family = psutil.Process(shown.pid).children(recursive=True)
    assert family
    os.killpg(shown.pid, number)
    rest, _ = shown.communicate(timeout=60)
    assert (rest, shown.returncode) == ("stopped\n", code)
    assert [process for process in family if process.is_running()] == []
    assert list(tmp_path.iterdir()) == [], "nothing in the working directory"
