"""Backends: their common protocol, and the list of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, cast

from kerf.lab.errors import unknown_name
from kerf.runs.submit.job import Job
from kerf.runs.submit.work import Work

Word = Literal["waiting", "running", "done", "failed", "stopped", "lost", "unreachable"]

BACKENDS = {
    "local": "kerf.runs.submit.local:Local",
    "ray": "kerf.runs.submit.ray_jobs:RayJobs",
    "kuberay": "kerf.runs.submit.kuberay:KubeRay",
    "slurm": "kerf.runs.submit.slurm:Slurm",
}

STOPPED = 75
"""Exit code of `kerf unit`: it was told to stop and should be started again (EX_TEMPFAIL)."""

ENDED: tuple[Word, ...] = ("done", "failed", "stopped", "lost")


@dataclass(frozen=True)
class State:
    """State of a job.

    Attributes:
        word: The state in one word. `lost`: it ended without an exit code; `unreachable`: its backend does not answer.
        detail: A few words more, or empty.
    """

    word: Word
    detail: str = ""

    @property
    def ended(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self.word in ENDED


Texts = Mapping[str, str]
"""Files to send, verbatim: file name to content."""


class Backend(Protocol):
    """Runner of jobs on some machine. Stateless: everything it knows is in the job's record."""

    def texts(self, job: Job, work: Work) -> Texts:
        """Files that the next attempt would send. Starts and writes nothing; raises `KerfError` if it cannot be
        sent."""
        ...

    def send(self, job: Job, work: Work) -> Mapping[str, str]:
        """Send the files in `job.next`; returns the handle that identifies the attempt."""
        ...

    def state(self, job: Job) -> State:
        """State of the last attempt."""
        ...

    def logs(self, job: Job, follow: bool) -> Iterator[str]:
        """Output of the last attempt, in pieces as they arrive; `follow` continues until it has ended."""
        ...

    def stop(self, job: Job) -> None:
        """Stop the last attempt with all its processes; returns when it has ended."""
        ...


def backend(name: str) -> Backend:
    """The backend of this name; raises `KerfError` if there is none."""
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    module, _, attribute = BACKENDS[name].partition(":")
    return cast("Backend", getattr(import_module(module), attribute)())


def exit_state(code: int) -> State:
    """The state that an exit code of `kerf run` stands for."""
    reasons = {1: "something failed", 2: "invalid input", 3: "an agent was not aligned"}
    if code == 0:
        return State("done")
    return State("failed", f"exit code {code}" + (f": {reasons[code]}" if code in reasons else ""))
