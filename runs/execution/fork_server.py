"""Fork server: a process that imports what workers need once and forks them.

It has a single thread, which waits for requests on a socket from its driver (`kerf.runs.execution.forked_workers`).
Each request is one packet, a JSON list:

    ["load", module, ...]    import these modules; if that fails, this process ends
    ["fork"]                 fork a worker with the two descriptors sent along: the connection to its driver, and a file
                             for its stdout and stderr
    ["reap", pid]            answer with the exit code of that worker, which is ending (negative: the signal)
    ["answer"]               answer with 0

A worker receives a `Start` and then units over its connection, and sends its messages there. It ends with its driver.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kerf.runs.execution import stop_request
from kerf.runs.execution.worker import UnitDoer, WorkerError
from kerf.runs.records.provenance import digest, refuse_other_code

WORKER = "kerf-worker"
"""Process name of workers in `ps` and `top`."""

PACKET = 65_536
"""Maximum size of a request, in bytes."""

PATIENCE = 2.0
"""Seconds after which a worker that is ending is killed."""


@dataclass(frozen=True)
class Start:
    """The first message to a worker.

    Attributes:
        code: The code of its driver, see `kerf.runs.records.provenance.this_code`.
        task: Its `Task`, pickled: `path` must be set before its modules can be imported.
        environment: Present environment variables of its driver.
        folder: Working folder of its driver.
        path: Its driver's `sys.path`.
    """

    code: Mapping[str, str]
    task: bytes
    environment: Mapping[str, str]
    folder: str
    path: Sequence[str]


@dataclass(frozen=True)
class Ready:
    """Message of a worker that is ready for a unit: it has started, or its unit is published.

    Attributes:
        pid: Its process id.
    """

    pid: int


def serve(descriptor: int) -> None:
    """Serve requests from the driver at the other end of this socket until it closes the socket."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the driver handles them and ends the workers
        signal.signal(number, signal.SIG_IGN)
    digest()  # of what is imported now: the files may change while the workers are at work
    gc.disable()  # imports make little garbage, and memory that the collector does not touch stays shared with workers
    with socket.socket(fileno=descriptor) as control:
        while True:
            packet, descriptors, _, _ = socket.recv_fds(control, PACKET, 2)
            if not packet:
                return
            what, *arguments = json.loads(packet)
            if what == "load":
                for module in arguments:
                    importlib.import_module(module)
            elif what == "fork":
                gc.freeze()
                if os.fork() == 0:
                    gc.enable()
                    control.close()
                    _work(*descriptors)
                for each in descriptors:
                    os.close(each)
            else:
                control.send(json.dumps(_reaped(*arguments) if what == "reap" else 0).encode())


def _reaped(pid: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


def _work(connected: int, output: int) -> None:
    """Run as a worker; does not return."""
    code = 1
    try:
        for standard in (1, 2):
            os.dup2(output, standard)
        os.close(output)
        Path("/proc/self/comm").write_text(WORKER)
        stop_request.listen()
        threading.Thread(target=_end_with, args=(connected,), daemon=True).start()
        with Connection(connected) as connection:
            _do_units(connection)
        code = 0
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the driver has ended or closed the connection
        code = 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _do_units(connection: Connection[Any, Any]) -> None:
    start: Start = connection.recv()
    os.environ.clear()
    os.environ.update(start.environment)
    os.chdir(start.folder)
    sys.path[:] = start.path
    try:
        refuse_other_code(start.code)
        doer = UnitDoer(pickle.loads(start.task))
    except Exception as error:
        connection.send(WorkerError.of(error))
        return
    connection.send(Ready(os.getpid()))
    while True:
        unit, alone = connection.recv()
        try:
            doing = doer.run(unit, alone)
            for progress in doing:
                connection.send(progress)
                if stop_request.kept():
                    doing.close()
                    os._exit(stop_request.STOPPED)
            message: Ready | WorkerError = Ready(os.getpid())
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            message = WorkerError.of(error)
        connection.send(message)


def _end_with(connected: int) -> None:
    """End this process at once when the driver's end of the connection is closed."""
    gone = select.poll()
    gone.register(connected, 0)  # no events except the closing of the other end
    gone.poll()
    os._exit(1)
