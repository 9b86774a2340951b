"""Process control: find and end exactly the processes that a job or local cluster started, even if reparented."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

import psutil

from kerf.lab.errors import KerfError

JOB_MARK = "KERF_JOB"
"""Environment variable that every process of a job inherits; its value is the job's folder."""

CLUSTER_MARK = "KERF_CLUSTER"
"""The same for a local cluster; processes of a job on that cluster have both variables."""

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

PATIENCE = 30.0
"""Seconds after which a process that survives SIGKILL is reported."""


def marked(variable: str, mark: str) -> list[psutil.Process]:
    """Return all processes whose environment variable `variable` is `mark`, and their descendants, except this one."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == mark:
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one
        except psutil.Error:
            continue  # it has ended, or belongs to another user
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _alive(process)]


def end_marked(variable: str, mark: str, grace: float = GRACE) -> int:
    """Send SIGTERM to all `marked` processes, SIGKILL after `grace` seconds, and wait until they have ended.

    Returns:
        The number of processes at the start.

    Raises:
        KerfError: if some survive SIGKILL.
    """
    first = marked(variable, mark)
    _signal(first, signal.SIGTERM)
    psutil.wait_procs(first, grace)
    deadline = time.monotonic() + PATIENCE
    while left := marked(variable, mark):  # repeated: an ending process may have started another one
        if time.monotonic() > deadline:
            raise KerfError(f"these processes outlive a kill: {', '.join(str(process.pid) for process in left)}")
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, 1.0)
    return len(first)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue  # it has ended


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
