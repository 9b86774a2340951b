"""Sweeps in MLflow: a parent run for the sweep and a child run for each trial, written from the records.

Parameters are those of `kerf.runs.tracking.metrics`, with `phase` `sweep`, `trial` or `held-out`, and the swept
settings by name. Metrics of a trial are `effect/<metric>/mean`, `.../low` and `.../high` for robustness, collateral,
and the metrics of the limit and of the floors; and `effect/<metric>/mean` for competence, ideal utility and the values.
All others are in the attached `trials.parquet`. Writing a sweep again adds only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError
from kerf.lab.metrics import COLLATERAL, COMPETENCE, ROBUSTNESS, UTILITY, Kind, of_kind
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.store import Store
from kerf.runs.tracking.experiments import experiment, explained
from kerf.runs.tracking.layout import (
    DIGEST,
    LAYOUT,
    PARENT,
    STUDY,
    TAG,
    UNIT,
    hash_of,
    log_in_batches,
    runs_of,
    study_tag,
)
from kerf.runs.tracking.metrics import ENDS, MOST, PARAMETERS, effect_number, parameters
from kerf.runs.tracking.notes import NOTE, describe_experiment, question, sweep_note

ATTACHED = ("study.json", "recipe.yaml", "trials.parquet", "changes.parquet", "findings.json", "table.txt")
"""Records attached to the sweep's run as artifacts, in addition to all figures."""

_LONGEST = 8000  # maximum number of characters of a tag in MLflow


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
        written += sum(writer.trial(number, held_out, of) for (number, held_out), of in trials.items())
        writer.describe()
        return written


def trial_numbers(rows: Iterable[Mapping[str, Any]], sweep: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a trial from its rows of `trials.parquet`, at most `MOST`; `sweep` is the manifest's."""
    by_metric = {row["metric"]: row for row in rows}
    bounds = [*([sweep["limit"]] if sweep["limit"] else []), *sweep["floors"]]
    asked = dict.fromkeys([ROBUSTNESS, COLLATERAL, *(bound["metric"] for bound in bounds)])
    others = [COMPETENCE, UTILITY, *of_kind(sorted(by_metric), Kind.VALUE)]
    wanted = [(metric, end) for metric in asked for end in ENDS]
    wanted += [(metric, ENDS[0]) for metric in others if metric not in asked]
    found = {effect_number(metric, end): by_metric[metric][end] for metric, end in wanted if metric in by_metric}
    finite = [(name, value) for name, value in found.items() if value is not None and math.isfinite(value)]
    return dict(finite[:MOST])


class _Writer:
    """Writes the runs of a sweep to MLflow. A run is complete if it has the tag `kerf.digest`, which is set last."""

    def __init__(self, store: Store, manifest: dict[str, Any], uri: str) -> None:
        from mlflow import MlflowClient

        self._store, self._manifest = store, manifest
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = experiment(self._client, manifest["name"], uri)
        self._sweep = study_tag(store.path)
        self._found = runs_of(self._client, self._experiment, self._sweep)
        self._parent = ""

    def parent_run(self) -> int:
        """Write the run of the sweep; return 1 if it was written, else 0."""
        paths = [self._store.path / name for name in ATTACHED]
        paths += [path for kind in ("svg", "png") for path in sorted(self._store.path.glob(f"*.{kind}"))]
        digest = hash_of([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
        for run in self._found.get("sweep", []):
            self._parent = run.info.run_id
            if run.data.tags.get(DIGEST) == digest:
                return 0
        if not self._parent:
            mode = self._manifest["sweep"]["mode"]
            self._parent = self._begin("sweep", f"{mode}@{self._manifest['recipe_hash'][:8]}", {})
            self._fill(self._parent, parameters(self._manifest, "sweep"), {})
        note = sweep_note(question(self._store.path), (self._store.path / "table.txt").read_text(encoding="utf-8"))
        self._client.set_tag(self._parent, NOTE, note[:_LONGEST])
        for path in paths:
            self._client.log_artifact(self._parent, str(path))
        self._end(self._parent, digest)
        return 1

    def trial(self, number: int, held_out: bool, rows: list[dict[str, Any]]) -> int:
        """Write the run of a trial; return 1 if it was written, else 0."""
        unit = f"trial-{number}{'/held-out' if held_out else ''}"
        digest = hash_of([[repr(value) for value in row.values()] for row in rows])
        for run in self._found.get(unit, []):
            if run.data.tags.get(DIGEST) == digest and run.data.tags.get(PARENT) == self._parent:
                return 0
            self._client.delete_run(run.info.run_id)
        run_id = self._begin(unit, unit, {PARENT: self._parent})
        path = self._store.path / "arms" / f"{rows[0]['arm']}.json"
        facts = json.loads(path.read_bytes())["facts"]["arm"]
        of_arm = {**self._manifest, "arms": {self._manifest["sweep"]["arm"]: facts}}
        params = parameters(of_arm, "held-out" if held_out else "trial", self._manifest["sweep"]["arm"])
        params |= {axis["name"]: str(rows[0][axis["name"]]) for axis in self._manifest["sweep"]["over"]}
        numbers = trial_numbers(rows, self._manifest["sweep"])
        self._fill(run_id, params | {"seeds": str(rows[0]["num_seeds"])}, numbers)
        self._end(run_id, digest)
        return 1

    def describe(self) -> None:
        """Bring the description of the experiment up to date."""
        describe_experiment(self._client, self._experiment, self._store.path)

    def _begin(self, unit: str, name: str, tags: dict[str, str]) -> str:
        tags = {STUDY: self._sweep, UNIT: unit, TAG: LAYOUT, **tags}
        run_id: str = self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id
        return run_id

    def _fill(self, run: str, params: dict[str, str], numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric, Param

        assert set(PARAMETERS) <= set(params)
        self._client.log_batch(run, params=[Param(key, value) for key, value in params.items()])
        log_in_batches(self._client, run, [Metric(name, value, 0, 0) for name, value in numbers.items()])

    def _end(self, run: str, digest: str) -> None:
        self._client.set_terminated(run, "FINISHED")
        self._client.set_tag(run, DIGEST, digest)
