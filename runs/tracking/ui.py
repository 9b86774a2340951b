"""MLflow's pages on this machine: its server as a child process, for as long as a command runs.

The server listens on 127.0.0.1 only. It is the leader of a process group of its own, so that its workers end with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote, urlsplit

from kerf.lab.errors import KerfError
from kerf.runs.records.redaction import without_password, without_passwords_of
from kerf.runs.records.store import Store
from kerf.runs.tracking.commands import sync_command
from kerf.runs.tracking.database import artifacts_of, sqlite_path
from kerf.runs.tracking.experiments import explained, quietly
from kerf.runs.tracking.layout import STUDY, UNIT, study_tag

PATIENCE = 120.0
"""Seconds to wait for the first answer; some ten are usual."""

GRACE = 10.0
"""Seconds that the server has to end by itself."""

PAUSE = 0.1
"""Seconds between two looks at the server."""

LOOPBACK = "127.0.0.1"

TRAINING = "workflowType=machine_learning"
"""Has the menu of the pages be the one for training, not the one for language models."""

SORTED = f"orderByKey={quote('params.`arm`')}&orderByAsc=true"
"""Order of the runs on a page. In the order of their dates MLflow would fold them into their parent's row."""


class Server:
    """MLflow's server for a tracking URI; ended, with all of its workers, at the end of the block.

    Args:
        uri: The tracking URI of a database or folder.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.address = f"http://{LOOPBACK}:{free_port()}"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="kerf-ui-")
        self._log = (Path(self._folder.name) / "log").open("w+b")
        self._process = _start(self._uri, self.address, Path(self._folder.name), self._log)
        return self

    def __exit__(self, *_: object) -> None:
        _stop(self._process)
        self._log.close()
        self._folder.cleanup()

    def wait_for_answer(self, stopped: Callable[[], bool]) -> None:
        """Wait until the server answers, or `stopped` returns True.

        Raises:
            KerfError: if it ends, or does not answer within `PATIENCE` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while not stopped():
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=1):
                return
            self._refuse_ended()
            if time.monotonic() > deadline:
                raise KerfError(f"the MLflow server did not answer within {PATIENCE:g} s ({self._last_line()})")
            time.sleep(PAUSE)

    def wait_for_end(self, stopped: Callable[[], bool]) -> None:
        """Wait until `stopped` returns True.

        Raises:
            KerfError: if the server ends by itself.
        """
        while not stopped():
            self._refuse_ended()
            time.sleep(PAUSE)

    def _refuse_ended(self) -> None:
        if self._process.poll() is not None:
            raise KerfError(f"the MLflow server ended with exit code {self._process.returncode} ({self._last_line()})")

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return without_passwords_of(self._uri, lines[-1][:300]) if lines else "it printed nothing"


def show(uri: str, root: Path | None, say: Callable[[str], None], shown: Callable[[dict[str, str]], None]) -> int:
    """Serve the pages until SIGINT, SIGTERM or SIGHUP; those of an MLflow server are not served, only shown.

    Args:
        uri: The tracking URI.
        root: Folder of a study or sweep; None: all experiments.
        say: Callback for lines about what is going on.
        shown: Callback for the result of `pages`, once they can be opened.

    Returns:
        The exit code of the command: 0 after SIGINT, which is the usual end, else 128 + signal.

    Raises:
        KerfError: if MLflow has no run of the study, or the server does not start or ends by itself.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        shown(pages(without_password(uri).rstrip("/"), uri, root))
        return 0
    with _noticed() as came:
        server = Server(uri)
        found = pages(server.address, uri, root)
        say("starting MLflow ...")
        with server:
            server.wait_for_answer(lambda: bool(came))
            if not came:
                shown(found)
                say("Ctrl-C stops it")
            server.wait_for_end(lambda: bool(came))
    say("stopped")
    return 0 if came[0] == signal.SIGINT else 128 + came[0]


@contextmanager
def _noticed() -> Iterator[list[int]]:
    """Yield a list to which signals add their number. They interrupt nothing, so that no started process is lost."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def pages(address: str, uri: str, root: Path | None) -> dict[str, str]:
    """Return the addresses of the pages to look at, the most useful first.

    Args:
        address: That of the server.
        uri: The tracking URI.
        root: Folder of a study or sweep; None: all experiments.

    Raises:
        KerfError: if MLflow has no run of it.
    """
    if root is None:
        return {"experiments": f"{address}/#/experiments"}
    quietly()
    from mlflow import MlflowClient

    store = Store(root)
    name, sweep = store.manifest()["name"], "sweep" in store.manifest()
    with explained(store.path, uri):
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(name)
        tag = f"tags.`{STUDY}` = '{study_tag(store.path)}'"
        runs = client.search_runs([experiment.experiment_id], tag) if experiment is not None else []
    top = [run.info.run_id for run in runs if run.data.tags[UNIT] in ("study", "sweep")]
    if not top:
        raise KerfError(
            f"MLflow at {without_password(uri)} has no run of {root}: `{sync_command(root, uri)}` writes it"
        )
    runs_page = f"{address}/#/experiments/{experiment.experiment_id}/runs"
    shown = quote(f"params.phase = '{'trial' if sweep else 'arm'}' and {tag}")
    return {
        "trials" if sweep else "arms": f"{runs_page}?{TRAINING}&compareRunsMode=CHART&searchFilter={shown}&{SORTED}",
        "sweep" if sweep else "study": f"{runs_page}/{top[0]}?{TRAINING}",
    }


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.create_server((LOOPBACK, 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _start(uri: str, address: str, folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the server, with `folder` as its working directory, into which it may write."""
    database = sqlite_path(uri)
    artifacts = folder.as_uri() if database is None else artifacts_of(database)
    words = ["--host", LOOPBACK, "--port", str(urlsplit(address).port), "--workers", "1"]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # not in the list of processes, as it may contain a password
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words],
        env={**os.environ, **environment},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # its group gets no signal from the terminal, so that it is ended once, by `_stop`
    )


def _stop(process: subprocess.Popen[Any]) -> None:
    """End the server and all of its workers."""
    _signal(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    _signal(process, signal.SIGKILL)  # also workers that outlived it
    process.wait()


def _signal(process: subprocess.Popen[Any], number: int) -> None:
    with suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, number)
