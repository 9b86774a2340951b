"""Worker: a process that does units of a study, one at a time, and reports progress to its driver.

Workers are forked processes of this machine (`kerf.runs.execution.forked_workers`) or Ray actors on any number of
machines (`kerf.runs.execution.ray_workers`). `kerf.runs.execution.pool` assigns units to them and handles failures.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from kerf.lab.errors import KerfError
from kerf.runs.execution.limits import cores
from kerf.runs.records.atomic_io import DiskError

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.recipe.model import Recipe
    from kerf.runs.records.store import Named, Store

U = TypeVar("U", bound="Named")

Work = Callable[["Recipe", U, "Store", int], "Iterator[Progress]"]
"""A function of recipe, unit, store and number of threads that does the unit, publishes it and yields progress."""


class Fault(Enum):
    """Kind of failure of a worker or its unit."""

    DIED = "its process ended"
    RAISED = "the unit raised an unexpected exception"
    REFUSED = "the unit is invalid as requested (`KerfError`)"
    DISK = "the records of the unit cannot be written (`DiskError`)"


class WorkerError(Exception):
    """A worker died or its unit raised.

    Attributes:
        fault: Kind of failure.
        why: The reason, in a sentence.
        details: The traceback, or the last output of a dead process, in plain text; empty if there is none.
    """

    def __init__(self, fault: Fault, why: str, details: str = "") -> None:
        super().__init__(fault, why, details)
        self.fault, self.why, self.details = fault, why, details

    @classmethod
    def of(cls, error: BaseException) -> WorkerError:
        """Convert an exception raised in a worker."""
        return cls(fault_of(error), error_sentence(error), "".join(traceback.format_exception(error)))


def fault_of(error: BaseException) -> Fault:
    """Classify an exception raised in a worker."""
    if isinstance(error, DiskError):
        return Fault.DISK
    return Fault.REFUSED if isinstance(error, KerfError) else Fault.RAISED


def error_sentence(error: BaseException) -> str:
    """Describe an exception raised in a worker in a sentence."""
    return str(error) if isinstance(error, KerfError) else f"{type(error).__name__}: {error}"


class Worker(Protocol):
    """A worker, as its driver sees it. Its process starts when the object is made."""

    def begin(self, unit: Named, alone: bool) -> None:
        """Make it begin a unit; `alone`: whether no other worker has a unit."""

    def receive(self) -> Progress | None:
        """Receive its next message; call this when `Crew.wait` has returned it.

        Returns:
            Progress of its unit; None if it is ready for a unit: it has started, or its unit is published.

        Raises:
            WorkerError: if it died, or the unit raised. In the second case it is ready for another unit.
        """

    def stop(self) -> int | None:
        """Ask it to write a checkpoint, if its unit keeps any, and to end.

        Returns:
            Descriptor of its process (`pidfd_open`), which the caller closes; None if it cannot be asked.
        """

    def end(self) -> None:
        """End its process at once."""


W = TypeVar("W", bound=Worker)


class Crew(Protocol[W]):
    """A source of workers."""

    why_late: str
    """A possible reason, in words, why workers do not start."""

    def start(self) -> W:
        """Request a worker; `wait` returns it when it is ready or could not be started."""

    def wait(self, workers: Collection[W], timeout: float | None) -> W | None:
        """Wait until one of `workers` has a message and return it; None after `timeout` seconds (None: no limit)."""


@dataclass(frozen=True)
class Task:
    """The task of a worker.

    Attributes:
        recipe: The study's recipe.
        root: The study's folder.
        address: Address at which the study is also kept; None if none.
        work: Function that does a unit.
    """

    recipe: Recipe
    root: Path
    address: str | None
    work: Work[Any]


class UnitDoer:
    """Does units in the process of a worker; imports, kernels and batteries are loaded once."""

    def __init__(self, task: Task) -> None:
        import logging

        import torch

        from kerf.runs.records.store import Store

        torch.set_num_threads(1)  # there are as many workers as cores
        logging.getLogger("ray").setLevel(logging.ERROR)
        # A worker on another machine has a folder of its own.
        self._task, self._store = task, Store.kept_at(task.root, task.address)

    def run(self, unit: Named, alone: bool) -> Generator[Progress]:
        """Do `unit`; exceptions of the unit are passed on."""
        if self._store.delivered(unit):
            return  # done on this machine by a worker that died before it reported it
        # More than two threads do not help, and one per unit is best when all cores are busy.
        num_threads = min(2, cores().workers) if alone else 1
        yield from self._task.work(self._task.recipe, unit, self._store, num_threads)
