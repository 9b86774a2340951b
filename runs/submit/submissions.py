"""Submissions: submitting, finding, stopping and resuming jobs, independently of the backend."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.paths import is_address
from kerf.runs.records.store import Store, open_records
from kerf.runs.submit.backend import State, Word, backend
from kerf.runs.submit.job import Attempt, Job, Jobs
from kerf.runs.submit.work import Asked, Work, forwarded_tracking, work_of

FORWARDED = ("ray", "kuberay")
"""Backends whose jobs do not inherit this environment."""


class Submissions:
    """The jobs of one folder.

    Args:
        jobs: The folder; None: `$KERF_JOBS`, or `out/jobs`.
    """

    def __init__(self, jobs: Jobs | None = None) -> None:
        self.jobs = jobs or Jobs()

    def prepare(self, asked: Asked, to: str, options: Mapping[str, Any]) -> tuple[Job, Work]:
        """Build the job for a request, and its work. Writes nothing.

        Raises:
            KerfError: if the request is invalid.
        """
        if to in FORWARDED:
            asked = replace(asked, mlflow=forwarded_tracking(asked.mlflow))
        cwd = Path.cwd()
        work = work_of(asked, cwd)
        if asked.out is None and len(work.studies) == 1:
            asked = replace(asked, out=str(next(iter(work.studies))))
        job_id = replace(work, asked=asked).job_id(to)
        folder = self.jobs.folder(job_id)
        if work.content is not None:  # the job runs the submitted version, even if the file changes
            asked = replace(asked, what=str(folder / "files" / work.file_name))
        job = Job(job_id, to, _plain(asked), dict(options), str(cwd), folder=folder)
        return job, replace(work, asked=asked)

    def submit(self, job: Job, work: Work) -> Job:
        """Send a job made by `prepare`; returns it with its first attempt.

        Raises:
            KerfError: if there is such a job already, or it cannot be sent.
        """
        if job.id in self.jobs:
            state = self.state(self.jobs.read(job.id))
            hint = "nothing is left to do" if state.word == "done" else f"kerf logs -f {job.id} shows its output"
            if state.ended and state.word != "done":
                hint = f"kerf resume {job.id} continues it"
            raise KerfError(f"{job.id} was submitted already and is {state.word}: {hint}")
        return self._send(job, work)

    def resume(self, job_id: str) -> Job:
        """Send an ended job again.

        Raises:
            KerfError: if it is unknown, has not ended, or is done.
        """
        job = self.jobs.read(job_id)
        state = self.state(job)
        if state.word == "unreachable":
            raise KerfError(f"{job_id} cannot be resumed, because it may still be running: {state.detail}")
        if not state.ended:
            raise KerfError(f"{job_id} is {state.word}: stop it first")
        if state.word == "done":
            raise KerfError(f"{job_id} is done: nothing is left to do")
        return self._send(job, work_of(_asked(job), Path(job.cwd)))

    def stop(self, job_id: str) -> State:
        """Stop a job and all its processes; returns its state before.

        Raises:
            KerfError: if it is unknown, or cannot be reached.
        """
        job = self.jobs.read(job_id)
        state = self.state(job)
        if state.word == "unreachable":
            raise KerfError(f"{job_id} cannot be stopped: {state.detail}")
        if not state.ended:
            job = replace(job, stopped=time.time())
            self.jobs.write(job)
            backend(job.to).stop(job)
            self.state(job)  # records the end
        return state

    def state(self, job: Job) -> State:
        """State of a job; `unreachable` if its backend does not answer. An end is recorded, because it is final."""
        *before, last = job.attempts
        if last.end is not None:
            word, detail = last.end
            return State(cast("Word", word), detail)
        try:
            state = backend(job.to).state(job)
        except KerfError as error:
            return State("unreachable", str(error))
        if state.ended:
            self.jobs.write(replace(job, attempts=(*before, replace(last, end=(state.word, state.detail)))))
        return state

    def places(self, job: Job) -> list[str]:
        """Folders of its studies, or the addresses at which they are kept."""
        return list(work_of(_asked(job), Path(job.cwd)).places(Path(job.cwd)).values())

    def progress(self, job: Job) -> Iterator[str]:
        """Progress of each study in a line, as far as its folder is visible from here."""
        work, cwd = work_of(_asked(job), Path(job.cwd)), Path(job.cwd)
        for folder, place in work.places(cwd).items():
            recipe = work.studies[folder]
            total = len(recipe.seed_numbers) * (1 + len(recipe.arms))
            try:
                _link(folder, place)
                store = open_records(folder)
            except KerfError as error:
                yield f"{place}: {error}"
                continue
            if not (folder / "study.json").exists():
                yield f"{place}: not started, or not visible from here"
                continue
            report = ", report written" if (folder / "table.txt").exists() else ""
            yield f"{place}: {len(store.units())} of {total} units{report}"

    def _send(self, job: Job, work: Work) -> Job:
        there = backend(job.to)
        for folder, place in work.places(Path(job.cwd)).items():
            _link(folder, place)
        texts = there.texts(job, work)
        with disk.as_disk_error(job.folder):
            if work.content is not None:
                (job.folder / "files").mkdir(parents=True, exist_ok=True)
                disk.write(job.folder / "files" / work.file_name, work.content.encode())
            job.next.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                disk.write(job.next / name, text.encode())
        handle = there.send(job, work)
        job = replace(job, attempts=(*job.attempts, Attempt(time.time(), handle)))
        self.jobs.write(job)
        return job


def _link(folder: Path, place: str) -> None:
    """Create a local folder that points to a study's address, if the study is kept elsewhere."""
    Store.kept_at(folder, place if is_address(place) else None)


def _plain(asked: Asked) -> dict[str, Any]:
    return {**asdict(asked), "sets": list(asked.sets)}


def _asked(job: Job) -> Asked:
    return Asked(**{**job.asked, "sets": tuple(job.asked["sets"])})
