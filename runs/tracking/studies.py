"""MLflow mirror of a study's records. The records on disk are authoritative; MLflow may be down or be filled later.

A recipe is an MLflow experiment. A study is a run in it, with a child run for each arm (`penalised`), whose children
are the arm's cells (`penalised/seed-0`); the aligned agents count as an arm. `kerf.runs.tracking.metrics` defines their
parameters and metrics; attacks on an agent add metrics to its run (`kerf.runs.tracking.attacks`). Everything is read
from the records, so a mirror written during the run equals one written afterwards.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.store import Store
from kerf.runs.tracking.attacks import log_attacks
from kerf.runs.tracking.commands import sync_command
from kerf.runs.tracking.experiments import experiment, explained
from kerf.runs.tracking.writer import StudyWriter

ATTACKS = "attacks"
"""Name of the experiment for attacks on policies that belong to no study."""


def sync(root: str | Path, uri: str, running: bool = False) -> int:
    """Bring MLflow up to date with the records in `root`. Idempotent: a second call writes nothing.

    Incomplete runs, left by a process that was killed, and runs with an older layout are replaced. The study's run is
    `FINISHED` if `table.txt` exists, else `RUNNING` if `running`, else `KILLED`.

    Args:
        root: The folder of a study.
        uri: An MLflow tracking URI.
        running: Whether the study is still being run.

    Returns:
        The number of runs written.

    Raises:
        KerfError: if `root` holds no study, its records are damaged, or MLflow cannot be written.
    """
    store = Store(root)
    manifest = store.manifest()
    with (
        disk.file_lock(store.path / ".mirror.lock", f"mirroring {store.path}", patience=60.0),
        explained(store.path, uri),
    ):
        return StudyWriter(store, manifest, uri, running).write()


def import_early() -> None:
    """Start importing mlflow, which takes seconds, in a thread; a later `sync` waits until that is done."""
    threading.Thread(target=importlib.import_module, args=("mlflow",), daemon=True).start()


def sync_policy(root: Path, policy: Mapping[str, str], folders: Sequence[Path], uri: str) -> None:
    """Write the attacks in `folders` on a policy that belongs to no study to a run of the experiment `attacks`.

    An existing run of the policy is completed.

    Args:
        root: Folder of the records.
        policy: Parameters of the run; `sha256` identifies the policy.
        folders: Folders of the attacks.
        uri: An MLflow tracking URI.

    Raises:
        KerfError: if MLflow cannot be written.
    """
    with explained(root, uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        ours = experiment(client, ATTACKS, uri)
        found = client.search_runs([ours], f"params.sha256 = '{policy['sha256']}'")
        if found:
            run = found[0].info.run_id
        else:
            tags = {"mlflow.runName": f"{policy['policy']}-{policy['sha256'][:8]}"}
            run = client.create_run(ours, tags=tags).info.run_id
            for name, value in policy.items():
                client.log_param(run, name, value)
        log_attacks(client, run, folders)
        client.set_terminated(run, "FINISHED")


class Mirror:
    """Updates MLflow during a run, in a thread of its own that cannot stop the run or delay its end.

    At the first failure it calls `warn` and stops; `sync` adds what is missing later. Start it after the heavy imports:
    its thread imports mlflow and creates the database, if needed, while the first seed is being aligned.

    Args:
        root: The folder of the study.
        uri: An MLflow tracking URI.
        warn: Callback for a warning, a sentence; called at most once, from the thread or from `close`.
    """

    def __init__(self, root: str | Path, uri: str, warn: Callable[[str], None]) -> None:
        self._root, self._uri, self._warn = Path(root), uri, warn
        self._news = threading.Event()  # one flag is enough: a sync writes everything that is new
        self._news.set()
        self._closing = threading.Event()
        self._once = threading.Lock()
        self._complete = False
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def unit_finished(self) -> None:
        """Report new records. Returns at once."""
        self._news.set()

    def close(self, timeout: float = 30.0) -> bool:
        """Wait at most `timeout` seconds for the last update; return whether MLflow has all records now."""
        self._closing.set()
        self._news.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            command = sync_command(self._root, self._uri)
            self._warn_once(f"MLflow is not up to date after {timeout:g} s; `{command}` completes it")
        return self._complete

    def _run(self) -> None:
        try:
            while not self._complete:
                self._news.wait()
                self._news.clear()
                closing = self._closing.is_set()
                sync(self._root, self._uri, running=not closing)
                self._complete = closing
        except KerfError as error:
            self._warn_once(str(error))
        except Exception as error:  # no error of a tracking library may stop the run; it is reported
            self._warn_once(f"MLflow is no longer updated ({type(error).__name__}: {error})")

    def _warn_once(self, sentence: str) -> None:
        if self._once.acquire(blocking=False):
            self._warn(sentence)
