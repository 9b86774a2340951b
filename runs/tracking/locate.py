"""Records of a study found by an id of MLflow: of its run, of a run of one of its units, or of its experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kerf.lab.errors import KerfError
from kerf.runs.records.redaction import without_password
from kerf.runs.tracking.database import sqlite_path
from kerf.runs.tracking.experiments import quietly


def study_folder(name: str, uri: str) -> Path:
    """Return the folder with the records of a study.

    Args:
        name: Id of a run, or id or name of an experiment; of an experiment its latest study counts.
        uri: An MLflow tracking URI.

    Raises:
        KerfError: if there is no such run or experiment, it is not one of a study, or the records are not here.
    """
    unknown = f"{name!r} is no folder here and no run or experiment of MLflow at {without_password(uri)}"
    database = sqlite_path(uri)
    if database is not None and not database.exists():
        raise KerfError(unknown)
    quietly()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri)
    try:
        run = _run(client, name)
    except MlflowException as error:
        raise KerfError(unknown) from error
    if run is None:
        raise KerfError(unknown)
    folder = _folder(run)
    if folder is None:
        raise KerfError(f"run {run.info.run_id} of MLflow names no battery, so it is not one of a study")
    if not (folder / "study.json").exists():
        raise KerfError(f"the records of run {run.info.run_id} were in {folder}, which is not here")
    return folder


def _run(client: Any, name: str) -> Any | None:
    """The run called `name`, or the latest study of the experiment `name`; None if there is neither."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None and name.isdigit():
        experiment = client.get_experiment(name)
    if experiment is None:
        return client.get_run(name)
    studies = client.search_runs([experiment.experiment_id], "tags.`kerf.unit` = 'study'", max_results=1)
    return studies[0] if studies else None


def _folder(run: Any) -> Path | None:
    """The folder of the battery that the run was measured with."""
    for given in run.inputs.dataset_inputs:
        source = json.loads(given.dataset.source).get("uri", "")
        if given.dataset.name == "battery" and not urlsplit(source).scheme:
            return Path(source).parent
    return None
