"""`Queue`: jobs on this machine, one after the other, in the order of a lock. Needs `flock` (util-linux)."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.submit.backend import State, Texts
from kerf.runs.submit.job import Job
from kerf.runs.submit.local import EXIT, SCRIPT, Local, kerf_words
from kerf.runs.submit.work import Work

BEGUN = "begun"
"""File that is made when the job has the machine to itself."""


def lock_of(job: Job) -> Path:
    """The lock that all jobs of one folder wait for."""
    return job.folder.parent / "queue.lock"


class Queue(Local):
    """A `kerf.runs.submit.backend.Backend`. Starting, reading and ending processes are those of the backend `local`."""

    def texts(self, job: Job, work: Work) -> Texts:
        """What the next attempt would send.

        Raises:
            KerfError: if this machine has no `flock`.
        """
        if shutil.which("flock") is None:
            raise KerfError("--to queue needs flock, which is not on the PATH: install util-linux, or use --to local")
        command = shlex.join([*kerf_words(job.options.get("python")), *work.asked.words()])
        alone = f"touch {shlex.quote(str(job.next / BEGUN))}; {command}"
        lines = (
            "#!/bin/sh",
            f"# {job.id}",
            f"cd {shlex.quote(job.cwd)} || exit",
            shlex.join(["flock", str(lock_of(job)), "sh", "-c", alone]),
            f"echo $? > {shlex.quote(str(job.next / EXIT))}",
        )
        return {SCRIPT: "\n".join(lines) + "\n"}

    def send(self, job: Job, work: Work) -> Mapping[str, str]:
        """Start a process that waits for its turn; returns the handle that finds it again."""
        return super().send(job, work)

    def state(self, job: Job) -> State:
        """How the last attempt stands: `waiting` until its turn comes."""
        state = super().state(job)
        if state.word == "running" and not (job.sent / BEGUN).exists():
            return State("waiting", "for the jobs before it")
        return state
