"""Long-lived Ray workers that do units of work, one at a time each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click
import ray
from ray._private import ray_constants
from ray.exceptions import RayError, RayTaskError

from lab.errors import KerfError
from runs.disk import DiskError
from runs.recipe import Recipe
from runs.remote import mark, remote_of
from runs.store import Named, Store, Unit

if TYPE_CHECKING:
    from runs.log import Progress

MAX_TRIES = 3
"""Times that a unit is begun from the same place: one that fails so often is set aside."""

BACKOFF = 1.0
"""Seconds before the second try; before the third it is four times as many."""

PATIENCE = 60.0
"""Seconds that units may wait for a worker's CPU before this is told."""

LOOPBACK = "127.0.0.1"

STARTS = 3
"""Times that Ray is started, if it is too slow."""

SLOW_START = "timed out during startup"
"""What Ray says then."""

OBJECT_STORE_BYTES = 128 * 2**20
"""Weights and progress are all that passes between processes."""

U = TypeVar("U", bound=Named)

Work = Callable[[Recipe, U, Store, int], "Iterator[Progress]"]
"""Does a unit with so many threads, publishes its records, and tells how far it is."""


@dataclass(frozen=True)
class Failure:
    """A unit that could not be done.

    Attributes:
        unit: Which.
        why: A sentence.
        traceback: The worker's, in plain text, if it has one.
        disk: Whether it was the disk that did not let the unit be written.
    """

    unit: Named
    why: str
    traceback: str = ""
    disk: bool = False


def train(
    recipe: Recipe,
    unit: Unit,
    store: Store,
    num_threads: int,
    checkpoint_every: float | None = None,
) -> Iterator[Progress]:
    """What workers do: `runs.cell.run_unit`, imported where it runs; a checkpoint every so many seconds."""
    from runs.cell import run_unit
    from runs.checkpoints import EVERY

    return run_unit(recipe, unit, store, num_threads, EVERY if checkpoint_every is None else checkpoint_every)


def cpus_needed(recipe: Recipe, num_workers: int) -> int:
    """What Ray must have for so many units at a time: a logical CPU for each worker, and for each env runner and
    learner that it may start. With fewer, these would wait for ever for the CPUs of the workers that wait for them.
    """
    return num_workers * (1 + max(training.num_env_runners + training.num_learners for training in recipe.trainings))


@contextmanager
def local_ray(num_cpus: int) -> Iterator[None]:
    """A private Ray on this machine's loopback address; a Ray that is initialised already is used and left alone."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with on_loopback():
        _start_ray(num_cpus)
        try:
            yield
        finally:
            ray.shutdown()


def _start_ray(num_cpus: int) -> None:
    """Start Ray; again if it is too slow, for it gives its own processes 30 s, which a busy machine may not have.

    Raises:
        KerfError: if it is too slow each time.
    """
    for left in reversed(range(STARTS)):
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address=LOOPBACK,
            )
            return
        except Exception as error:  # it has no class of its own for that
            if SLOW_START not in str(error):
                raise
            if not left:
                raise KerfError(
                    f"Ray did not start, {STARTS} times: {error} The machine may be too busy; try again later"
                ) from error


@contextmanager
def on_loopback() -> Iterator[None]:
    """Keeps Ray from turning a loopback address into the machine's outer one, as it does wherever it could cluster."""
    could_cluster = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = could_cluster


def _sentence(error: RayTaskError) -> str:
    cause = error.cause
    return str(cause) if isinstance(cause, KerfError) else f"{type(cause).__name__}: {cause}"


class _Worker:
    """Lives in a process of its own, so that imports and compiled kernels are paid for once."""

    def __init__(self, recipe: Recipe, root: Path, address: str | None, work: Work[Any]) -> None:
        import torch

        if address is not None:
            mark(root, address)  # a worker on another machine has a folder of its own
        torch.set_num_threads(1)  # as many workers as cores; and one thread makes sums repeatable
        logging.getLogger("ray").setLevel(logging.ERROR)
        self._recipe, self._store, self._work = recipe, Store(root), work
        self._remote = remote_of(root)

    def ready(self) -> None:
        """Answers once it lives."""

    def run(self, unit: Named, alone: bool) -> Iterator[Progress]:
        if self._remote is not None and self._store.finished(unit):
            self._remote.push_unit(unit)  # done on this machine by a worker that died before it could send it
            return
        # Two threads are the most that help, and one each is best where all cores have a unit.
        num_threads = min(2, os.cpu_count() or 1) if alone else 1
        yield from self._work(self._recipe, unit, self._store, num_threads)


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


def _paused(tasks: Sequence[_Task[Any]]) -> list[float]:
    """For how many seconds they must not be tried yet; only those."""
    now = time.monotonic()
    return [task.not_before - now for task in tasks if task.not_before > now]


@dataclass
class _Busy(Generic[U]):
    """A worker and what it is doing."""

    worker: Any
    task: _Task[U]
    heard: bool = False


class Pool(Generic[U]):
    """Does units as they become ready.

    A unit whose worker dies or raises is tried again, on a new worker and from its latest checkpoint, after a pause
    and after the others; one that fails `MAX_TRIES` times without getting on is set aside. A mistake of the user's
    (`KerfError`) is not tried again. A worker that is lost with its node is replaced when there is a CPU for it.

    Args:
        recipe: The study's recipe.
        root: Folder of the study, seen by all workers unless it stands for a place elsewhere.
        num_workers: Units at a time. Ray must have been initialised with at least `cpus_needed` CPUs, on any number of
            nodes.
        work: What is done with a unit.
        tell: Hears, in sentences, what goes wrong and is tried again.
    """

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        num_workers: int,
        work: Work[U],
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._recipe, self._root, self._work, self._tell = recipe, root.absolute(), work, tell
        self._num_workers = num_workers
        self._store, self._remote = Store(self._root), remote_of(self._root)
        self._idle: list[Any] = []
        self._busy: dict[Any, _Busy[U]] = {}
        self._starting: dict[Any, Any] = {}
        self._dead_at_birth = 0
        for _ in range(num_workers):
            self._start()

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
            if changed and self._idle and not self._begin(waiting, lacks) and not self._busy and not _paused(waiting):
                failures += [  # they wait for units that failed
                    Failure(task.unit, f"it needs {lacks(task.unit)[0].name}, which is missing") for task in waiting
                ]
                break
            event = self._next_event(waiting)
            changed = event is None
            if event is None:
                continue
            if event in self._starting:
                changed = True
                why = self._started(event)
                if why is not None and not (self._starting or self._busy or self._idle):
                    failures += [Failure(task.unit, f"no worker can be started: {why}") for task in waiting]
                    break
                continue
            busy = self._busy[event]
            try:
                progress = ray.get(next(event))
                self._heard(busy, progress)
                on_progress(progress)
                continue
            except StopIteration:
                done, failure = True, None
                self._idle.append(self._busy.pop(event).worker)
            except RayError as error:
                del self._busy[event]
                done, failure = self._failed(busy, error, waiting)
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
        for worker in (*self._idle, *self._starting.values(), *(busy.worker for busy in self._busy.values())):
            ray.kill(worker)
        self._idle, self._starting, self._busy = [], {}, {}

    def _begin(self, waiting: list[_Task[U]], lacks: Callable[[U], Sequence[U]]) -> bool:
        """Give idle workers what is ready, and take it from `waiting`; whether there was anything."""
        now = time.monotonic()
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
            stream = worker.run.options(num_returns="streaming").remote(task.unit, alone)
            self._busy[stream] = _Busy(worker, task)
        return bool(found)

    def _next_event(self, waiting: Sequence[_Task[U]]) -> Any:
        """A stream or a starting worker that has something to say; None if it is time to look what is ready."""
        pauses = _paused(waiting)
        heard = [*self._busy, *self._starting]
        if not heard:
            time.sleep(max(0.0, min(pauses)))
            return None
        if not self._busy and not self._idle:
            pauses.append(PATIENCE)
        answered, _ = ray.wait(heard, num_returns=1, timeout=min(pauses, default=None))
        if answered:
            return answered[0]
        if not self._busy and not self._idle and not pauses[:-1]:
            self._tell(f"no worker has got its CPUs for {PATIENCE:.0f} s; the cluster may be full")
        return None

    def _heard(self, busy: _Busy[U], progress: Progress) -> None:
        """A try that begins further on than the one before it starts the count anew."""
        if not busy.heard:
            busy.heard = True
            if -1 < busy.task.begun_at < progress.iteration:
                busy.task.tries = 1
            busy.task.begun_at = max(busy.task.begun_at, progress.iteration)

    def _failed(self, busy: _Busy[U], error: RayError, waiting: list[_Task[U]]) -> tuple[bool, Failure | None]:
        """What comes of a unit whose worker raised or died: it was done all the same, is tried again, or failed."""
        task = busy.task
        raised = isinstance(error, RayTaskError)
        cause = error.cause if raised else None
        why = _sentence(error) if raised else f"its worker died: {str(error).splitlines()[0]}"
        if isinstance(cause, KerfError):
            self._idle.append(busy.worker)
        else:
            ray.kill(busy.worker)  # whatever made it fail may be in that process
            self._start()
        if not isinstance(cause, DiskError) and self._published(task.unit):
            return True, None  # it died right after that, or a worker that was taken for dead did it
        if not isinstance(cause, KerfError) and task.tries < MAX_TRIES:
            pause = BACKOFF * 4.0 ** (task.tries - 1)
            task.not_before = time.monotonic() + pause
            waiting.append(task)  # after the others
            self._tell(f"{task.unit.name}: {why}; try {task.tries + 1} of {MAX_TRIES} in {pause:g} s")
            return False, None
        if not isinstance(cause, KerfError):
            why = f"set aside after {task.tries} tries: {why}"
        return False, Failure(task.unit, why, click.unstyle(str(error)) if raised else "", isinstance(cause, DiskError))

    def _fetched(self, unit: U) -> Failure | None:
        """Fetch a unit that a worker on another machine may have done; what keeps us from it, if something does."""
        if self._remote is None:
            return None
        try:
            self._remote.pull_unit(unit)
            if not self._store.finished(unit):
                return Failure(unit, f"its worker has done it, and it is not at {self._remote.address}", disk=True)
        except KerfError as error:
            return Failure(unit, str(error), disk=isinstance(error, DiskError))
        return None

    def _published(self, unit: U) -> bool:
        try:
            if self._remote is not None:
                self._remote.pull_unit(unit)
            return self._store.finished(unit)
        except KerfError:  # something is in its place
            return False

    def _start(self) -> None:
        """Ask for a worker: it is idle once it lives."""
        # Its own learner's; remote learners ask for theirs themselves.
        local = [of.num_gpus_per_learner for of in self._recipe.trainings if of.num_learners == 0]
        actor = ray.remote(num_cpus=1, num_gpus=max(local, default=0), scheduling_strategy="SPREAD")(_Worker)
        address = None if self._remote is None else self._remote.address
        worker = actor.remote(self._recipe, self._root, address, self._work)
        self._starting[worker.ready.remote()] = worker

    def _started(self, answer: Any) -> str | None:
        """A worker that was asked for lives, or could not be started: then another one is asked for, unless that
        happened too often in a row. Why it could not, if so."""
        worker = self._starting.pop(answer)
        try:
            ray.get(answer)
        except RayError as error:
            self._dead_at_birth += 1
            if self._dead_at_birth < MAX_TRIES * self._num_workers:
                self._start()
            return str(error).splitlines()[0]
        self._dead_at_birth = 0
        self._idle.append(worker)
        return None
