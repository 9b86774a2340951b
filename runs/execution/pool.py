"""Workers that do units of work, one at a time each, as `kerf.runs.execution.schedule` decides."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from kerf.lab.errors import Interrupted, KerfError
from kerf.runs.execution.forked_workers import ForkedCrew, will_fork
from kerf.runs.execution.schedule import MAX_TRIES, Failure, Schedule, next_step
from kerf.runs.execution.worker import Crew, Fault, Task, Work, Worker, WorkerError
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.store import Named, Store

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress

GRACE = 10.0
"""Seconds that units have for a checkpoint when the command is told to end. Batch systems leave it half a minute."""

PATIENCE = 60.0
"""Seconds that units may wait for a worker before this is told."""

U = TypeVar("U", bound=Named)


class Runner(Protocol[U]):
    """Does units of work as they become ready."""

    def run(
        self,
        units: Sequence[U],
        needs: Callable[[U], Sequence[U]],
        on_progress: Callable[[Progress], None],
        on_done: Callable[[U], Sequence[U]],
    ) -> list[Failure]:
        """Do `units` in their order, each as soon as what it needs is finished and a worker is idle.

        Args:
            units: What to do.
            needs: What must be finished before a unit can begin: asked once of each. What is not among `units` must
                be in the store.
            on_progress: Hears how far the running units are.
            on_done: Hears that a unit is published, and names units that are not to be done after all.

        Returns:
            The units that could not be done, with their reasons. Everything else was done, unless the disk failed one
            of them: after that no further unit was begun.
        """


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
        crew: Where workers come from; None: as above.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        num_workers: int,
        work: Work[U],
        tell: Callable[[str], None] = lambda sentence: None,
        modules: Sequence[str] = (),
        *,
        crew: Crew[Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._tell, self._num_workers, self._clock = root.absolute(), tell, num_workers, clock
        self._store = Store(self._root)
        self._crew = crew or _crew(Task(recipe, self._root, self._store.address, work), modules)
        self._idle: list[Worker] = []
        self._busy: dict[Worker, U] = {}
        self._starting = {self._crew.start() for _ in range(num_workers)}
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Interrupted):
            self._stop()
        self.close()

    def run(
        self,
        units: Sequence[U],
        needs: Callable[[U], Sequence[U]],
        on_progress: Callable[[Progress], None],
        on_done: Callable[[U], Sequence[U]],
    ) -> list[Failure]:
        """As `Runner.run`."""
        schedule = Schedule(units, needs)
        wake: float | None = None
        changed = True  # since the latest decision: progress comes thousands of times, and changes nothing
        while True:
            if changed:
                over, wake = self.act(schedule)
                if over:
                    return schedule.failures
            worker = self._next_event(wake)
            changed = worker is None or self.hear(worker, schedule, on_progress, on_done)

    def close(self) -> None:
        """End the workers, and let go of their CPUs."""
        for worker in (*self._idle, *self._starting, *self._busy):
            worker.end()
        self._idle, self._starting, self._busy = [], set(), {}

    def _stop(self) -> None:
        """Let units that keep checkpoints leave one. What workers say meanwhile is not read: the signal may have come
        in the middle of it."""
        ending = [descriptor for worker in self._busy if (descriptor := worker.stop()) is not None]
        deadline, left = time.monotonic() + GRACE, set(ending)
        while left and (seconds := deadline - time.monotonic()) > 0:
            left -= set(wait(left, seconds))
        for descriptor in ending:
            os.close(descriptor)

    def act(self, schedule: Schedule[U]) -> tuple[bool, float | None]:
        """Give idle workers what is to be begun now; whether nothing is left to do, and when to act again at the
        latest."""
        for unit in schedule.elsewhere():
            if self._on_disk(unit):
                schedule.found(unit)
        step = next_step(schedule.snapshot(self._clock(), len(self._idle), self._num_workers))
        for unit in step.begin:
            worker = self._idle.pop()
            schedule.begin(unit)
            self._busy[worker] = unit
            worker.begin(unit, step.alone)
        schedule.give_up([(unit, f"it needs {needed.name}, which is missing") for unit, needed in step.blocked])
        return step.over, step.wake

    def hear(
        self,
        worker: Worker,
        schedule: Schedule[U],
        on_progress: Callable[[Progress], None],
        on_done: Callable[[U], Sequence[U]],
    ) -> bool:
        """Take in what a busy or starting worker says; whether that may change what is to be begun."""
        if worker in self._starting:
            why = self._started(worker)
            if why is not None and not (self._starting or self._busy or self._idle):
                schedule.give_up_all(f"no worker can be started: {why}")
            return True
        unit = self._busy[worker]
        try:
            progress = worker.hear()
            if progress is not None:
                schedule.heard(unit, progress.iteration)
                on_progress(progress)
                return False
            self._idle.append(worker)
        except WorkerError as error:
            self._after(worker, error)
            if error.fault is Fault.DISK or not self._published(unit):
                del self._busy[worker]
                again = schedule.fail(unit, self._clock(), error.fault, error.why, error.details)
                if again is not None:
                    self._tell(f"{unit.name}: {again}")
                return True
            # it died right after that, or a worker that was taken for dead did it
        del self._busy[worker]
        odd = self._fetched(unit)
        if odd is not None:
            schedule.fail(unit, self._clock(), Fault.DISK if isinstance(odd, DiskError) else Fault.REFUSED, str(odd))
            return True
        schedule.finish(unit)
        schedule.drop(on_done(unit))
        return True

    def _after(self, worker: Worker, error: WorkerError) -> None:
        """Keep a worker whose unit raised what is no fault of its process; replace any other."""
        if error.fault in (Fault.REFUSED, Fault.DISK):
            self._idle.append(worker)
        else:
            worker.end()  # whatever made it fail may be in that process
            self._starting.add(self._crew.start())

    def _next_event(self, wake: float | None) -> Worker | None:
        """A busy or starting worker that has something to say; None at `wake`, or if one was waited for in vain."""
        pause = None if wake is None else max(0.0, wake - self._clock())
        heard = [*self._busy, *self._starting]
        if not heard:
            time.sleep(pause or 0.0)
            return None
        nobody = not self._busy and not self._idle
        impatient = nobody and (pause is None or pause > PATIENCE)
        worker = self._crew.wait(heard, PATIENCE if impatient else pause)
        if worker is None and impatient:
            self._tell(f"no worker has started for {PATIENCE:.0f} s; {self._crew.why_late}")
        return worker

    def _fetched(self, unit: U) -> KerfError | None:
        """Fetch a unit that a worker on another machine may have done; what keeps us from it, if something does."""
        if self._store.address is None:
            return None
        try:
            self._store.fetch([unit])
            if not self._store.finished(unit):
                return DiskError(f"its worker has done it, and it is not at {self._store.address}")
        except KerfError as error:
            return error
        return None

    def _published(self, unit: U) -> bool:
        try:
            self._store.fetch([unit])
        except KerfError:  # something is in its place
            return False
        return self._on_disk(unit)

    def _on_disk(self, unit: U) -> bool:
        try:
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
            self._failed_starts += 1
            if self._failed_starts < MAX_TRIES * self._num_workers:
                self._starting.add(self._crew.start())
            return error.why
        self._failed_starts = 0
        self._idle.append(worker)
        return None


def _crew(task: Task, modules: Sequence[str]) -> Crew[Any]:
    if will_fork():
        return ForkedCrew(task, modules)
    from kerf.runs.execution.ray_workers import RayCrew

    return RayCrew(task)
