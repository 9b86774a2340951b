"""Commands about MLflow that messages suggest, and the tracking URI that commands use by default."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from kerf.runs.records.redaction import without_password
from kerf.runs.terminal.console import shell


def default_uri() -> str:
    """Return `MLFLOW_TRACKING_URI` if set, else the URI of the SQLite file `./out/mlflow.db` (absolute path)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('out/mlflow.db').absolute()}"


def ui_command(uri: str, root: Path | None = None) -> str:
    """Return the command that shows the study in `root`, or all, in MLflow's pages; for a server, its address."""
    if urlsplit(uri).scheme in ("http", "https"):
        return without_password(uri)
    other = () if uri == default_uri() else ("--mlflow", without_password(uri))
    return shell("kerf", "ui", *([] if root is None else [root]), *other)


def sync_command(root: Path, uri: str) -> str:
    """Return the command that brings `uri` up to date with the records in `root`; `***` stands for a password."""
    other = () if uri == default_uri() else ("--mlflow", without_password(uri))
    return shell("kerf", "sync", root, *other)


def restore_command(experiment_id: str, uri: str) -> str:
    """Return the command that restores a deleted experiment; `***` stands for a password."""
    restore = shell("mlflow", "experiments", "restore", "--experiment-id", experiment_id)
    return f"MLFLOW_TRACKING_URI={shell(without_password(uri))} {restore}"
