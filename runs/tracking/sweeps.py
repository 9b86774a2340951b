"""Sweeps in MLflow: a parent run for the sweep and a child run for each trial, written from the records.

Parameters are those of `kerf.runs.tracking.metrics`, with `phase` `sweep`, `trial` or `held-out`, and the swept
settings by name; metrics are `effect/<metric>/mean`, `.../low` and `.../high`, as in the summary of an arm. Writing a
sweep again adds only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.store import Store
from kerf.runs.tracking.experiments import experiment, explained
from kerf.runs.tracking.metrics import ENDS, PARAMETERS, effect_number, parameters

ATTACHED = ("study.json", "recipe.yaml", "trials.parquet", "changes.parquet", "findings.json", "table.txt")
"""Records attached to the sweep's run as artifacts, in addition to all figures."""

_BATCH = 1000


def sync_sweep(root: str | Path, uri: str) -> int:
    """Bring MLflow up to date with the finished sweep in `root`.

    Returns:
        The number of runs written.

    Raises:
        KerfError: if `root` holds no finished sweep, or MLflow cannot be written.
    """
    import pyarrow.parquet as pq

    store = Store(root)
    manifest = store.manifest()
    if not (store.path / "table.txt").exists():
        raise KerfError(f"{store.path}: the sweep is not finished; the command that began it completes it")
    rows = pq.read_table(store.path / "trials.parquet").to_pylist()
    with (
        disk.file_lock(store.path / ".mirror.lock", f"mirroring {store.path}", patience=60.0),
        explained(store.path, uri),
    ):
        writer = _Writer(store, manifest, uri)
        written = writer.parent_run()
        trials: dict[tuple[int, bool], list[dict[str, Any]]] = {}
        for row in rows:
            trials.setdefault((row["trial"], row["held_out"]), []).append(row)
        return written + sum(writer.trial(number, held_out, of) for (number, held_out), of in trials.items())


class _Writer:
    """Writes the runs of a sweep to MLflow. A run is complete if it has the tag `kerf.digest`, which is set last."""

    def __init__(self, store: Store, manifest: dict[str, Any], uri: str) -> None:
        from mlflow import MlflowClient

        self._store, self._manifest = store, manifest
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = experiment(self._client, manifest["name"], uri)
        self._sweep = hashlib.sha256((store.path / "study.json").read_bytes()).hexdigest()[:16]
        self._found: dict[str, list[Any]] = {}
        token = None
        while token != "":
            page = self._client.search_runs(
                [self._experiment], f"tags.`kerf.study` = '{self._sweep}'", page_token=token
            )
            token = page.token or ""
            for run in page:
                self._found.setdefault(run.data.tags["kerf.unit"], []).append(run)
        self._parent = ""

    def parent_run(self) -> int:
        """Write the run of the sweep; return 1 if it was written, else 0."""
        paths = [self._store.path / name for name in ATTACHED]
        paths += [path for kind in ("svg", "png") for path in sorted(self._store.path.glob(f"*.{kind}"))]
        digest = _digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
        for run in self._found.get("sweep", []):
            self._parent = run.info.run_id
            if run.data.tags.get("kerf.digest") == digest:
                return 0
        if not self._parent:
            mode = self._manifest["sweep"]["mode"]
            self._parent = self._begin("sweep", f"{mode}@{self._manifest['recipe_hash'][:8]}", {})
            self._fill(self._parent, parameters(self._manifest, "sweep"), {})
        for path in paths:
            self._client.log_artifact(self._parent, str(path))
        self._end(self._parent, digest)
        return 1

    def trial(self, number: int, held_out: bool, rows: list[dict[str, Any]]) -> int:
        """Write the run of a trial; return 1 if it was written, else 0."""
        unit = f"trial-{number}{'/held-out' if held_out else ''}"
        digest = _digest([[repr(value) for value in row.values()] for row in rows])
        for run in self._found.get(unit, []):
            if run.data.tags.get("kerf.digest") == digest and run.data.tags.get("mlflow.parentRunId") == self._parent:
                return 0
            self._client.delete_run(run.info.run_id)
        run_id = self._begin(unit, unit, {"mlflow.parentRunId": self._parent})
        path = self._store.path / "arms" / f"{rows[0]['arm']}.json"
        facts = json.loads(path.read_bytes())["facts"]["arm"]
        of_arm = {**self._manifest, "arms": {self._manifest["sweep"]["arm"]: facts}}
        params = parameters(of_arm, "held-out" if held_out else "trial", self._manifest["sweep"]["arm"])
        params |= {axis["name"]: str(rows[0][axis["name"]]) for axis in self._manifest["sweep"]["over"]}
        metrics = {effect_number(row["metric"], end): row[end] for row in rows for end in ENDS}
        self._fill(run_id, params | {"seeds": str(rows[0]["num_seeds"])}, metrics)
        self._end(run_id, digest)
        return 1

    def _begin(self, unit: str, name: str, tags: dict[str, str]) -> str:
        tags = {"kerf.study": self._sweep, "kerf.unit": unit, **tags}
        run_id: str = self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id
        return run_id

    def _fill(self, run: str, params: dict[str, str], numbers: dict[str, float | None]) -> None:
        from mlflow.entities import Metric, Param

        assert set(PARAMETERS) <= set(params)
        self._client.log_batch(run, params=[Param(key, value) for key, value in params.items()])
        finite = {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}
        metrics = [Metric(name, value, 0, 0) for name, value in finite.items()]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run, metrics=metrics[start : start + _BATCH])

    def _end(self, run: str, digest: str) -> None:
        self._client.set_terminated(run, "FINISHED")
        self._client.set_tag(run, "kerf.digest", digest)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
