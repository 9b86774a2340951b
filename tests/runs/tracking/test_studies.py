"""The MLflow mirror: whatever happens to MLflow, the run goes on, and afterwards MLflow holds what the disk holds."""

import contextlib
import hashlib
import http.server
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerf.lab.errors import KerfError
from kerf.runs.records.store import FORMAT, Unit, open_study
from kerf.runs.records.tables import read_measures
from kerf.runs.tracking.commands import default_uri, ui_command
from kerf.runs.tracking.experiments import explained
from kerf.runs.tracking.metrics import ABSENT, PARAMETERS
from kerf.runs.tracking.studies import Mirror, sync

METRICS = ("value/care", "false_exit/1.0", "skill/door", "family/care/locked", "held_out/care", "way/left_by_door")
TRAINING = ("learn/kl", "learn/loss", "learn/grad_norm")
ARMS = {
    "continued": {
        "kind": "continued",
        "generator": {"kind": "natural", "strength": 1.0},
        "penalty": 0.0,
        "grader": "ex_post",
    },
    "penalised": {
        "kind": "penalised",
        "generator": {"kind": "scripted", "strength": 0.5},
        "penalty": 10.0,
        "grader": "ex_post",
        "adversarial_share": 0.75,
    },
    "sign_flip": {
        "kind": "sign_flip",
        "generator": {"kind": "scripted", "strength": 1.0},
        "penalty": 10.0,
        "penalty_sign": -1,
        "grader": "ex_post",
    },
}
MANIFEST = {
    "records_format": FORMAT,
    "name": "toy",
    "recipe_hash": "a" * 64,
    "battery_hash": "b" * 64,
    "seeds": [0, 1],
    "arms": ARMS,
    "revision": "1234567",
    "primaries": [{"name": "costs-care", "metric": "value/care", "arm": "penalised", "against": "continued"}],
}
UNITS = [Unit("aligned", seed) for seed in (0, 1)] + [Unit(arm, seed) for arm in ARMS for seed in (0, 1)]


def write_unit(store, unit, num_iterations=5):
    """A unit with one training number that is NaN."""
    rng = np.random.default_rng([len(unit.arm), unit.seed])
    iterations = np.repeat(np.arange(num_iterations), len(METRICS))
    n = len(iterations)
    keys = {"arm": [unit.arm] * n, "seed": [unit.seed] * n, "iteration": iterations, "env_steps": iterations * 100}
    losses = rng.random(num_iterations * len(TRAINING))
    losses[4] = np.nan
    with store.unit(unit) as folder:
        metrics = list(METRICS) * num_iterations
        folder.write_table("measures", {**keys, "metric": metrics, "score": rng.random(n), "num_scenarios": [64] * n})
        keys = {name: column[: len(losses)] for name, column in keys.items()}
        keys["iteration"] = np.repeat(np.arange(num_iterations), len(TRAINING))
        keys["env_steps"] = keys["iteration"] * 100
        folder.write_table("training", {**keys, "metric": list(TRAINING) * num_iterations, "value": losses})


def write_report(store):
    arms = ["aligned", *ARMS]
    effects = {
        "arm": arms,
        "against": ["", "aligned", "continued", "continued"],
        "metric": ["value/care"] * 4,
        "mean": [0.95, 0.0, -0.25, 0.1],
        "low": [0.9, -0.1, -0.5, np.nan],
        "high": [1.0, 0.1, 0.0, np.nan],
    }
    store.write_table("effects", effects)
    interval = {"mean": -0.25, "low": -0.5, "high": 0.0}
    verdict = {"outcome": "undecided"}
    store.write_json(
        "primaries", [{"primary": MANIFEST["primaries"][0], "effect": {"interval": interval}, "verdict": verdict}]
    )
    store.write_text("table.txt", "a table\n")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a finished study."""
    root = tmp_path_factory.mktemp("study") / "out"
    with open_study(root, MANIFEST) as store:
        store.write_text("recipe.yaml", "name: toy\nabout: Does it | work?\n")
        for unit in UNITS:
            write_unit(store, unit)
        write_report(store)
    return root


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A fresh database with MLflow's tables: making one takes seconds, copying one does not."""
    root, database = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("database") / "mlflow.db"
    with open_study(root / "none", {**MANIFEST, "name": "another"}):
        pass
    assert sync(root / "none", f"sqlite:///{database}") == 1
    return database.read_bytes()


@pytest.fixture
def uri(tmp_path, empty_database):
    """The URI of a fresh SQLite database."""
    (tmp_path / "mlflow.db").write_bytes(empty_database)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def until(condition):
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def client(uri):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def search(uri, text=""):
    mlflow = client(uri)
    experiment = mlflow.get_experiment_by_name("toy")
    return mlflow.search_runs([experiment.experiment_id], text) if experiment else []


def content(uri):
    """All that the runs say, as a multiset: names, status, parameters, tags, parents, data sets, metrics, artifacts."""
    mlflow = client(uri)
    runs = search(uri)
    names = {run.info.run_id: run.info.run_name for run in runs}
    found = Counter()
    for run in runs:
        tags = dict(run.data.tags)
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = names[tags["mlflow.parentRunId"]]
        history = [
            (key, metric.step, metric.value)
            for key in run.data.metrics
            for metric in mlflow.get_metric_history(run.info.run_id, key)
        ]
        found[
            run.info.run_name,
            run.info.status,
            frozenset(run.data.params.items()),
            frozenset(tags.items()),
            tuple((given.dataset.name, given.dataset.digest) for given in run.inputs.dataset_inputs),
            tuple(sorted(history)),
            tuple(sorted(file.path for file in mlflow.list_artifacts(run.info.run_id))),
        ] += 1
    return found


@pytest.fixture(scope="module")
def undisturbed(study, empty_database, tmp_path_factory):
    """What MLflow holds after one undisturbed sync of the finished study."""
    database = tmp_path_factory.mktemp("undisturbed") / "mlflow.db"
    database.write_bytes(empty_database)
    sync(study, f"sqlite:///{database}")
    return content(f"sqlite:///{database}")


class TestSync:
    def test_runs_have_names_parents_and_all_parameters(self, study, uri):
        assert sync(study, uri) == 1 + len(UNITS) + 4
        runs = {run.info.run_name: run for run in search(uri)}
        cells = {unit.name.removeprefix("cells/") for unit in UNITS}
        assert set(runs) == {"toy@aaaaaaaa", *cells, "aligned", *ARMS}
        for name, run in runs.items():
            assert set(run.data.params) == set(PARAMETERS)
            assert run.info.status == "FINISHED"
            assert run.info.start_time <= run.info.end_time
            if name != "toy@aaaaaaaa":
                parent = name.split("/")[0] if "/" in name else "toy@aaaaaaaa"
                assert run.data.tags["mlflow.parentRunId"] == runs[parent].info.run_id
        assert runs["penalised/seed-1"].data.params == {
            "recipe": "toy",
            "recipe_hash": "a" * 64,
            "battery_hash": "b" * 64,
            "revision": "1234567",
            "phase": "cell",
            "arm": "penalised",
            "kind": "penalised",
            "seed": "1",
            "generator": "scripted",
            "strength": "0.5",
            "adversarial_share": "0.75",
            "grader": "ex_post",
            "penalty": "10.0",
        }
        assert runs["sign_flip/seed-0"].data.params["penalty"] == "-10.0"
        assert runs["continued/seed-0"].data.params["penalty"] == "0.0"
        assert runs["toy@aaaaaaaa"].data.params["arm"] == ABSENT
        assert runs["aligned/seed-0"].data.params["kind"] == "aligned"
        assert (runs["penalised"].data.params["phase"], runs["penalised"].data.params["seed"]) == ("arm", ABSENT)

    def test_metrics_are_those_on_disk_by_iteration(self, study, uri):
        import pyarrow.parquet as pq

        sync(study, uri)
        (run,) = search(uri, "params.arm = 'penalised' and params.seed = '1'")
        rows = pq.read_table(study / "cells/penalised/seed-1/measures.parquet").to_pylist()
        expected = [(row["iteration"], row["score"]) for row in rows if row["metric"] == "value/care"]
        history = client(uri).get_metric_history(run.info.run_id, "value/care")
        assert sorted((metric.step, metric.value) for metric in history) == expected
        losses = client(uri).get_metric_history(run.info.run_id, "train/learn/loss")
        assert sorted(metric.step for metric in losses) == [0, 2, 3, 4]  # that of iteration 1 is NaN
        steps = client(uri).get_metric_history(run.info.run_id, "env_steps")
        assert sorted((metric.step, metric.value) for metric in steps) == [(i, 100.0 * i) for i in range(5)]

    def test_a_run_has_what_is_compared_and_the_rest_is_in_the_tables(self, study, uri):
        sync(study, uri)
        curves = {
            *("false_exit/trained", "competence", "value/care", "env_steps"),
            *("train/learn/kl", "train/learn/loss"),
        }
        for run in search(uri, "params.phase = 'cell'"):
            assert set(run.data.metrics) == curves
        (arm,) = search(uri, "params.phase = 'arm' and params.arm = 'penalised'")
        assert set(arm.data.metrics) == curves | {f"effect/value/care/{end}" for end in ("mean", "low", "high")}
        (parent,) = search(uri, "params.phase = 'study'")
        path = client(uri).download_artifacts(parent.info.run_id, "measures.parquet")
        assert set(pd.read_parquet(path)["metric"]) == set(METRICS)
        assert len(pd.read_parquet(path)) == len(UNITS) * 5 * len(METRICS)

    def test_arms_hold_mean_curves_and_effects_with_intervals(self, study, uri):
        sync(study, uri)
        arms = {run.data.params["arm"]: run for run in search(uri, "params.phase = 'arm'")}
        effects = {
            arm: {name: value for name, value in run.data.metrics.items() if name.startswith(("effect/", "score/"))}
            for arm, run in arms.items()
        }
        assert effects["penalised"] == {
            "effect/value/care/mean": -0.25,
            "effect/value/care/low": -0.5,
            "effect/value/care/high": 0.0,
        }
        assert effects["sign_flip"] == {"effect/value/care/mean": 0.1}
        points = client(uri).get_metric_history(arms["penalised"].info.run_id, "effect/value/care/mean")
        assert [point.step for point in points] == [0], "MLflow draws bars, not lines of one point"
        for arm, steps in (("aligned", range(-4, 1)), ("penalised", range(5))):
            history = client(uri).get_metric_history(arms[arm].info.run_id, "value/care")
            assert sorted(point.step for point in history) == list(steps), "the arms begin where alignment ended"
        assert effects["aligned"]["score/value/care/mean"] == 0.95
        measures = read_measures(study)
        exits = measures[(measures["arm"] == "penalised") & (measures["metric"] == "false_exit/1.0")]
        expected = exits.groupby("iteration")["score"].mean()
        history = client(uri).get_metric_history(arms["penalised"].info.run_id, "false_exit/trained")
        assert {point.step: point.value for point in history} == pytest.approx(expected.to_dict())

    def test_the_study_has_its_headline_and_verdicts(self, study, uri):
        sync(study, uri)
        (run,) = search(uri, "params.phase = 'study' and tags.`kerf.verdict.costs-care` = 'undecided'")
        assert run.data.metrics == {
            "seeds": 2.0,
            "arms": 3.0,
            "prediction/costs-care/mean": -0.25,
            "prediction/costs-care/low": -0.5,
            "prediction/costs-care/high": 0.0,
            **{f"effect/value/care/{arm}": mean for arm, mean in zip(ARMS, (0.0, -0.25, 0.1), strict=True)},
        }
        row = "costs-care | -0.25 [-0.50, +0.00] | undecided |"
        experiment = client(uri).get_experiment_by_name("toy")
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
        for note in (run.data.tags["mlflow.note.content"], experiment.tags["mlflow.note.content"]):
            assert note.startswith("Does it | work?")
            assert row in note
            assert "### How to read the runs" in note
        assert f"| toy@aaaaaaaa | {row}" in experiment.tags["mlflow.note.content"]

    def test_an_experiment_of_an_older_layout_is_opened_as_training_and_its_runs_are_replaced(
        self, study, uri, undisturbed
    ):
        mlflow = client(uri)
        old = mlflow.create_experiment("toy", tags={"kerf.recipe": "toy", "mlflow.experimentKind": "genai_inferred"})
        tag = hashlib.sha256((study / "study.json").read_bytes()).hexdigest()[:16]
        parent = mlflow.create_run(old, tags={"kerf.study": tag, "kerf.unit": "study", "kerf.digest": "x"})
        for unit in ("summary/penalised", UNITS[0].name):
            mlflow.create_run(
                old, tags={"kerf.study": tag, "kerf.unit": unit, "mlflow.parentRunId": parent.info.run_id}
            )
        assert sync(study, uri) == 1 + len(UNITS) + 4
        assert content(uri) == undisturbed
        assert mlflow.get_experiment(old).tags["mlflow.experimentKind"] == "custom_model_development"
        assert sync(study, uri) == 0

    def test_nothing_is_written_to_the_working_directory_or_the_default_experiment(
        self, study, uri, tmp_path, monkeypatch
    ):
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        sync(study, uri)
        assert list((tmp_path / "work").iterdir()) == []
        assert client(uri).search_runs(["0"]) == []

    def test_a_page_that_is_made_later_is_attached(self, study, uri, tmp_path):
        shutil.copytree(study, tmp_path / "copy")
        sync(tmp_path / "copy", uri)
        (tmp_path / "copy" / "report.html").write_text("<p>a page</p>")
        assert sync(tmp_path / "copy", uri) == 1
        assert sync(tmp_path / "copy", uri) == 0
        (parent,) = search(uri, "params.phase = 'study'")
        assert "report.html" in {file.path for file in client(uri).list_artifacts(parent.info.run_id)}
        assert len(client(uri).get_metric_history(parent.info.run_id, "seeds")) == 1

    def test_the_battery_is_an_input_and_the_table_an_artifact(self, study, uri, tmp_path):
        sync(study, uri)
        (parent,) = search(uri, "params.phase = 'study'")
        files = {file.path for file in client(uri).list_artifacts(parent.info.run_id)}
        tables = {"effects.parquet", "primaries.json", "table.txt", "measures.parquet"}
        assert files == {"study.json", "recipe.yaml", *tables}
        assert parent.info.artifact_uri.startswith((tmp_path / "mlflow-artifacts").as_uri())
        for run in search(uri):
            (given,) = run.inputs.dataset_inputs
            assert (given.dataset.name, given.dataset.digest) == ("battery", "b" * 36)

    def test_again_writes_nothing(self, study, uri):
        sync(study, uri)
        before = {(run.info.run_id, run.info.status) for run in search(uri)}
        assert sync(study, uri) == 0
        assert {(run.info.run_id, run.info.status) for run in search(uri)} == before

    def test_half_written_runs_are_replaced(self, study, uri, undisturbed):
        sync(study, uri)
        mlflow = client(uri)
        (half,) = search(uri, "params.arm = 'penalised' and params.seed = '0'")
        mlflow.delete_tag(half.info.run_id, "kerf.digest")  # as if killed before the last request
        (changed,) = search(uri, "params.arm = 'penalised' and params.seed = '1'")
        mlflow.set_tag(changed.info.run_id, "kerf.digest", "of other records")
        (gone,) = search(uri, "params.phase = 'arm' and params.arm = 'continued'")
        mlflow.delete_run(gone.info.run_id)
        (arm,) = search(uri, "params.phase = 'arm' and params.arm = 'aligned'")
        mlflow.delete_tag(arm.info.run_id, "kerf.digest")
        (other,) = search(uri, "params.phase = 'arm' and params.arm = 'sign_flip'")
        mlflow.set_tag(other.info.run_id, "kerf.begun", "of other records")
        (parent,) = search(uri, "params.phase = 'study'")
        mlflow.delete_tag(parent.info.run_id, "kerf.digest")
        assert sync(study, uri) == 1 + 2 + (1 + 2) + 1 + (1 + 2), "a new parent has new children"
        assert content(uri) == undisturbed
        assert search(uri, "params.phase = 'study'")[0].info.run_id == parent.info.run_id

    @pytest.mark.parametrize(
        "num_runs", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(7, marks=pytest.mark.slow)]
    )
    def test_a_kill_while_syncing_loses_nothing(self, study, uri, undisturbed, num_runs):
        code = "import sys; from kerf.runs.tracking.studies import sync; sync(sys.argv[1], sys.argv[2])"
        count = "SELECT count(*) FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'toy'"
        with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
            syncing = subprocess.Popen([sys.executable, "-c", code, str(study), uri])
            until(lambda: syncing.poll() is not None or database.execute(count).fetchone()[0] >= num_runs)
        syncing.kill()
        assert syncing.wait() == -signal.SIGKILL
        assert num_runs <= len(search(uri)) < sum(undisturbed.values())
        sync(study, uri)
        assert content(uri) == undisturbed

    def test_children_of_a_deleted_study_get_a_new_parent(self, study, uri, undisturbed):
        sync(study, uri)
        (parent,) = search(uri, "params.phase = 'study'")
        client(uri).delete_run(parent.info.run_id)
        sync(study, uri)
        assert content(uri) == undisturbed

    def test_a_long_cell_goes_in_several_batches(self, tmp_path, uri):
        with open_study(tmp_path / "out", MANIFEST) as store:
            write_unit(store, Unit("penalised", 0), num_iterations=400)
        sync(tmp_path / "out", uri)
        (run,) = search(uri, "params.phase = 'cell'")
        assert len(client(uri).get_metric_history(run.info.run_id, "value/care")) == 400

    def test_an_unfinished_study_says_so(self, tmp_path, uri):
        with open_study(tmp_path / "out", MANIFEST) as store:
            write_unit(store, Unit("aligned", 0))
            statuses = []
            for finish in (False, False, True):
                if finish:
                    write_report(store)
                running = not statuses
                sync(tmp_path / "out", uri, running)
                assert sync(tmp_path / "out", uri, running) == 0
                runs = search(uri, "params.phase != 'cell'")
                statuses.append({run.info.status for run in runs})
                assert len(runs) == 2
        assert statuses == [{"RUNNING"}, {"KILLED"}, {"FINISHED"}]

    def test_names_that_mlflow_would_mangle_are_refused(self, tmp_path, uri):
        with open_study(tmp_path / "out", MANIFEST) as store, store.unit(Unit("penalised", 0)) as folder:
            row = {"arm": ["penalised"], "seed": [0], "iteration": [0], "env_steps": [0], "metric": ["Care (%)"]}
            folder.write_table("measures", {**row, "score": [0.5], "num_scenarios": [1]})
        with pytest.raises(KerfError, match=r"names of metrics use .* got 'Care \(%\)'"):
            sync(tmp_path / "out", uri)

    def test_two_studies_share_an_experiment(self, study, tmp_path, uri):
        with open_study(tmp_path / "out", {**MANIFEST, "recipe_hash": "c" * 64}) as store:
            write_unit(store, Unit("penalised", 0))
        sync(study, uri)
        assert sync(tmp_path / "out", uri) == 3
        assert {run.info.run_name for run in search(uri, "params.phase = 'study'")} == {"toy@aaaaaaaa", "toy@cccccccc"}
        assert sync(study, uri) == 0

    def test_a_deleted_experiment_is_told(self, study, uri):
        sync(study, uri)
        client(uri).delete_experiment(client(uri).get_experiment_by_name("toy").experiment_id)
        with pytest.raises(
            KerfError, match=r"'toy' is deleted: `MLFLOW_TRACKING_URI=sqlite:.* mlflow experiments restore"
        ):
            sync(study, uri)

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            ("http://127.0.0.1:9", "Connection refused"),
            ("nonsense://x", "unsupported URI"),
            ("http://me:secret@127.0.0.1:9", "me:\\*\\*\\*@"),
            ("sqlite:////proc/none/mlflow.db", "No such file"),
        ],
    )
    def test_a_wrong_uri_is_one_sentence(self, study, bad, why):
        with pytest.raises(
            KerfError, match=f"cannot be written .*`kerf sync {study} --mlflow .*{bad[-9:]}.*`"
        ) as raised:
            sync(study, bad)
        assert raised.match(why)
        assert "secret" not in str(raised.value)

    def test_a_server_that_is_out_of_order_is_asked_once_more_and_then_given_up(self, study):
        """MLflow itself would ask it for minutes."""
        asked = []

        class OutOfOrder(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_error(503)

            def log_message(self, *said):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OutOfOrder) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with pytest.raises(KerfError, match=r"cannot be written .*503"):
                sync(study, f"http://127.0.0.1:{server.server_port}")
            server.shutdown()
        assert len(asked) == 2
        assert len(set(asked)) == 1

    def test_what_alembic_raises_is_one_sentence_too(self, study):
        from alembic.util import CommandError

        with (
            pytest.raises(KerfError, match=r"cannot be written \(expected to match one row\)"),
            explained(study, "http://x"),
        ):
            raise CommandError("expected to match one row")

    def test_a_file_that_is_no_database(self, study, tmp_path):
        (tmp_path / "mlflow.db").write_text("no database " * 100)
        with pytest.raises(KerfError, match="file is not a database"):
            sync(study, f"sqlite:///{tmp_path / 'mlflow.db'}")

    def test_no_study(self, tmp_path, uri):
        with pytest.raises(KerfError, match="holds no study"):
            sync(tmp_path, uri)


def run_study(root, uri, after=lambda i: None):
    """A study with a live mirror; `after(i)` is called after the i-th unit. Returns (warnings, complete)."""
    warnings = []
    with open_study(root, MANIFEST) as store:
        store.write_text("recipe.yaml", "name: toy\nabout: Does it | work?\n")
        mirror = Mirror(root, uri, warnings.append)
        for i, unit in enumerate(UNITS):
            write_unit(store, unit)
            mirror.unit_finished()
            after(i)
        write_report(store)
        return warnings, mirror.close(timeout=240.0)


class TestMirror:
    def test_live_equals_afterwards(self, tmp_path, uri, undisturbed):
        def after(i):
            if i == 3:
                until(lambda: len(search(uri)) > 3)  # the study's, and some of its units'

        warnings, complete = run_study(tmp_path / "out", uri, after)
        assert warnings == []
        assert complete
        assert content(uri) == undisturbed
        assert sync(tmp_path / "out", uri) == 0

    def test_an_unreachable_server_warns_once_and_sync_fills_the_gap(self, tmp_path, uri, undisturbed):
        warnings, complete = run_study(tmp_path / "out", "http://127.0.0.1:9")
        assert len(warnings) == 1
        assert "`kerf sync" in warnings[0]
        assert not complete
        sync(tmp_path / "out", uri)
        assert content(uri) == undisturbed

    def test_a_server_that_never_answers_delays_the_end_by_the_timeout_at_most(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10000")  # so that the end waits for no request
        root = tmp_path / "out"
        with socket.create_server(("127.0.0.1", 0)) as silent, open_study(root, MANIFEST):
            warnings = []
            mirror = Mirror(root, f"http://127.0.0.1:{silent.getsockname()[1]}", warnings.append)
            asked, _ = silent.accept()
            assert not mirror.close(timeout=0.1)
            (waiting,) = (thread for thread in threading.enumerate() if thread.name == "mlflow-mirror")
            asked.close()
        waiting.join(60)  # it fails, too, now that the server is gone
        assert not waiting.is_alive()
        assert len(warnings) == 1
        assert "not up to date after 0.1 s" in warnings[0]

    def test_the_process_ends_though_the_mirror_hangs(self, tmp_path):
        """Its request would wait for hours."""
        code = """if True:
            import socket, sys, json
            from kerf.runs.records.store import open_study
            from kerf.runs.tracking.studies import Mirror
            silent = socket.create_server(("127.0.0.1", 0))
            with open_study(sys.argv[1], json.loads(sys.argv[2])):
                mirror = Mirror(sys.argv[1], f"http://127.0.0.1:{silent.getsockname()[1]}", print)
                silent.accept()  # the mirror waits for an answer now
                mirror.close(timeout=0.1)
            print("done")
        """
        ended = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "out"), json.dumps(MANIFEST)],
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
            env={**os.environ, "MLFLOW_HTTP_REQUEST_TIMEOUT": "10000"},
        )
        assert ended.stdout.splitlines()[-1] == "done"

    def test_importing_and_starting_cost_nothing(self, tmp_path):
        code = """if True:
            import sys, time, json
            import kerf.runs.tracking.studies
            assert "mlflow" not in sys.modules
            from kerf.runs.records.store import open_study
            with open_study(sys.argv[1], json.loads(sys.argv[2])):
                started = time.thread_time()  # that of this thread alone, whatever else the machine is doing
                kerf.runs.tracking.studies.Mirror(sys.argv[1], "http://127.0.0.1:9", print).unit_finished()
                assert time.thread_time() - started < 0.05
        """
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "out"), json.dumps(MANIFEST)], check=True, timeout=240
        )


@contextlib.contextmanager
def mlflow_server(folder, port):
    """A real `mlflow server` of `folder/server.db` on the loopback interface; yields a function that kills it."""
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    artifacts = ["--artifacts-destination", str(folder / "artifacts")]
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments, *store, *artifacts],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            cwd=folder,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its workers can be ended with it
        )

    def kill():
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    try:
        until(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/health"))
        assert process.poll() is None, log.read_text()
        yield kill
    finally:
        kill()


def answers(address):
    try:
        urllib.request.urlopen(address, timeout=1).close()
    except OSError:
        return False
    return True


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.slow
class TestServer:
    def test_a_server_killed_midway_is_filled_when_it_is_back(self, tmp_path, empty_database, undisturbed, capfd):
        (tmp_path / "server.db").write_bytes(empty_database)
        port, seen = free_port(), []
        address = f"http://127.0.0.1:{port}"
        with mlflow_server(tmp_path, port) as kill:

            def after(i):
                if i == 3:
                    until(lambda: search(address, "params.phase = 'cell'"))  # let some runs arrive
                    seen.append(len(search(address)))
                    kill()

            warnings, complete = run_study(tmp_path / "out", address, after)
        assert 1 < seen[0] < sum(undisturbed.values())
        assert len(warnings) == 1
        assert not complete
        with mlflow_server(tmp_path, port):
            assert sync(tmp_path / "out", address) > 0
            assert content(address) == undisturbed
            assert sync(tmp_path / "out", address) == 0
        assert capfd.readouterr().out == ""  # nothing that would tear a live display


class TestAddresses:
    def test_the_default_is_sqlite_in_out(self, tmp_path, monkeypatch):
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.chdir(tmp_path)
        assert default_uri() == f"sqlite:///{tmp_path}/out/mlflow.db"

    def test_the_environment_wins(self, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
        assert default_uri() == "http://tracking:5000"

    def test_the_command_for_the_ui(self, tmp_path, monkeypatch):
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert ui_command("sqlite:////a b/c.db") == "kerf ui --mlflow 'sqlite:////a b/c.db'"
        assert ui_command(default_uri(), Path("out/a b")) == "kerf ui 'out/a b'"
        assert ui_command("https://me:secret@tracking", tmp_path) == "https://me:***@tracking"

    def test_a_first_sync_makes_the_database_and_its_folder(self, study, tmp_path):
        uri = f"sqlite:///{tmp_path}/deep/er/mlflow.db"
        assert sync(study, uri) > 0
        assert len(search(uri)) > 0
