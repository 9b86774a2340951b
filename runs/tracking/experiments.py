"""MLflow experiments, one per recipe, and error messages for MLflow's server or file."""

from __future__ import annotations

import logging
import os
import sqlite3
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from kerf.lab.errors import KerfError
from kerf.runs.records.redaction import without_password, without_passwords_of
from kerf.runs.tracking.commands import restore_command, sync_command
from kerf.runs.tracking.database import artifacts_of, settle, sqlite_path

_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""Tag, and its value, with which MLflow opens an experiment as one of training, not of language models."""

INFERRED = "_inferred"
"""End of the values that MLflow's pages set by themselves."""


def experiment(client: Any, name: str, uri: str) -> str:
    """Return the id of the experiment `name`; created if needed, with artifacts beside the database for SQLite."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        database = sqlite_path(uri)
        artifacts = None if database is None else artifacts_of(database)
        try:
            created: str = client.create_experiment(name, artifacts, {"kerf.recipe": name, KIND: TRAINING})
            return created
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another study of this recipe has created it
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage == "deleted":
        restore = restore_command(found.experiment_id, uri)
        raise KerfError(f"the MLflow experiment {name!r} is deleted: `{restore}` restores it")
    if found.tags.get(KIND, INFERRED).endswith(INFERRED):
        client.set_experiment_tag(found.experiment_id, KIND, TRAINING)
    experiment: str = found.experiment_id
    return experiment


def quietly() -> None:
    """Set MLflow up, before it is imported, to give up soon and to print nothing of its own."""
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    for noisy in ("mlflow.store.db.utils", "alembic", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)  # no messages about migrations and retries; errors are raised


@contextmanager
def explained(root: Path, uri: str) -> Iterator[None]:
    """Prepare MLflow for `uri`, and convert its exceptions into a one-sentence `KerfError`."""
    quietly()
    try:
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise _unwritable(root, uri, error) from error
    try:
        database = sqlite_path(uri)
        if database is not None:  # otherwise MLflow retries for minutes to open an unusable database
            settle(database, lambda sentence: click.echo(f"warning: {sentence}", err=True))
        yield
    except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError, ImportError) as error:
        raise _unwritable(root, uri, error) from error


def _unwritable(root: Path, uri: str, error: Exception) -> KerfError:
    why = textwrap.shorten(without_passwords_of(uri, str(error)), 600) or type(error).__name__
    return KerfError(
        f"MLflow at {without_password(uri)} cannot be written ({why}); the records in {root} are safe, and "
        f"`{sync_command(root, uri)}` completes MLflow later"
    )
