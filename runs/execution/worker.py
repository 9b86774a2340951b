"""Worker: a process that does units of a study, one at a time, and tells its driver how far it is.

The processes are either forked from one that has imported everything (`kerf.runs.execution.forked_workers`), or Ray
actors, on any number of machines (`kerf.runs.execution.ray_workers`). `kerf.runs.execution.pool` gives them their work
and deals with those that fail.
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
"""Does a unit with so many threads, publishes its records, and tells how far it is."""


class Fault(Enum):
    """What became of a worker, or of its unit."""

    DIED = "its process ended"
    RAISED = "the unit raised what nobody foresaw"
    REFUSED = "the unit cannot be done as it was asked for (`KerfError`)"
    DISK = "the disk does not let the unit be written (`DiskError`)"


class WorkerError(Exception):
    """A worker died or its unit raised.

    Attributes:
        fault: Which of it.
        why: A sentence.
        details: A traceback, or the last that a dead process wrote; plain text, empty if there is none.
    """

    def __init__(self, fault: Fault, why: str, details: str = "") -> None:
        super().__init__(fault, why, details)
        self.fault, self.why, self.details = fault, why, details

    @classmethod
    def of(cls, error: BaseException) -> WorkerError:
        """What an exception in a worker comes to."""
        return cls(fault_of(error), error_sentence(error), "".join(traceback.format_exception(error)))


def fault_of(error: BaseException) -> Fault:
    """Whose fault an exception in a worker is."""
    if isinstance(error, DiskError):
        return Fault.DISK
    return Fault.REFUSED if isinstance(error, KerfError) else Fault.RAISED


def error_sentence(error: BaseException) -> str:
    """An exception in a worker, in a sentence."""
    return str(error) if isinstance(error, KerfError) else f"{type(error).__name__}: {error}"


class Worker(Protocol):
    """A worker, as its driver sees it. It starts as soon as it is made."""

    def begin(self, unit: Named, alone: bool) -> None:
        """Have it do a unit; `alone` says that no other worker has one."""

    def hear(self) -> Progress | None:
        """What it has to say, once `Crew.wait` gave it: how far it is; or None if it is ready for a unit, because it
        has started or its unit is published.

        Raises:
            WorkerError: if it died, or the unit raised. After the latter it is ready for another one.
        """

    def stop(self) -> int | None:
        """Ask it to leave a checkpoint where it keeps some, and to end: the descriptor of its process (`pidfd_open`),
        for the caller to close; None if it cannot be asked."""

    def end(self) -> None:
        """End its process, whatever it is doing."""


W = TypeVar("W", bound=Worker)


class Crew(Protocol[W]):
    """Where workers come from."""

    why_late: str
    """What may be the cause if workers do not start, in words."""

    def start(self) -> W:
        """Ask for a worker; `wait` gives it once it is ready, or cannot be had."""

    def wait(self, workers: Collection[W], timeout: float | None) -> W | None:
        """One of `workers` that has something to say, as soon as there is one; None after so many seconds."""


@dataclass(frozen=True)
class Task:
    """What a worker is for.

    Attributes:
        recipe: The study's.
        root: The study's folder.
        address: The place elsewhere that it stands for, if it does.
        work: What is done with a unit.
    """

    recipe: Recipe
    root: Path
    address: str | None
    work: Work[Any]


class UnitDoer:
    """Does units in the process of a worker, so that imports, kernels and batteries are paid for once."""

    def __init__(self, task: Task) -> None:
        import logging

        import torch

        from kerf.runs.records.store import Store

        torch.set_num_threads(1)  # as many workers as cores; and one thread makes sums repeatable
        logging.getLogger("ray").setLevel(logging.ERROR)
        # A worker on another machine has a folder of its own.
        self._task, self._store = task, Store.kept_at(task.root, task.address)

    def run(self, unit: Named, alone: bool) -> Generator[Progress]:
        """Do `unit`; raises whatever it raises."""
        if self._store.delivered(unit):
            return  # done on this machine by a worker that died before it could say so
        # Two threads are the most that help, and one each is best where all cores have a unit.
        num_threads = min(2, cores().workers) if alone else 1
        yield from self._task.work(self._task.recipe, unit, self._store, num_threads)
