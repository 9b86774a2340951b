"""The private Ray that some studies need, on this machine's loopback address."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.execution.forked_workers import CAN_FORK, stop
from kerf.runs.execution.socket_folder import socket_folder

LOOPBACK = "127.0.0.1"

STARTS = 3
"""Times that Ray is started, if it is too slow."""

SLOW_START = "timed out during startup"
"""What Ray says then."""

SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest name that Ray gives a socket below the temporary folder."""

OBJECT_STORE_BYTES = 128 * 2**20
"""Weights and progress are all that passes between processes."""


def ray_for(needed: bool, num_cpus: int) -> AbstractContextManager[None]:
    """`local_ray` if it is needed, by the work or because processes cannot be forked here; else nothing."""
    if not needed and CAN_FORK:
        return nullcontext()
    stop()  # what workers would be forked from
    return local_ray(num_cpus)


@contextmanager
def local_ray(num_cpus: int) -> Iterator[None]:
    """A private Ray on this machine's loopback address; a Ray that is initialised already is used and left alone."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
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
    """Keeps what this process does at SIGTERM: where Ray is initialised, it writes its C++ stack and aborts."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)


def _start_ray(num_cpus: int, folder: Path | None) -> None:
    """Start Ray; again if it is too slow, for it gives its own processes 30 s, which a busy machine may not have.

    Args:
        num_cpus: Logical CPUs.
        folder: Where its sessions go; None: where they usually go.

    Raises:
        KerfError: if it is too slow each time.
    """
    import ray

    for left in reversed(range(STARTS)):
        try:
            ray.init(
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
        except Exception as error:  # it has no class of its own for that
            if SLOW_START not in str(error):
                raise
            if not left:
                raise KerfError(
                    f"Ray did not start, {STARTS} times: {error} The machine may be too busy; try again later"
                ) from error


@contextmanager
def on_loopback() -> Iterator[None]:
    """Keeps Ray from turning a loopback address into the machine's outer one, as it does wherever it could cluster."""
    from ray._private import ray_constants

    could_cluster = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = could_cluster
