"""Records of submitted jobs: a folder per job, with everything needed to find the job again and no secrets.

    <jobs>/<id>/job.json       the request, the backend, the times, and the handles of the attempts
    <jobs>/<id>/files/         the recipe as it was when it was submitted, if it came from a file
    <jobs>/<id>/sent-<n>/      the files sent by the n-th attempt, verbatim
    <jobs>/<id>/log            the job's output, where the backend does not keep it itself

The state of a job is queried from its backend each time; only its end is recorded, once it has been seen.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError, unknown_name
from kerf.runs.records import atomic_io as disk

JOBS = "KERF_JOBS"
"""Environment variable for the folder of all jobs."""

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Attempt:
    """One attempt to run a job.

    Attributes:
        at: Time of submission, in seconds since the epoch.
        handle: What the backend needs to find it again, in plain text; never a secret.
        end: State and detail at its end, or None if the end has not been seen yet.
    """

    at: float
    handle: Mapping[str, str]
    end: tuple[str, str] | None = None


@dataclass(frozen=True)
class Job:
    """Record of a job.

    Attributes:
        id: Its name, a DNS label: lower case, digits and hyphens.
        to: The backend.
        asked: The request: arguments of `kerf submit`, as `kerf.runs.submit.work.Asked` has them.
        options: The backend's own settings.
        cwd: Folder of the submission, and working folder where the job runs on this disk.
        attempts: All attempts, oldest first.
        stopped: Time of its last `kerf stop`, or None.
    """

    id: str
    to: str
    asked: Mapping[str, Any]
    options: Mapping[str, Any]
    cwd: str
    attempts: tuple[Attempt, ...] = ()
    stopped: float | None = None
    folder: Path = field(default=Path(), compare=False)

    @property
    def handle(self) -> Mapping[str, str]:
        """Handle of the last attempt."""
        return self.attempts[-1].handle

    @property
    def sent(self) -> Path:
        """Folder of the files that the last attempt sent, or that the first one will send."""
        return self.folder / f"sent-{max(len(self.attempts), 1)}"

    @property
    def next(self) -> Path:
        """Folder of the files that the next attempt will send."""
        return self.folder / f"sent-{len(self.attempts) + 1}"

    @property
    def was_stopped(self) -> bool:
        """Whether the last attempt was stopped by `kerf stop`."""
        return self.stopped is not None and self.stopped >= self.attempts[-1].at


class Jobs:
    """The folder of all jobs.

    Args:
        root: The folder; None: `$KERF_JOBS`, or `out/jobs`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or Path(os.environ.get(JOBS) or Path("out") / "jobs")).absolute()

    def folder(self, job_id: str) -> Path:
        """Folder of the job with this id."""
        return self.root / job_id

    def __contains__(self, job_id: str) -> bool:
        return (self.folder(job_id) / "job.json").is_file()

    def ids(self) -> list[str]:
        """The ids of all jobs, sorted."""
        return sorted(path.parent.name for path in self.root.glob("*/job.json"))

    def read(self, job_id: str) -> Job:
        """Read the job with this id.

        Raises:
            KerfError: if there is no such job, or its record is damaged.
        """
        if not _ID.fullmatch(job_id) or job_id not in self:
            known = self.ids()
            if not known:
                raise KerfError(f"unknown job {job_id!r}: {self.root} holds no jobs (${JOBS} names another folder)")
            raise unknown_name("job", job_id, known)
        path = self.folder(job_id) / "job.json"
        try:
            plain = json.loads(path.read_bytes())
            plain["attempts"] = tuple(Attempt(**attempt) for attempt in plain["attempts"])
            return Job(**plain, folder=path.parent)
        except (ValueError, KeyError, TypeError) as error:
            raise KerfError(f"{path} is damaged ({error}): move its folder away and submit the job again") from error

    def write(self, job: Job) -> None:
        """Write the record of a job."""
        plain = {key: value for key, value in asdict(replace(job, folder=Path())).items() if key != "folder"}
        folder = self.folder(job.id)
        with disk.as_disk_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            disk.write(folder / "job.json", (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode())
