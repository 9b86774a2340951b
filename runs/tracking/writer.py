"""Writer of the runs of a study: of the study, its arms and its cells, each from the records alone."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.tracking.analyses import after_figures, revealed_figures
from kerf.runs.tracking.attacks import Attacks, attack_folders
from kerf.runs.tracking.experiments import experiment
from kerf.runs.tracking.layout import (
    BEGUN,
    DIGEST,
    LAYOUT,
    PARENT,
    STUDY,
    TAG,
    UNIT,
    hash_of,
    log_in_batches,
    milliseconds,
    runs_of,
    study_tag,
)
from kerf.runs.tracking.metrics import (
    MOST,
    Number,
    curves,
    effects,
    headline,
    parameters,
    trained_strength,
)
from kerf.runs.tracking.notes import NOTE, VERDICT, describe_experiment, question, study_note

ATTACHED = (
    *("study.json", "recipe.yaml", "effects.parquet", "matched.parquet", "primaries.json", "threshold.json"),
    *("attacks.parquet", "attacks.txt", "after.parquet", "after.json", "after.txt"),
    *("revealed.parquet", "revealed_fits.parquet", "feedback.parquet", "generalisation.parquet", "objectives.json"),
    *("revealed.txt", "report.html", "table.txt"),
)
"""Records attached to the study's run as artifacts when they exist, with all measures in `measures.parquet` at the end.
`table.txt` is written at the end of a study."""

_LENGTH = 36  # maximum number of characters of a dataset's digest in MLflow


class StudyWriter:
    """Writes the runs of a study to MLflow. A run is complete if it has the tag `kerf.digest`, which is set last.

    The run of an arm exists from its first finished cell on; its metrics are written when the study is finished.

    Args:
        store: The study.
        manifest: Its manifest.
        uri: An MLflow tracking URI.
        running: Whether the study is still being run.
    """

    def __init__(self, store: Store, manifest: Mapping[str, Any], uri: str, running: bool) -> None:
        from mlflow import MlflowClient

        self._store, self._manifest = store, manifest
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment = experiment(self._client, manifest["name"], uri)
        self._study = study_tag(store.path)
        self._spans = {e["unit"]: (e["started"], e["started"] + e["seconds"]) for e in store.timing() if "unit" in e}
        self._runs = runs_of(self._client, self._experiment, self._study)
        self._finished = (store.path / "table.txt").exists()
        self._status = "FINISHED" if self._finished else "RUNNING" if running else "KILLED"
        path = store.path / "effects.parquet"
        self._effects = effects(path, manifest) if self._finished and path.exists() else {}
        self._parent = ""

    def write(self) -> int:
        """Write what is missing; return the number of runs written."""
        units = self._store.units()
        written = self._write_study(units)
        for arm in dict.fromkeys(unit.arm for unit in units):
            written += self._write_arm(arm, [unit for unit in units if unit.arm == arm])
        describe_experiment(self._client, self._experiment, self._store.path)
        return written

    def _write_study(self, units: Sequence[Unit]) -> int:
        """Create or complete the study's run, the parent of the arms; return 1 if anything was written, else 0."""
        paths = [path for path in (self._store.path / name for name in ATTACHED) if path.exists()]
        measured = [self._store.digest(unit) for unit in units] if self._finished else []
        digest = hash_of([[(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths], measured])
        started, ended = self._span(units, paths)
        found = self._runs.get("study", [])
        if found:
            self._parent = found[0].info.run_id
            if found[0].data.tags.get(DIGEST) == digest and found[0].info.status == self._status:
                return 0
        else:
            name = f"{self._manifest['name']}@{self._manifest['recipe_hash'][:8]}"
            self._parent = self._begin("study", name, started, {})
        numbers, outcomes = headline(self._store.path, self._manifest) if self._finished else ({}, {})
        for name, outcome in outcomes.items():
            self._client.set_tag(self._parent, f"{VERDICT}{name}", outcome)
        self._client.set_tag(self._parent, NOTE, study_note(question(self._store.path), outcomes, numbers))
        for figures, tags in (after_figures(self._store.path), revealed_figures(self._store.path)):
            numbers |= dict(list(figures.items())[:MOST])
            for name, value in tags.items():
                self._client.set_tag(self._parent, name, value)
        metrics = [Number(name, value, 0) for name, value in numbers.items()]
        reported = milliseconds(paths[-1].stat().st_mtime)  # the same whenever it is written: one point a metric
        self._fill(self._parent, parameters(self._manifest, "study"), metrics, reported)
        for path in paths:
            self._client.log_artifact(self._parent, str(path))
        if self._finished:
            self._attach_measures()
        self._end(self._parent, ended)
        self._client.set_tag(self._parent, DIGEST, digest)
        return 1

    def _attach_measures(self) -> None:
        """Attach the measures of all units as one table."""
        from kerf.runs.records.tables import read_measures

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "measures.parquet"
            read_measures(self._store.path, aligned=True).to_parquet(path, index=False)
            self._client.log_artifact(self._parent, str(path))

    def _write_arm(self, arm: str, units: Sequence[Unit]) -> int:
        """Write the run of an arm and those of its finished cells; return the number of runs written."""
        effects = self._effects.get(arm, {})
        digest = hash_of([[self._store.digest(unit) for unit in units], effects]) if self._finished else ""
        run = self._standing_arm(arm, digest)
        started, ended = self._span(units, [])
        params = parameters(self._manifest, "arm", arm)
        if run is None:
            name = self._begin(f"arm/{arm}", arm, started, {PARENT: self._parent})
            self._fill(name, params, [], ended)
        else:
            name = run.info.run_id
        written = sum(self._write_unit(unit, name) for unit in units)
        tags = {} if run is None else run.data.tags
        if run is not None and run.info.status == self._status and tags.get(DIGEST, "") == digest:
            return written
        if self._finished:
            self._client.set_tag(name, BEGUN, digest)
            folders = [self._store.path / unit.name for unit in units]
            numbers = curves(folders, trained_strength(self._manifest, arm), before=arm == ALIGNED)
            numbers += [Number(metric, value, 0) for metric, value in effects.items()]
            self._fill(name, params, numbers, ended)
        self._end(name, ended)
        if self._finished:
            self._client.set_tag(name, DIGEST, digest)
        return written + 1

    def _standing_arm(self, arm: str, digest: str) -> Any | None:
        """Return the run of an arm, if any; deletes runs of other records or with another parent."""
        stands = None
        for run in self._runs.get(f"arm/{arm}", []):
            tags = run.data.tags
            if stands is None and tags.get(BEGUN, digest) == digest and tags.get(PARENT) == self._parent:
                stands = run
            else:
                self._client.delete_run(run.info.run_id)
        return stands

    def _write_unit(self, unit: Unit, parent: str) -> int:
        """Write the run of a finished unit; return 1 if anything was written, else 0."""
        attacks = Attacks(attack_folders(self._store.path, unit.name))
        digest = self._store.digest(unit)
        standing = None
        for run in self._runs.get(unit.name, []):
            tags = run.data.tags
            same = tags.get(DIGEST) == digest and tags.get(PARENT) == parent
            if standing is None and same and not attacks.replace(run):
                standing = run
            else:
                self._client.delete_run(run.info.run_id)
        if standing is not None:
            return attacks.write(self._client, standing.info.run_id, standing.data.tags)
        self._store.finished(unit, verify=True)
        started, ended = self._span([unit], [])
        strength = trained_strength(self._manifest, unit.arm)
        numbers = curves([self._store.path / unit.name], strength, before=unit.arm == ALIGNED)
        written = self._begin(unit.name, unit.name.removeprefix("cells/"), started, {PARENT: parent})
        self._fill(written, parameters(self._manifest, "cell", unit.arm, unit.seed), numbers, ended)
        self._client.set_terminated(written, "FINISHED", ended)
        self._client.set_tag(written, DIGEST, digest)
        attacks.write(self._client, written, {})
        return 1

    def _span(self, units: Sequence[Unit], paths: Sequence[Path]) -> tuple[int, int]:
        """Return first and last moment, in milliseconds, of units and of files that were written."""
        moments = [path.stat().st_mtime for path in paths]
        for unit in units:
            done = (self._store.path / unit.name / "done.json").stat().st_mtime
            moments += self._spans.get(unit.name, (done, done))
        return milliseconds(min(moments)), milliseconds(max(moments))

    def _begin(self, unit: str, name: str, start: int, tags: Mapping[str, str]) -> str:
        tags = {STUDY: self._study, UNIT: unit, TAG: LAYOUT, **tags}
        run_id: str = self._client.create_run(self._experiment, start, tags, name).info.run_id
        return run_id

    def _end(self, run: str, ended: int) -> None:
        """Set the status of a run that lasts as long as the study."""
        if self._status == "RUNNING":
            self._client.update_run(run, self._status)
        else:
            self._client.set_terminated(run, self._status, ended)

    def _fill(self, run: str, params: Mapping[str, str], numbers: Sequence[Number], timestamp: int) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        self._client.log_batch(run, params=[Param(key, value) for key, value in params.items()])
        metrics = [Metric(n.name, n.value, timestamp, n.step) for n in numbers]
        log_in_batches(self._client, run, metrics)
        source = json.dumps({"uri": str((self._store.path / "battery.parquet").absolute())})
        battery = Dataset("battery", self._manifest["battery_hash"][:_LENGTH], "local", source)
        self._client.log_inputs(run, [DatasetInput(battery, [InputTag("mlflow.data.context", "evaluation")])])
