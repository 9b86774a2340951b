"""Private Ray instance on the loopback address, for studies that need Ray."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.execution.forked_workers import CAN_FORK, stop
from kerf.runs.execution.processes import end_marked
from kerf.runs.execution.socket_folder import socket_folder

LOOPBACK = "127.0.0.1"

STARTS = 3
"""Number of attempts to start Ray if it times out."""

SLOW_START = "timed out during startup"
"""Text in Ray's error message after a time-out."""

SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path of a socket of Ray, relative to its temporary folder."""

START_MARK = "KERF_RAY_START"
"""Environment variable of the processes of a private Ray; its value is another one at each start."""

OBJECT_STORE_BYTES = 128 * 2**20
"""Size of the object store; only weights and progress are passed between processes."""


def ray_for(needed: bool, num_cpus: int) -> AbstractContextManager[None]:
    """Return `local_ray` if the work needs Ray or processes cannot be forked here; else a null context."""
    if not needed and CAN_FORK:
        return nullcontext()
    stop()  # the fork server is not needed
    return local_ray(num_cpus)


@contextmanager
def local_ray(num_cpus: int) -> Iterator[None]:
    """Run a private Ray on the loopback address; a Ray that is initialised already is used and not shut down."""
    import ray

    if ray.is_initialized():
        yield
        return
    usual = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    with on_loopback(), socket_folder(usual, len(SOCKET)) as folder:
        with own_handler():
            _start_ray(num_cpus, folder)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def own_handler() -> Iterator[None]:
    """Restore the SIGTERM handler at the end: Ray installs one that prints a C++ stack trace and aborts."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)


def _start_ray(num_cpus: int, folder: Path | None) -> None:
    """Start Ray; retry after a time-out, since Ray allows its processes 30 s, too little on a busy machine.

    Args:
        num_cpus: Logical CPUs.
        folder: Folder of its sessions; None: the default.

    Raises:
        KerfError: if it times out each time.
    """
    from kerf.runs.execution.ray_job import start

    for left in reversed(range(STARTS)):
        mark = secrets.token_hex(8)
        try:
            with _environment(START_MARK, mark):
                start(
                    sys.path,
                    address="local",
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _node_ip_address=LOOPBACK,
                    _temp_dir=None if folder is None else str(folder / "ray"),
                )
            return
        except Exception as error:  # Ray has no exception class for a time-out
            end_marked(START_MARK, mark)  # Ray leaves its processes running until this one ends
            if SLOW_START not in str(error):
                raise
            if not left:
                raise KerfError(
                    f"Ray did not start, {STARTS} times: {error} The machine may be too busy; try again later"
                ) from error


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable, which processes started meanwhile inherit."""
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextmanager
def on_loopback() -> Iterator[None]:
    """Keep Ray from replacing a loopback address by an external one, as it does on platforms that support clusters."""
    from ray._private import ray_constants

    could_cluster = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = could_cluster
