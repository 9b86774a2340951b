"""Finding and ending exactly the processes that a job or a cluster of ours started, however they were reparented."""

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
"""The same of a local cluster; what a job does on that cluster carries both."""

GRACE = 5.0
"""Seconds between the request to end and the kill."""

PATIENCE = 30.0
"""Seconds after which a process that outlives its kill is told of."""


def marked(variable: str, mark: str) -> list[psutil.Process]:
    """All processes whose environment variable is `mark`, and their descendants; without this one."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == mark:
                for one in (process, *process.children(recursive=True)):
                    found[one.pid] = one
        except psutil.Error:
            continue  # ended meanwhile, or another user's
    found.pop(os.getpid(), None)
    return [process for process in found.values() if _alive(process)]


def end_marked(variable: str, mark: str, grace: float = GRACE) -> int:
    """Ask all those processes to end, kill those that have not after `grace` seconds, and wait.

    Returns:
        How many there were at first.

    Raises:
        KerfError: if some outlive even that.
    """
    first = marked(variable, mark)
    _signal(first, signal.SIGTERM)
    psutil.wait_procs(first, grace)
    deadline = time.monotonic() + PATIENCE
    while left := marked(variable, mark):  # again and again: a dying parent may have started another one
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
            continue  # ended meanwhile


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
