"""`Scheduler`: does the units of a study, a sweep or attacks, and tells how it goes.

It leaves out what is finished, starts workers with the first unit there is to do, shows progress, reports what failed
and why, and ends the workers. Which unit runs next is decided in `kerf.runs.execution.schedule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from rich.console import Console

from kerf.runs.console import say
from kerf.runs.execution.limits import Allowance, allowance
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.store import Named, Store

if TYPE_CHECKING:
    from kerf.runs.execution.pool import Runner
    from kerf.runs.execution.schedule import Failure
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.execution.worker import Work

DONE, FAILED, NOT_ALIGNED = 0, 1, 3
"""Exit codes: everything done; a unit could not be done; an agent did not pass the gate."""

U = TypeVar("U", bound=Named)
Unit_contra = TypeVar("Unit_contra", bound=Named, contravariant=True)


class Monitor(Protocol[Unit_contra]):
    """Shows how far units are. Used as a context manager while they are done."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def progress(self, progress: Progress) -> None:
        """A running unit is so far."""

    def finished(self, unit: Unit_contra) -> None:
        """A unit is published."""

    def dropped(self, units: Sequence[Unit_contra]) -> None:
        """These units are not to be done after all."""


@dataclass(frozen=True)
class Plan(Generic[U]):
    """What a scheduler is about to do, as it is announced.

    Attributes:
        todo: The units that are to be done.
        finished: How many others are done already.
        workers: Units at a time.
    """

    todo: Sequence[U]
    finished: int
    workers: int

    @property
    def already(self) -> str:
        """` (3 are done already)`, if any are."""
        return f" ({self.finished} are done already)" if self.finished else ""


@contextmanager
def start_workers(
    recipe: Recipe,
    store: Store,
    num_workers: int,
    work: Work[U],
    tell: Callable[[str], None],
    modules: Sequence[str] = (),
    *,
    on_ray: bool = False,
    cpus_each: int = 1,
) -> Iterator[Runner[U]]:
    """Workers on this machine, or on the Ray that this process is connected to.

    Args:
        recipe: Of the study.
        store: Its folder.
        num_workers: Units at a time.
        work: What is done with a unit.
        tell: Hears, in sentences, what goes wrong and is tried again.
        modules: What `work` imports.
        on_ray: Whether `work` needs Ray, so that a private one is started if this process has none.
        cpus_each: Logical CPUs that Ray must have for each unit at a time.
    """
    from kerf.lab.compiled import NO_CACHE, cache_home
    from kerf.runs.execution.local_ray import ray_for
    from kerf.runs.execution.pool import Pool

    if cache_home() is None:
        tell(NO_CACHE)
    with ray_for(on_ray, num_workers * cpus_each), Pool(recipe, store.path, num_workers, work, tell, modules) as pool:
        yield pool


class Scheduler(Generic[U]):
    """Does units of work whose records are in one store. Use as a context manager, which ends the workers.

    Args:
        store: Where units appear.
        num_workers: Units at a time; None: as `kerf.runs.execution.limits.allowance` says.
        console: Where it is said how it goes.
        start: Starts so many workers, once there is something to do.
        announce: What is said then.
        at_most: Units that later calls of `do` may have at a time, where that can be more than the first one has.
    """

    def __init__(
        self,
        store: Store,
        num_workers: int | None,
        console: Console,
        start: Callable[[int], AbstractContextManager[Runner[U]]],
        announce: Callable[[Plan[U]], str],
        at_most: int = 1,
    ) -> None:
        self._store, self._console, self._start, self._announce = store, console, start, announce
        self._allowed = allowance() if num_workers is None else Allowance(num_workers)
        self._at_most = at_most
        self._verified = set[U]()
        self._runner: Runner[U] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)  # workers end otherwise where a signal asks them to

    def finished(self, unit: U) -> bool:
        """Whether a unit is finished; its files are compared with their hashes once.

        Raises:
            KerfError: if they are not as they were written.
        """
        if unit not in self._verified and self._store.finished(unit, verify=True):
            self._verified.add(unit)
        return unit in self._verified

    def do(
        self,
        units: Iterable[U],
        monitor: Callable[[Sequence[U]], Monitor[U]],
        *,
        needs: Callable[[U], Sequence[U]] = lambda unit: (),
        rules_out: Callable[[U, Sequence[U]], Sequence[U]] = lambda unit, others: (),
        heard: Callable[[U], None] = lambda unit: None,
    ) -> bool:
        """Do those of `units` that are not finished, in their order; failures are said and written to `timing.jsonl`.

        Args:
            units: What is to be done.
            monitor: Shows how far the units are that are left to do.
            needs: What must be finished before a unit can begin.
            rules_out: Which others are not to be done, now that a unit is finished.
            heard: Called with each unit that is published.

        Returns:
            Whether everything was done that was not ruled out.

        Raises:
            DiskError: if the disk does not let a unit be written; all that it kept from being done is left.
        """
        asked = list(dict.fromkeys(units))
        done = [unit for unit in asked if self.finished(unit)]
        left_out = {other for unit in done for other in rules_out(unit, asked)}.union(done)
        todo = [unit for unit in asked if unit not in left_out]
        if not todo:
            return True
        runner = self._workers(Plan(todo, len(done), min(self._allowed.workers, max(len(todo), self._at_most))))
        with monitor(todo) as shown:

            def on_done(unit: U) -> Sequence[U]:
                dropped = rules_out(unit, todo)
                shown.finished(unit)
                shown.dropped(dropped)
                heard(unit)
                return dropped

            failures = runner.run(todo, needs, shown.progress, on_done)
        return self._told(failures)

    def _workers(self, plan: Plan[U]) -> Runner[U]:
        """The workers, started with the first work there is."""
        if self._runner is None:
            if self._allowed.why and plan.workers == self._allowed.workers < max(len(plan.todo), self._at_most):
                say(self._console, f"workers: {plan.workers} for {self._allowed.why}; --workers N asks for N")
            say(self._console, self._announce(plan))
            self._runner = self._stack.enter_context(self._start(plan.workers))
        return self._runner

    def _told(self, failures: Sequence[Failure]) -> bool:
        """Say what could not be done; whether there is nothing to say."""
        for failure in sorted(failures, key=lambda failure: failure.disk):
            if failure.disk:  # the last, so that all others are told; and no line of it could be written
                raise DiskError(f"{failure.unit.name}: {failure.why}")
            say(self._console, f"failed: {failure.unit.name}: {failure.why}")
            self._store.append_timing({"failed": failure.unit.name, "why": failure.why, "traceback": failure.traceback})
        if failures:
            say(
                self._console,
                "The records so far are kept (tracebacks: timing.jsonl); the same command tries again what is missing.",
            )
        return not failures
