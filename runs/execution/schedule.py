"""Schedule of units: their dependencies, which are finished, failed tries, and when to retry.

This module uses no clock, disk or worker. `Schedule` keeps the state; `next_step` decides from a `Snapshot` of it;
`kerf.runs.execution.pool` carries the decision out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from kerf.runs.execution.worker import Fault
from kerf.runs.records.store import Named

MAX_TRIES = 3
"""Number of tries from the same iteration after which a unit is given up."""

BACKOFF = 1.0
"""Seconds of pause before the second try; four times as many before the third."""

U = TypeVar("U", bound=Named)


@dataclass(frozen=True)
class Attempt:
    """A failed try of a unit.

    Attributes:
        at: Time of failure, in seconds of a monotonic clock.
        fault: Kind of failure.
        why: The reason, in a sentence.
        details: The worker's traceback or last output, in plain text; empty if there is none.
        begun_at: First training iteration that it reported; -1 if it reported none.
    """

    at: float
    fault: Fault
    why: str
    details: str = ""
    begun_at: int = -1

    @property
    def final(self) -> bool:
        """Whether another try would fail too: an error of the user or of the disk."""
        return self.fault in (Fault.REFUSED, Fault.DISK)

    @property
    def sentence(self) -> str:
        """The failure in a sentence."""
        return f"its worker died: {self.why}" if self.fault is Fault.DIED else self.why


@dataclass(frozen=True)
class Failure:
    """A unit that could not be done.

    Attributes:
        unit: The unit.
        why: The reason, in a sentence.
        traceback: The worker's traceback or last output, in plain text; empty if there is none.
        disk: Whether the unit could not be written to disk.
    """

    unit: Named
    why: str
    traceback: str = ""
    disk: bool = False


def tries_in_place(attempts: Iterable[Attempt]) -> int:
    """Count the latest tries that began at the same iteration; a try that begins later restarts the count."""
    tries, furthest = 0, -1
    for attempt in attempts:
        tries = 1 if -1 < furthest < attempt.begun_at else tries + 1
        furthest = max(furthest, attempt.begun_at)
    return tries


def next_try(attempts: Sequence[Attempt]) -> float | None:
    """Return the time from which a unit with these failed tries may be retried; None: it is given up."""
    if not attempts:
        return 0.0
    tries = tries_in_place(attempts)
    if attempts[-1].final or tries >= MAX_TRIES:
        return None
    return attempts[-1].at + BACKOFF * 4.0 ** (tries - 1)


@dataclass(frozen=True)
class Snapshot(Generic[U]):
    """Everything that determines which units run next.

    Attributes:
        waiting: Units that are neither running nor given up, in the order in which to begin them.
        needs: For each unit, the units that must be finished before it begins.
        finished: Units that are finished.
        running: Units that are running on a worker.
        attempts: Failed tries, by unit.
        idle: Number of workers that are ready for a unit.
        workers: Number of all workers.
        now: Current time, by the clock of `Attempt.at`.
    """

    waiting: Collection[U]
    needs: Mapping[U, Sequence[U]]
    finished: Collection[U]
    running: Collection[U]
    attempts: Mapping[U, Sequence[Attempt]]
    idle: int
    workers: int
    now: float


@dataclass(frozen=True)
class Step(Generic[U]):
    """A decision for a `Snapshot`.

    Attributes:
        begin: Units to begin on idle workers now.
        alone: Whether the single unit of `begin` is the only one on the workers.
        wake: Time at which to decide again even without an event; None: only after an event.
        over: Whether no remaining unit can begin, unless units that `blocked` need are finished elsewhere.
        blocked: The units that remain then, each with the first unfinished unit that it needs.
    """

    begin: tuple[U, ...] = ()
    alone: bool = False
    wake: float | None = None
    over: bool = False
    blocked: tuple[tuple[U, U], ...] = ()


def next_step(at: Snapshot[U]) -> Step[U]:
    """Decide which units begin next. A pure function of the snapshot.

    Units begin in the order of `waiting`, while there are idle workers, once the units that they need are finished and
    the pause after their latest failure is over.
    """
    pauses = {unit: when for unit in at.attempts if (when := next_try(at.attempts[unit])) is not None}
    # Take one more than the number of idle workers, to know whether a unit is alone.
    enough = max(at.idle, 2 if at.workers > 1 and not at.running else 1)
    ready = (unit for unit in at.waiting if pauses.get(unit, 0.0) <= at.now and not _lacks(at, unit))
    found = list(islice(ready, enough)) if at.idle else []
    wake = min((pauses[unit] for unit in pauses if unit in at.waiting and pauses[unit] > at.now), default=None)
    if found:
        return Step(tuple(found[: at.idle]), len(found) == 1 and not at.running, wake)
    if at.running or wake is not None or (at.waiting and not at.idle):
        return Step(wake=wake)
    return Step(over=True, blocked=tuple((unit, _lacks(at, unit)[0]) for unit in at.waiting))


def _lacks(at: Snapshot[U], unit: U) -> list[U]:
    return [needed for needed in at.needs[unit] if needed not in at.finished]


@dataclass
class _Begun:
    """State of a running unit: the first iteration that it reported, or -1."""

    at: int = -1


@dataclass
class Schedule(Generic[U]):
    """State of a set of units: waiting, running, finished or failed.

    Args:
        units: The units to do, in the order in which to begin them.
        needs: Returns the units that must be finished before a unit begins; called once per unit.
    """

    units: Iterable[U]
    needs: Callable[[U], Sequence[U]]
    failures: list[Failure] = field(default_factory=list, init=False)
    """Units that were given up, in that order."""

    def __post_init__(self) -> None:
        self._waiting: dict[U, None] = dict.fromkeys(self.units)
        self._needs = {unit: tuple(self.needs(unit)) for unit in self._waiting}
        self._finished, self._running = set[U](), dict[U, _Begun]()
        self._attempts: dict[U, list[Attempt]] = {}
        self._needed = {each for needed in self._needs.values() for each in needed}
        outside = (each for needed in self._needs.values() for each in needed if each not in self._waiting)
        self._elsewhere: dict[U, None] = dict.fromkeys(outside)

    def snapshot(self, now: float, idle: int, workers: int) -> Snapshot[U]:
        """Return a view of the present state. Use it at once: later changes of the schedule show in it."""
        return Snapshot(
            self._waiting.keys(), self._needs, self._finished, self._running.keys(), self._attempts, idle, workers, now
        )

    def elsewhere(self) -> list[U]:
        """Return needed units that will not be done here; another process may have finished them."""
        return list(self._elsewhere)

    def found(self, unit: U) -> None:
        """Record that a unit of `elsewhere` is finished."""
        del self._elsewhere[unit]
        self._finished.add(unit)

    def begin(self, unit: U) -> None:
        """Record that a worker has begun the unit."""
        del self._waiting[unit]
        self._running[unit] = _Begun()

    def made_progress(self, unit: U, iteration: int) -> None:
        """Record a progress report of a running unit."""
        if self._running[unit].at < 0:
            self._running[unit].at = iteration

    def finish(self, unit: U) -> None:
        """Record that a running unit is finished."""
        del self._running[unit]
        self._finished.add(unit)

    def drop(self, units: Iterable[U]) -> None:
        """Cancel waiting units; running ones go on."""
        for unit in units:
            self._waiting.pop(unit, None)

    def fail(self, unit: U, at: float, fault: Fault, why: str, details: str = "") -> str | None:
        """Record that a running unit failed. It waits for another try, behind the other units, or is given up.

        Returns:
            A sentence about the retry; None if the unit is given up.
        """
        attempts = self._attempts.setdefault(unit, [])
        attempts.append(Attempt(at, fault, why, details, self._running.pop(unit).at))
        last, tries, again = attempts[-1], tries_in_place(attempts), next_try(attempts)
        disk_failed = any(failure.disk for failure in self.failures)
        if again is not None and not disk_failed:
            self._waiting[unit] = None
            return f"{last.sentence}; try {tries + 1} of {MAX_TRIES} in {again - at:g} s"
        sentence = last.sentence if last.final or disk_failed else f"set aside after {tries} tries: {last.sentence}"
        self.failures.append(Failure(unit, sentence, details, fault is Fault.DISK))
        if unit in self._needed:
            self._elsewhere[unit] = None
        if fault is Fault.DISK:
            self._waiting.clear()  # each would train to the end and then fail to be written too
        return None

    def give_up(self, reasons: Iterable[tuple[U, str]]) -> None:
        """Give up waiting units, each with its reason."""
        for unit, why in reasons:
            del self._waiting[unit]
            self.failures.append(Failure(unit, why))

    def give_up_all(self, why: str) -> None:
        """Give up all waiting units."""
        self.give_up([(unit, why) for unit in self._waiting])
