"""Workers that do units of work, one at a time each: begun in order, tried again, set aside if they keep failing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from kerf.lab.errors import KerfError
from kerf.runs.execution.forked_workers import ForkedCrew, will_fork
from kerf.runs.execution.worker import Crew, Fault, Task, Work, Worker, WorkerError
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.store import Named, Store

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress

MAX_TRIES = 3
"""Times that a unit is begun from the same place: one that fails so often is set aside."""

BACKOFF = 1.0
"""Seconds before the second try; before the third it is four times as many."""

PATIENCE = 60.0
"""Seconds that units may wait for a worker before this is told."""

U = TypeVar("U", bound=Named)


@dataclass(frozen=True)
class Failure:
    """A unit that could not be done.

    Attributes:
        unit: Which.
        why: A sentence.
        traceback: The worker's, or the last that it wrote, in plain text, if there is one.
        disk: Whether it was the disk that did not let the unit be written.
    """

    unit: Named
    why: str
    traceback: str = ""
    disk: bool = False


@dataclass
class _Task(Generic[U]):
    """A unit that is to be done.

    Attributes:
        unit: Which.
        tries: How often it was begun without getting on.
        begun_at: The iteration that the latest try began at; -1 before it was heard of.
        not_before: When it may be tried again, by the monotonic clock.
    """

    unit: U
    tries: int = 0
    begun_at: int = -1
    not_before: float = 0.0


def _paused(tasks: Sequence[_Task[Any]], now: float) -> list[float]:
    """For how many seconds from `now` they must not be tried yet; only those."""
    return [task.not_before - now for task in tasks if task.not_before > now]


@dataclass
class _Busy(Generic[U]):
    """What a worker is doing."""

    task: _Task[U]
    heard: bool = False


class Pool(Generic[U]):
    """Does units as they become ready, on workers: Ray actors if this process is connected to a Ray, else processes
    that are forked (`kerf.runs.execution.worker`). Use as a context manager, which ends them.

    A unit whose worker dies or raises is tried again, on a new worker and from its latest checkpoint, after a pause
    and after the others; one that fails `MAX_TRIES` times without getting on is set aside. A mistake of the user's
    (`KerfError`) is not tried again. A worker that is lost with its node is replaced when there is a CPU for it.

    Args:
        recipe: The study's recipe.
        root: Folder of the study, seen by all workers unless it stands for a place elsewhere.
        num_workers: Units at a time. A Ray must have at least `cpus_needed` CPUs, on any number of nodes.
        work: What is done with a unit.
        tell: Hears, in sentences, what goes wrong and is tried again.
        modules: What `work` imports, so that a worker that is forked has it from the beginning.
    """

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        num_workers: int,
        work: Work[U],
        tell: Callable[[str], None] = lambda sentence: None,
        modules: Sequence[str] = (),
    ) -> None:
        self._root, self._tell, self._num_workers = root.absolute(), tell, num_workers
        self._store = Store(self._root)
        self._crew = _crew(Task(recipe, self._root, self._store.address, work), modules)
        self._idle: list[Worker] = []
        self._busy: dict[Worker, _Busy[U]] = {}
        self._starting = {self._crew.start() for _ in range(num_workers)}
        self._dead_at_birth = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        units: Sequence[U],
        lacks: Callable[[U], Sequence[U]],
        on_progress: Callable[[Progress], None],
        on_done: Callable[[U], Sequence[U]],
    ) -> list[Failure]:
        """Do `units` in their order, each as soon as it is ready and a worker is idle.

        Args:
            units: What to do.
            lacks: What must be finished before a unit can begin and is not; asked again whenever another one is done.
            on_progress: Hears how far the running units are.
            on_done: Hears that a unit is published, and names units that are not to be done after all.

        Returns:
            The units that could not be done, with their reasons. Everything else was done, unless the disk failed one
            of them: after that no further unit was begun.
        """
        waiting, failures = [_Task(unit) for unit in units], list[Failure]()
        changed = True  # `lacks` reads the disk, and progress comes thousands of times
        while waiting or self._busy:
            now = time.monotonic()  # once: what may begin by one reading must not be paused by the next
            begun = changed and bool(self._idle) and self._begin(waiting, lacks, now)
            if changed and self._idle and not begun and not self._busy and not _paused(waiting, now):
                missing = [(task.unit, lacks(task.unit)) for task in waiting]
                if not all(needed for _, needed in missing):
                    continue  # something that was missing a moment ago has come
                # they wait for units that failed
                failures += [Failure(unit, f"it needs {needed[0].name}, which is missing") for unit, needed in missing]
                break
            worker = self._next_event(waiting)
            changed = worker is None
            if worker is None:
                continue
            if worker in self._starting:
                changed = True
                why = self._started(worker)
                if why is not None and not (self._starting or self._busy or self._idle):
                    failures += [Failure(task.unit, f"no worker can be started: {why}") for task in waiting]
                    break
                continue
            busy = self._busy[worker]
            try:
                progress = worker.hear()
                if progress is not None:
                    self._heard(busy, progress)
                    on_progress(progress)
                    continue
                done, failure = True, None
                del self._busy[worker]
                self._idle.append(worker)
            except WorkerError as error:
                del self._busy[worker]
                done, failure = self._failed(worker, busy.task, error, waiting)
            changed = True
            if done:
                failure = self._fetched(busy.task.unit)
                done = failure is None
            if done:
                dropped = on_done(busy.task.unit)
                waiting = [task for task in waiting if task.unit not in dropped]
            elif failure is not None:
                failures.append(failure)
                if failure.disk:
                    waiting = []  # each would train to its end, only to find the disk as it is now
        return failures

    def close(self) -> None:
        """End the workers, and let go of their CPUs."""
        for worker in (*self._idle, *self._starting, *self._busy):
            worker.end()
        self._idle, self._starting, self._busy = [], set(), {}

    def _begin(self, waiting: list[_Task[U]], lacks: Callable[[U], Sequence[U]], now: float) -> bool:
        """Give idle workers what is ready by `now`, and take it from `waiting`; whether there was anything."""
        ready = (task for task in waiting if task.not_before <= now and not lacks(task.unit))
        several = (
            self._num_workers > 1 and not self._busy
        )  # one more than there are idle workers tells whether it is alone
        found = list(islice(ready, max(len(self._idle), 2 if several else 1)))
        alone = len(found) == 1 and not self._busy
        for task in found[: len(self._idle)]:
            waiting.remove(task)
            task.tries += 1
            worker = self._idle.pop()
            worker.begin(task.unit, alone)
            self._busy[worker] = _Busy(task)
        return bool(found)

    def _next_event(self, waiting: Sequence[_Task[U]]) -> Worker | None:
        """A busy or starting worker that has something to say; None if it is time to look what is ready."""
        pauses = _paused(waiting, time.monotonic())
        heard = [*self._busy, *self._starting]
        if not heard:
            time.sleep(min(pauses, default=0.0))  # none: its time has just come
            return None
        if not self._busy and not self._idle:
            pauses.append(PATIENCE)
        worker = self._crew.wait(heard, min(pauses, default=None))
        if worker is None and not self._busy and not self._idle and not pauses[:-1]:
            self._tell(f"no worker has started for {PATIENCE:.0f} s; {self._crew.why_late}")
        return worker

    def _heard(self, busy: _Busy[U], progress: Progress) -> None:
        """A try that begins further on than the one before it starts the count anew."""
        if not busy.heard:
            busy.heard = True
            if -1 < busy.task.begun_at < progress.iteration:
                busy.task.tries = 1
            busy.task.begun_at = max(busy.task.begun_at, progress.iteration)

    def _failed(
        self, worker: Worker, task: _Task[U], error: WorkerError, waiting: list[_Task[U]]
    ) -> tuple[bool, Failure | None]:
        """What comes of a unit whose worker raised or died: it was done all the same, is tried again, or failed."""
        refused, disk = error.fault in (Fault.REFUSED, Fault.DISK), error.fault is Fault.DISK
        why = f"its worker died: {error.why}" if error.fault is Fault.DIED else error.why
        if refused:
            self._idle.append(worker)
        else:
            worker.end()  # whatever made it fail may be in that process
            self._starting.add(self._crew.start())
        if not disk and self._published(task.unit):
            return True, None  # it died right after that, or a worker that was taken for dead did it
        if not refused and task.tries < MAX_TRIES:
            pause = BACKOFF * 4.0 ** (task.tries - 1)
            task.not_before = time.monotonic() + pause
            waiting.append(task)  # after the others
            self._tell(f"{task.unit.name}: {why}; try {task.tries + 1} of {MAX_TRIES} in {pause:g} s")
            return False, None
        if not refused:
            why = f"set aside after {task.tries} tries: {why}"
        return False, Failure(task.unit, why, error.details, disk)

    def _fetched(self, unit: U) -> Failure | None:
        """Fetch a unit that a worker on another machine may have done; what keeps us from it, if something does."""
        if self._store.address is None:
            return None
        try:
            self._store.fetch([unit])
            if not self._store.finished(unit):
                return Failure(unit, f"its worker has done it, and it is not at {self._store.address}", disk=True)
        except KerfError as error:
            return Failure(unit, str(error), disk=isinstance(error, DiskError))
        return None

    def _published(self, unit: U) -> bool:
        try:
            self._store.fetch([unit])
            return self._store.finished(unit)
        except KerfError:  # something is in its place
            return False

    def _started(self, worker: Worker) -> str | None:
        """A worker that was asked for lives, or could not be started: then another one is asked for, unless that
        happened too often in a row. Why it could not, if so."""
        self._starting.remove(worker)
        try:
            worker.hear()
        except WorkerError as error:
            worker.end()
            self._dead_at_birth += 1
            if self._dead_at_birth < MAX_TRIES * self._num_workers:
                self._starting.add(self._crew.start())
            return error.why
        self._dead_at_birth = 0
        self._idle.append(worker)
        return None


def _crew(task: Task, modules: Sequence[str]) -> Crew[Any]:
    if will_fork():
        return ForkedCrew(task, modules)
    from kerf.runs.execution.ray_workers import RayCrew

    return RayCrew(task)
