"""Layout of runs in MLflow: tags that say what a run stands for, and removal of runs with an older layout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

LAYOUT = "2"
"""Version of the layout, in the tag `kerf.layout` of every run. Version 1 had no such tag, a run `<arm>/summary` for
each arm, and all metrics of the records on every run."""

TAG = "kerf.layout"
STUDY = "kerf.study"
"""Tag: short hash of the study's manifest, the same on all runs of a study or sweep."""
UNIT = "kerf.unit"
"""Tag: what a run stands for: `study`, `arm/<arm>`, a unit's name, `sweep` or `trial-<number>`."""
DIGEST = "kerf.digest"
"""Tag: hash of the records that a run was written from. It is set last: a run without it is incomplete."""
BEGUN = "kerf.begun"
"""Tag of an arm's run: the digest of the records that are being written to it."""
PARENT = "mlflow.parentRunId"

BATCH = 1000
"""Maximum number of metrics in a request to MLflow."""


def runs_of(client: Any, experiment: str, study: str) -> dict[str, list[Any]]:
    """Return the runs of a study, or sweep, by what they stand for. Deletes those with an older layout."""
    found: dict[str, list[Any]] = {}
    token = None
    while token != "":
        page = client.search_runs([experiment], f"tags.`{STUDY}` = '{study}'", page_token=token)
        token = page.token or ""
        for run in page:
            found.setdefault(run.data.tags[UNIT], []).append(run)
    for name, runs in list(found.items()):
        for run in [run for run in runs if run.data.tags.get(TAG) != LAYOUT]:
            client.delete_run(run.info.run_id)
            runs.remove(run)
        if not runs:
            del found[name]
    return found


def study_tag(root: Path) -> str:
    """Return the value of the tag `STUDY` for the study, or sweep, in the folder `root`."""
    return hashlib.sha256((root / "study.json").read_bytes()).hexdigest()[:16]


def log_in_batches(client: Any, run: str, metrics: list[Any]) -> None:
    """Log any number of metrics."""
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[start : start + BATCH])


def hash_of(value: Any) -> str:
    """Return the SHA-256 (hex) of plain data."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def milliseconds(seconds: float) -> int:
    """Convert seconds since the epoch into MLflow's unit of time."""
    return int(seconds * 1000)
