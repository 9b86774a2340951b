"""Worker pool: runs units of work on workers, in the order decided by `kerf.runs.execution.schedule`."""

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
"""Seconds for units to write a checkpoint when the command is asked to end. Batch systems allow about 30 s."""

PATIENCE = 60.0
"""Seconds without any worker after which the user is warned."""

U = TypeVar("U", bound=Named)


class Runner(Protocol[U]):
    """Runs units of work as they become ready."""

    def run(
        self,
        units: Sequence[U],
        needs: Callable[[U], Sequence[U]],
        on_progress: Callable[[Progress], None],
        on_done: Callable[[U], Sequence[U]],
    ) -> list[Failure]:
        """Run `units` in order, each as soon as the units that it needs are finished and a worker is idle.

        Args:
            units: The units to run.
            needs: Returns the units that must be finished before a unit can begin; called once per unit. Those not
                among `units` must be in the store.
            on_progress: Callback for the progress of running units.
            on_done: Called with each published unit; returns units to be cancelled.

        Returns:
            The units that failed, with reasons. All others were done, unless one failed because of the disk: then no
            further unit was begun.
        """


class Pool(Generic[U]):
    """Runs units on workers as they become ready. Use as a context manager, which ends the workers.

    Workers (`kerf.runs.execution.worker`) are Ray actors if this process is connected to Ray, else forked processes.

    A unit whose worker dies or raises is retried on a new worker, from its latest checkpoint, after a pause and after
    the waiting units. A unit that fails `MAX_TRIES` times without progress is given up. An error of the user
    (`KerfError`) is not retried. A worker lost with its node is replaced when a CPU becomes available.

    Args:
        recipe: The study's recipe.
        root: Folder of the study, shared by all workers unless it is a local copy of a remote one.
        num_workers: Number of units run at a time. Ray must have at least `cpus_needed` CPUs, on any number of nodes.
        work: Function that does a unit.
        warn: Callback for warnings, each a sentence, such as a failure that is retried.
        modules: Modules that `work` imports, imported before workers are forked.
        crew: Source of workers; None: chosen as above.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        num_workers: int,
        work: Work[U],
        warn: Callable[[str], None] = lambda sentence: None,
        modules: Sequence[str] = (),
        *,
        crew: Crew[Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._warn, self._num_workers, self._clock = root.absolute(), warn, num_workers, clock
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
        """Run units; see `Runner.run`."""
        schedule = Schedule(units, needs)
        wake: float | None = None
        changed = True  # whether to decide again; progress reports are frequent and change nothing
        while True:
            if changed:
                over, wake = self.act(schedule)
                if over:
                    return schedule.failures
            worker = self._next_event(wake)
            changed = worker is None or self.receive(worker, schedule, on_progress, on_done)

    def close(self) -> None:
        """End the workers and release their CPUs."""
        for worker in (*self._idle, *self._starting, *self._busy):
            worker.end()
        self._idle, self._starting, self._busy = [], set(), {}

    def _stop(self) -> None:
        """Wait up to `GRACE` seconds for running units to write a checkpoint.

        Messages of workers are not read meanwhile: the signal may have interrupted the reading of one.
        """
        ending = [descriptor for worker in self._busy if (descriptor := worker.stop()) is not None]
        deadline, left = time.monotonic() + GRACE, set(ending)
        while left and (seconds := deadline - time.monotonic()) > 0:
            left -= set(wait(left, seconds))
        for descriptor in ending:
            os.close(descriptor)

    def act(self, schedule: Schedule[U]) -> tuple[bool, float | None]:
        """Start the units that can begin now on idle workers.

        Returns:
            Whether nothing is left to do, and the time by which to call this again (None: only after an event).
        """
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

    def receive(
        self,
        worker: Worker,
        schedule: Schedule[U],
        on_progress: Callable[[Progress], None],
        on_done: Callable[[U], Sequence[U]],
    ) -> bool:
        """Process the message of a busy or starting worker; return whether units may now be startable."""
        if worker in self._starting:
            why = self._started(worker)
            if why is not None and not (self._starting or self._busy or self._idle):
                schedule.give_up_all(f"no worker can be started: {why}")
            return True
        unit = self._busy[worker]
        try:
            progress = worker.receive()
            if progress is not None:
                schedule.made_progress(unit, progress.iteration)
                on_progress(progress)
                return False
            self._idle.append(worker)
        except WorkerError as error:
            self._after(worker, error)
            if error.fault is Fault.DISK or not self._published(unit):
                del self._busy[worker]
                again = schedule.fail(unit, self._clock(), error.fault, error.why, error.details)
                if again is not None:
                    self._warn(f"{unit.name}: {again}")
                return True
            # the worker died after it published the unit, or a worker believed dead published it
        del self._busy[worker]
        odd = self._fetched(unit)
        if odd is not None:
            schedule.fail(unit, self._clock(), Fault.DISK if isinstance(odd, DiskError) else Fault.REFUSED, str(odd))
            return True
        schedule.finish(unit)
        schedule.drop(on_done(unit))
        return True

    def _after(self, worker: Worker, error: WorkerError) -> None:
        """Keep the worker if the error is not a fault of its process; else replace it."""
        if error.fault in (Fault.REFUSED, Fault.DISK):
            self._idle.append(worker)
        else:
            worker.end()  # the cause of the failure may be in that process
            self._starting.add(self._crew.start())

    def _next_event(self, wake: float | None) -> Worker | None:
        """Wait for a message of a busy or starting worker; None at the time `wake` or if no worker starts in time."""
        pause = None if wake is None else max(0.0, wake - self._clock())
        awaited = [*self._busy, *self._starting]
        if not awaited:
            time.sleep(pause or 0.0)
            return None
        nobody = not self._busy and not self._idle
        impatient = nobody and (pause is None or pause > PATIENCE)
        worker = self._crew.wait(awaited, PATIENCE if impatient else pause)
        if worker is None and impatient:
            self._warn(f"no worker has started for {PATIENCE:.0f} s; {self._crew.why_late}")
        return worker

    def _fetched(self, unit: U) -> KerfError | None:
        """Fetch a unit that a worker on another machine may have done; return the error if it cannot be fetched."""
        if self._store.address is None:
            return None
        try:
            self._store.fetch([unit])
            if not self._store.finished(unit):
                return DiskError(f"its worker has finished it, but it is not at {self._store.address}")
        except KerfError as error:
            return error
        return None

    def _published(self, unit: U) -> bool:
        try:
            self._store.fetch([unit])
        except KerfError:  # its path is occupied by something else
            return False
        return self._on_disk(unit)

    def _on_disk(self, unit: U) -> bool:
        try:
            return self._store.finished(unit)
        except KerfError:  # its path is occupied by something else
            return False

    def _started(self, worker: Worker) -> str | None:
        """Register a worker that has started or failed to start; return the reason if it failed.

        After a failure another worker is started, unless too many in a row have failed.

        Raises:
            KerfError: if the worker refuses to work, since it imports other code than this process.
        """
        self._starting.remove(worker)
        try:
            worker.receive()
        except WorkerError as error:
            worker.end()
            if error.fault is Fault.REFUSED:  # another worker would refuse, too
                raise KerfError(error.why) from error
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
