"""Local backend: a process on this machine that outlives the terminal it was submitted from."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping

from kerf.runs.execution.processes import JOB_MARK, end_marked, marked
from kerf.runs.records import atomic_io as disk
from kerf.runs.submit.backend import State, Texts, exit_state
from kerf.runs.submit.job import Job
from kerf.runs.submit.logs import tail
from kerf.runs.submit.work import Work

SCRIPT = "command.sh"
EXIT = "exit"
"""File with the exit code, written when the command ends by itself."""


def kerf_words(python: str | None = None) -> list[str]:
    """Command that runs `kerf` on this machine. `-P` keeps modules in the user's working folder from shadowing our
    packages."""
    return [python or sys.executable, "-P", "-m", "kerf.runs"]


class Local:
    """Jobs on this machine."""

    def texts(self, job: Job, work: Work) -> Texts:
        command = shlex.join([*kerf_words(job.options.get("python")), *work.asked.words()])
        return {
            SCRIPT: f"#!/bin/sh\n# {job.id}\ncd {shlex.quote(job.cwd)} || exit\n{command}\n"
            f"echo $? > {shlex.quote(str(job.next / EXIT))}\n"
        }

    def send(self, job: Job, work: Work) -> Mapping[str, str]:
        del work
        with disk.as_disk_error(job.folder), (job.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", str(job.next / SCRIPT)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, JOB_MARK: str(job.folder), "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            (job.next / "pid").write_text(f"{process.pid}\n")
        return {"pid": str(process.pid), "log": str(job.folder / "log")}

    def state(self, job: Job) -> State:
        exited = job.sent / EXIT
        if exited.is_file() and (code := exited.read_text().strip()):
            return exit_state(int(code))
        if marked(JOB_MARK, str(job.folder)):
            return State("running", f"process {job.handle['pid']}")
        if exited.is_file() and (code := exited.read_text().strip()):  # it ended between the two checks
            return exit_state(int(code))
        return State("stopped") if job.was_stopped else State("lost", "its process ended without an exit code")

    def logs(self, job: Job, follow: bool) -> Iterator[str]:
        return tail(job.folder / "log", lambda: self.state(job).ended, follow)

    def stop(self, job: Job) -> None:
        end_marked(JOB_MARK, str(job.folder))
