"""Policies of a study as MLflow models, which `mlflow models serve` serves; added to the runs of cells on demand."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kerf.runs.records import atomic_io as disk
from kerf.runs.records.store import POLICY, Store, Unit
from kerf.runs.tracking.experiments import experiment, explained
from kerf.runs.tracking.layout import DIGEST, runs_of, study_tag

MODEL = "policy"
"""Folder of the model among the artifacts of a run."""

TAG = "kerf.model"
"""Tag of a run that has a model; set last."""

_SOURCE = Path(__file__).with_name("served_policy.py")


def sync_models(root: str | Path, uri: str) -> int:
    """Add the policy of every cell to its run, as the MLflow model `runs:/<run>/policy`.

    Args:
        root: The folder of a study that MLflow has (`kerf.runs.tracking.studies.sync`).
        uri: An MLflow tracking URI.

    Returns:
        The number of models written; those that are there already are not written again.

    Raises:
        KerfError: if MLflow cannot be written.
    """
    store = Store(root)
    with (
        disk.file_lock(store.path / ".mirror.lock", f"mirroring {store.path}", patience=60.0),
        explained(store.path, uri),
    ):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        runs = runs_of(client, experiment(client, store.manifest()["name"], uri), study_tag(store.path))
        written = 0
        for unit in store.units(verify=True):
            for run in runs.get(unit.name, []):
                if run.data.tags.get(DIGEST) == store.digest(unit) and TAG not in run.data.tags:
                    _write_model(client, run.info.run_id, store, unit)
                    written += 1
        return written


def memory_columns(size: int) -> list[str]:
    """Names of the columns that hold the memory of a policy that remembers `size` numbers."""
    return [f"memory_{index}" for index in range(size)]


def _write_model(client: Any, run: str, store: Store, unit: Unit) -> None:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, Schema

    from kerf.agents.export import read_card
    from kerf.agents.recurrent import RecurrentPolicy

    card = read_card(store.path / unit.name / POLICY)
    remembered = memory_columns(card.get(RecurrentPolicy.kind, {}).get("memory", 0))
    seen, acts = ([*card[kind], *remembered] for kind in ("observations", "actions"))
    with tempfile.TemporaryDirectory(prefix="kerf-model-") as folder:
        exported, model = Path(folder) / POLICY, Path(folder) / "model"
        exported.mkdir()
        for path in (store.path / unit.name).glob(f"{POLICY}.*"):
            shutil.copy(path, exported)
        save_model(
            model,
            python_model=str(_SOURCE),
            artifacts={"policy": str(exported)},
            input_example=pd.DataFrame([dict.fromkeys(seen, 0.0)]),
            signature=ModelSignature(*(Schema([ColSpec("double", name) for name in names]) for names in (seen, acts))),
            pip_requirements=[f"kerf-lab=={importlib.metadata.version('kerf-lab')}"],
        )
        client.log_artifacts(run, str(model), MODEL)
    client.set_tag(run, TAG, MODEL)
