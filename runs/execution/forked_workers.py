"""Local workers, forked from a fork server that has imported what they need (`kerf.runs.execution.fork_server`).

This process has one fork server for all its studies. A worker starts within milliseconds and ends when this process
ends, in whatever way.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from multiprocessing.connection import Pipe, wait
from typing import IO, TYPE_CHECKING

from kerf.lab.errors import KerfError
from kerf.runs.execution.fork_server import Ready, Start
from kerf.runs.execution.worker import Fault, Task, WorkerError
from kerf.runs.records.provenance import this_code

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.records.store import Named

CAN_FORK = sys.platform == "linux"
"""Whether workers can be forked: on other systems some numerical libraries do not survive a fork."""

COMMON = ("torch", "numba", "kerf.runs.execution.unit", "scipy.special", "pandas", "pyarrow.parquet")
"""Modules that the workers of every study import."""

GONE = -int(signal.SIGKILL)
"""Exit code assumed for a worker whose fork server has ended, so that the real one is unknown."""

SHOWN = 4_000
"""Number of characters kept of the last output of a dead process."""

_SERVER_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from kerf.runs.execution.fork_server import serve; "
    "serve(int(sys.argv[1]))"
)


class _ForkServer:
    """The fork server process, as seen by its driver. It starts when this object is made."""

    def __init__(self) -> None:
        self._output = _output_file()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER_PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
            )
        self._loaded = set[str]()
        self._ending: str | None = None

    @property
    def lives(self) -> bool:
        """Whether it is not known to have ended."""
        return self._process.poll() is None

    def load(self, modules: Sequence[str]) -> None:
        """Make it import the modules that it has not imported yet; does not wait."""
        missing = [module for module in modules if module not in self._loaded]
        if missing:
            self._ask("load", *missing)
            self._loaded |= set(missing)

    def fork(self, connected: int, output: int) -> None:
        """Make it fork a worker that gets these descriptors; does not wait."""
        self._ask("fork", descriptors=(connected, output))

    def reap(self, pid: int) -> int:
        """Return the exit code of a worker that is ending; negative: the signal that killed it."""
        answer = self._answer("reap", pid)
        return GONE if answer is None else answer

    def answers(self) -> bool:
        """Wait until it has handled all earlier requests; False if it has ended or is about to."""
        return self._answer("answer") is not None

    def end(self) -> None:
        """End it. Its workers go on until they are ended."""
        self._process.kill()
        self.ending()
        self._control.close()
        self._output.close()

    def _answer(self, *request: str | int) -> int | None:
        self._ask(*request)
        try:
            answer = self._control.recv(64)
        except ConnectionResetError:
            return None
        return int(json.loads(answer)) if answer else None

    def _ask(self, *request: str | int, descriptors: Sequence[int] = ()) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended; its workers report that
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)

    def ending(self) -> str:
        """Return in words how it ended; call this only after it has."""
        if self._ending is None:
            self._ending = f"{_exit_text(self._process.wait())}; {_last_line(self._output)}"
        return f"the process that workers are forked from has ended: {self._ending}"


_server: _ForkServer | None = None


def will_fork() -> bool:
    """Whether workers are forked rather than run on Ray: forking works and this process is not connected to Ray."""
    ray = sys.modules.get("ray")  # avoids importing it
    return CAN_FORK and not (ray is not None and ray.is_initialized())


def get_ready(modules: Sequence[str] = ()) -> None:
    """Start the fork server if needed and make it import `COMMON` and `modules`; does not wait."""
    _fork_server().load((*COMMON, *modules))


def _fork_server() -> _ForkServer:
    global _server
    if _server is None or not _server.lives:
        stop()
        _server = _ForkServer()
    return _server


@atexit.register
def stop() -> None:
    """End the fork server, if it runs."""
    global _server
    if _server is not None:
        _server.end()
        _server = None


class ForkedWorker:
    """A forked worker, as its driver sees it."""

    def __init__(self, server: _ForkServer, task: Task) -> None:
        self._server = server
        self._output = _output_file()
        self.connection, theirs = Pipe()
        with theirs:
            server.fork(theirs.fileno(), self._output.fileno())
        self._pid: int | None = None
        self._send(Start(this_code(), pickle.dumps(task), _environment(), os.getcwd(), list(sys.path)))

    def begin(self, unit: Named, alone: bool) -> None:
        self._send((unit, alone))

    def receive(self) -> Progress | None:
        try:
            message: Progress | Ready | WorkerError = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._died() from None
        if isinstance(message, WorkerError):
            raise message
        if isinstance(message, Ready):
            self._pid = message.pid
            return None
        return message

    def stop(self) -> int | None:
        if self._pid is None:
            return None
        os.kill(self._pid, signal.SIGTERM)
        return os.pidfd_open(self._pid)

    def end(self) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)  # the pid is still valid: only this object has it reaped
            self._server.reap(self._pid)
            self._pid = None
        self.connection.close()
        self._output.close()

    def _send(self, what: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died; `receive` reports that
            self.connection.send(what)

    def _died(self) -> WorkerError:
        if self._pid is None:
            why = "its process ended as it started" if self._server.answers() else self._server.ending()
        else:
            why = f"its process ended: {_exit_text(self._server.reap(self._pid))}"
            self._pid = None
        return WorkerError(Fault.DIED, why, _last_output(self._output))


class ForkedCrew:
    """Source of workers that are forked processes on this machine.

    Args:
        task: Task of the workers.
        modules: Modules to import before they are forked.
    """

    why_late = "this machine may be too busy"

    def __init__(self, task: Task, modules: Sequence[str]) -> None:
        self._task, self._modules = task, modules

    def start(self) -> ForkedWorker:
        """Fork a worker as soon as its modules are imported."""
        get_ready(self._modules)
        return ForkedWorker(_fork_server(), self._task)

    def wait(self, workers: Collection[ForkedWorker], timeout: float | None) -> ForkedWorker | None:
        """See `kerf.runs.execution.worker.Crew.wait`."""
        by_connection = {worker.connection: worker for worker in workers}
        for connection in wait(list(by_connection), timeout):
            return by_connection[connection]  # type: ignore[index]
        return None


def _output_file() -> IO[bytes]:
    """Create an unnamed temporary file for the output of a process; the caller closes it.

    Raises:
        KerfError: if no temporary folder is writable.
    """
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise KerfError(
            f"no temporary file can be made ({error.strerror}): set TMPDIR to a folder that can be written and has room"
        ) from error


def _environment() -> dict[str, str]:
    """Return this process's environment for workers: one thread each, as on Ray, and no automatic start of Ray."""
    return {"OMP_NUM_THREADS": "1", **os.environ, "RAY_ENABLE_AUTO_CONNECT": "0"}


def _exit_text(code: int) -> str:
    """Describe an exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, as where memory runs out" if name == "SIGKILL" else name


def _last_line(output: IO[bytes]) -> str:
    """Return the last line of the output."""
    return next(iter(_last_output(output).strip().splitlines()[-1:]), "without a word")


def _last_output(output: IO[bytes]) -> str:
    """Return the last `SHOWN` characters of the output."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - SHOWN))
    return output.read().decode(errors="replace")
