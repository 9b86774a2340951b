"""Scheduler: does the units of a study, a sweep or attacks, and reports progress and failures.

It skips finished units, starts workers when there is a unit to do, and ends them. The order of units is decided in
`kerf.runs.execution.schedule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from rich.console import Console

from kerf.runs.execution.compile_ahead import compile_ahead
from kerf.runs.execution.forked_workers import will_fork
from kerf.runs.execution.limits import Allowance, allowance
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.store import Named, Store
from kerf.runs.terminal.console import say

if TYPE_CHECKING:
    from kerf.runs.execution.pool import Runner
    from kerf.runs.execution.schedule import Failure
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.execution.worker import Work

DONE, FAILED, NOT_ALIGNED = 0, 1, 3
"""Exit codes: everything is done; a unit failed; an agent did not pass the gate."""

U = TypeVar("U", bound=Named)
Unit_contra = TypeVar("Unit_contra", bound=Named, contravariant=True)


class Monitor(Protocol[Unit_contra]):
    """Shows the progress of units. Used as a context manager while they are done."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def progress(self, progress: Progress) -> None:
        """Show a progress report of a running unit."""

    def finished(self, unit: Unit_contra) -> None:
        """Show that a unit is published."""

    def dropped(self, units: Sequence[Unit_contra]) -> None:
        """Show that units are cancelled."""


@dataclass(frozen=True)
class Plan(Generic[U]):
    """The work that a scheduler is about to do, for its announcement.

    Attributes:
        todo: The units to do.
        finished: Number of other units that are done already.
        workers: Number of units at a time.
    """

    todo: Sequence[U]
    finished: int
    workers: int

    @property
    def already(self) -> str:
        """The text ` (3 are done already)`; empty if none are."""
        return f" ({self.finished} are done already)" if self.finished else ""


@contextmanager
def start_workers(
    recipe: Recipe,
    store: Store,
    num_workers: int,
    work: Work[U],
    warn: Callable[[str], None],
    modules: Sequence[str] = (),
    *,
    on_ray: bool = False,
    cpus_each: int = 1,
) -> Iterator[Runner[U]]:
    """Start workers on this machine, or on the Ray cluster that this process is connected to.

    Args:
        recipe: Recipe of the study.
        store: Folder of the study.
        num_workers: Number of units at a time.
        work: Function that does a unit.
        warn: Callback for warnings, each a sentence, such as a failure that is retried.
        modules: Modules that `work` imports.
        on_ray: Whether `work` needs Ray; a private one is started if this process is not connected to any.
        cpus_each: Logical CPUs that Ray must have for each worker.
    """
    from kerf.lab.compiled import NO_CACHE, cache_home
    from kerf.runs.execution.local_ray import ray_for
    from kerf.runs.execution.pool import Pool

    if cache_home() is None:
        warn(NO_CACHE)
    with ray_for(on_ray, num_workers * cpus_each), Pool(recipe, store.path, num_workers, work, warn, modules) as pool:
        yield pool


class Scheduler(Generic[U]):
    """Does the units of one store. Use as a context manager, which ends the workers.

    Args:
        store: The store that units are published in.
        num_workers: Number of units at a time; None: `kerf.runs.execution.limits.allowance`.
        console: Console for messages.
        start: Starts a number of workers; called when there is a unit to do.
        announce: Returns the message printed then.
        at_most: Maximum number of units at a time in later calls of `do`, if larger than in the first call.
        compiles: Whether the units use the kernels of PPO, which are then compiled ahead.
    """

    def __init__(
        self,
        store: Store,
        num_workers: int | None,
        console: Console,
        start: Callable[[int], AbstractContextManager[Runner[U]]],
        announce: Callable[[Plan[U]], str],
        at_most: int = 1,
        compiles: bool = False,
    ) -> None:
        self._store, self._console, self._start, self._announce = store, console, start, announce
        self._allowed = allowance() if num_workers is None else Allowance(num_workers)
        self._at_most, self._compiles = at_most, compiles
        self._verified = set[U]()
        self._runner: Runner[U] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)  # workers end differently after a signal

    def finished(self, unit: U) -> bool:
        """Return whether a unit is finished; its files are verified against their hashes once.

        Raises:
            KerfError: if its files were changed.
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
        on_published: Callable[[U], None] = lambda unit: None,
    ) -> bool:
        """Do the unfinished ones of `units` in order; failures are printed and written to `timing.jsonl`.

        Args:
            units: The units to do.
            monitor: Makes the progress display for the units to do.
            needs: Returns the units that must be finished before a unit can begin.
            rules_out: Given a finished unit and all others, returns those to be cancelled.
            on_published: Called with each published unit.

        Returns:
            Whether all units that were not cancelled are done.

        Raises:
            DiskError: if a unit cannot be written to disk; the remaining units are not done then.
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
                on_published(unit)
                return dropped

            failures = runner.run(todo, needs, shown.progress, on_done)
        return self._report(failures)

    def _workers(self, plan: Plan[U]) -> Runner[U]:
        """Return the workers; starts them at the first call."""
        if self._runner is None:
            if self._allowed.why and plan.workers == self._allowed.workers < max(len(plan.todo), self._at_most):
                say(self._console, f"workers: {plan.workers} for {self._allowed.why}; --workers N asks for N")
            say(self._console, self._announce(plan))
            if self._compiles and will_fork():  # Ray's workers may be on other machines
                compile_ahead(partial(say, self._console))
            say(self._console, f"starting {plan.workers} worker{'s' * (plan.workers != 1)} (some ten seconds) ...")
            self._runner = self._stack.enter_context(self._start(plan.workers))
        return self._runner

    def _report(self, failures: Sequence[Failure]) -> bool:
        """Report failures; return whether there are none."""
        for failure in sorted(failures, key=lambda failure: failure.disk):
            if failure.disk:  # sorted last, so that the others are reported; it cannot be written to timing.jsonl
                raise DiskError(f"{failure.unit.name}: {failure.why}")
            say(self._console, f"failed: {failure.unit.name}: {failure.why}")
            self._store.append_timing({"failed": failure.unit.name, "why": failure.why, "traceback": failure.traceback})
        if failures:
            say(
                self._console,
                "The records so far are kept (tracebacks: timing.jsonl); the same command tries again what is missing.",
            )
        return not failures
