"""Long-lived Ray workers that do units of work, one at a time each."""

from __future__ import annotations

import logging
import os
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
from runs.store import Named, Store

if TYPE_CHECKING:
    from runs.cell import Progress

MAX_TRIES = 3
"""Times that a unit is begun whose worker dies under it."""

LOOPBACK = "127.0.0.1"

OBJECT_STORE_BYTES = 128 * 2**20
"""Weights and progress are all that passes between processes."""

U = TypeVar("U", bound=Named)

Work = Callable[[Recipe, U, Store, int], "Iterator[Progress]"]
"""Does one unit of a recipe's study and publishes its records; the last argument is the number of threads."""


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
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address=LOOPBACK,
        )
        try:
            yield
        finally:
            ray.shutdown()


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

    def __init__(self, recipe: Recipe, root: Path, work: Work[Any]) -> None:
        import torch

        torch.set_num_threads(1)  # as many workers as cores; and one thread makes sums repeatable
        logging.getLogger("ray").setLevel(logging.ERROR)
        self._recipe, self._store, self._work = recipe, Store(root), work

    def run(self, unit: Named, alone: bool) -> Iterator[Progress]:
        # Two threads are the most that help, and one each is best where all cores have a unit.
        num_threads = min(2, os.cpu_count() or 1) if alone else 1
        yield from self._work(self._recipe, unit, self._store, num_threads)


@dataclass
class _Busy(Generic[U]):
    """A worker and what it is doing."""

    worker: Any
    unit: U
    tries: int


class Pool(Generic[U]):
    """Does units as they become ready.

    Args:
        recipe: The study's recipe.
        root: Folder of the study, seen by all workers.
        num_workers: Units at a time. Ray must have been initialised with at least `cpus_needed` CPUs.
        work: Does a unit.
    """

    def __init__(self, recipe: Recipe, root: Path, num_workers: int, work: Work[U]) -> None:
        self._recipe, self._root, self._work = recipe, root.absolute(), work
        self._idle = [self._start() for _ in range(num_workers)]
        self._busy: dict[Any, _Busy[U]] = {}

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
            The units that raised, with their reasons. Everything else was done, unless the disk failed one of them:
            after that no further unit was begun.
        """
        waiting, failures = list(units), list[Failure]()
        while waiting or self._busy:
            # No further than there are idle workers: `lacks` reads the disk, and progress comes thousands of times.
            ready = list(islice((unit for unit in waiting if not lacks(unit)), len(self._idle)))
            alone = len(ready) == 1 and not self._busy
            for unit in ready:
                waiting.remove(unit)
                self._begin(self._idle.pop(), unit, 1, alone)
            if not self._busy:  # what is left waits for units that failed
                failures += [Failure(unit, f"it needs {lacks(unit)[0].name}, which is missing") for unit in waiting]
                break
            (stream,), _ = ray.wait(list(self._busy), num_returns=1)
            busy = self._busy[stream]
            try:
                on_progress(ray.get(next(stream)))
                continue
            except StopIteration:
                self._idle.append(self._busy.pop(stream).worker)
                dropped = on_done(busy.unit)
                waiting = [unit for unit in waiting if unit not in dropped]
            except RayTaskError as error:
                self._idle.append(self._busy.pop(stream).worker)
                disk = isinstance(error.cause, DiskError)
                failures.append(Failure(busy.unit, _sentence(error), click.unstyle(str(error)), disk))
                if disk:
                    waiting = []  # each would train to its end, only to find the disk as it is now
            except RayError as error:  # the worker itself is gone
                del self._busy[stream]
                self._replace(busy, str(error).splitlines()[0], failures)
        return failures

    def _replace(self, busy: _Busy[U], why: str, failures: list[Failure]) -> None:
        """A worker died: its unit begins again on a new one, unless it has cost `MAX_TRIES` workers."""
        worker = self._start()
        if busy.tries < MAX_TRIES:
            self._begin(worker, busy.unit, busy.tries + 1, alone=not self._busy)
        else:
            self._idle.append(worker)
            failures.append(Failure(busy.unit, f"its worker died {busy.tries} times: {why}"))

    def _begin(self, worker: Any, unit: U, tries: int, alone: bool) -> None:
        stream = worker.run.options(num_returns="streaming").remote(unit, alone)
        self._busy[stream] = _Busy(worker, unit, tries)

    def _start(self) -> Any:
        # Its own learner's; remote learners ask for theirs themselves.
        local = [of.num_gpus_per_learner for of in self._recipe.trainings if of.num_learners == 0]
        return ray.remote(num_cpus=1, num_gpus=max(local, default=0))(_Worker).remote(
            self._recipe, self._root, self._work
        )
