"""Schedule of units: what each of them needs, what is finished, which tries failed, and when to try again.

No clock, no disk and no worker is touched here. `Schedule` keeps what happened; `next_step` decides from one `Snapshot`
of it, so that nothing can change between two looks. `kerf.runs.execution.pool` acts on the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from kerf.runs.execution.worker import Fault
from kerf.runs.records.store import Named

MAX_TRIES = 3
"""Times that a unit is begun from the same place: one that fails so often is set aside."""

BACKOFF = 1.0
"""Seconds before the second try; before the third it is four times as many."""

U = TypeVar("U", bound=Named)


@dataclass(frozen=True)
class Attempt:
    """A try of a unit that came to nothing.

    Attributes:
        at: When it failed, by a monotonic clock in seconds.
        fault: What became of it.
        why: A sentence.
        details: The worker's traceback, or the last that it wrote, in plain text, if there is one.
        begun_at: The training iteration that it began at; -1 if that was never heard.
    """

    at: float
    fault: Fault
    why: str
    details: str = ""
    begun_at: int = -1

    @property
    def final(self) -> bool:
        """Whether another try would fail, too: the user's mistake, or the disk."""
        return self.fault in (Fault.REFUSED, Fault.DISK)

    @property
    def sentence(self) -> str:
        """What happened."""
        return f"its worker died: {self.why}" if self.fault is Fault.DIED else self.why


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


def tries_in_place(attempts: Iterable[Attempt]) -> int:
    """How many of the latest tries began at the same place: one that begins further on starts the count anew."""
    tries, furthest = 0, -1
    for attempt in attempts:
        tries = 1 if -1 < furthest < attempt.begun_at else tries + 1
        furthest = max(furthest, attempt.begun_at)
    return tries


def next_try(attempts: Sequence[Attempt]) -> float | None:
    """When a unit with these failed tries may be begun; None: it is given up."""
    if not attempts:
        return 0.0
    tries = tries_in_place(attempts)
    if attempts[-1].final or tries >= MAX_TRIES:
        return None
    return attempts[-1].at + BACKOFF * 4.0 ** (tries - 1)


@dataclass(frozen=True)
class Snapshot(Generic[U]):
    """All that decides what runs next.

    Attributes:
        waiting: Units to do that are neither running nor given up, in the order in which they are to be begun.
        needs: What must be finished before each can begin.
        finished: Units that are finished.
        running: Units that a worker has.
        attempts: The failed tries of each unit that has any.
        idle: Workers that are ready for a unit.
        workers: Workers in all.
        now: The time, by the clock of `Attempt.at`.
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
    """What is to be done at a `Snapshot`.

    Attributes:
        begin: Units to give to idle workers now.
        alone: Whether the one of `begin` has all workers for itself.
        wake: When to decide again even if nothing happens; None: not before something does.
        over: Whether nothing is left that could ever be begun, unless something else finishes what `blocked` need.
        blocked: The units left then, each with the first unit that it needs in vain.
    """

    begin: tuple[U, ...] = ()
    alone: bool = False
    wake: float | None = None
    over: bool = False
    blocked: tuple[tuple[U, U], ...] = ()


def next_step(at: Snapshot[U]) -> Step[U]:
    """Decide what runs next. Pure: equal snapshots give equal steps.

    A unit is begun once what it needs is finished and the pause after its latest failure is over, in the order of
    `waiting`, as long as there are idle workers.
    """
    pauses = {unit: when for unit in at.attempts if (when := next_try(at.attempts[unit])) is not None}
    # One more than there are idle workers tells whether a unit is alone.
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
    """A running unit, and the iteration that it began at."""

    at: int = -1


@dataclass
class Schedule(Generic[U]):
    """What has happened to units of work so far.

    Args:
        units: What to do, in the order in which it is to be begun.
        needs: What must be finished before a unit can begin; asked once of each.
    """

    units: Iterable[U]
    needs: Callable[[U], Sequence[U]]
    failures: list[Failure] = field(default_factory=list, init=False)
    """Units that could not be done, in the order in which they were given up."""

    def __post_init__(self) -> None:
        self._waiting: dict[U, None] = dict.fromkeys(self.units)
        self._needs = {unit: tuple(self.needs(unit)) for unit in self._waiting}
        self._finished, self._running = set[U](), dict[U, _Begun]()
        self._attempts: dict[U, list[Attempt]] = {}
        self._needed = {each for needed in self._needs.values() for each in needed}
        outside = (each for needed in self._needs.values() for each in needed if each not in self._waiting)
        self._elsewhere: dict[U, None] = dict.fromkeys(outside)

    def snapshot(self, now: float, idle: int, workers: int) -> Snapshot[U]:
        """All of it as it is now. It is read at once: what happens afterwards changes it."""
        return Snapshot(
            self._waiting.keys(), self._needs, self._finished, self._running.keys(), self._attempts, idle, workers, now
        )

    def elsewhere(self) -> list[U]:
        """Units that others need and that nobody here is going to do: somebody else may have finished them."""
        return list(self._elsewhere)

    def found(self, unit: U) -> None:
        """A unit of `elsewhere` is finished."""
        del self._elsewhere[unit]
        self._finished.add(unit)

    def begin(self, unit: U) -> None:
        """A worker has the unit."""
        del self._waiting[unit]
        self._running[unit] = _Begun()

    def heard(self, unit: U, iteration: int) -> None:
        """A running unit is so far."""
        if self._running[unit].at < 0:
            self._running[unit].at = iteration

    def finish(self, unit: U) -> None:
        """A running unit is done."""
        del self._running[unit]
        self._finished.add(unit)

    def drop(self, units: Iterable[U]) -> None:
        """Units are not to be done after all; those that run go on."""
        for unit in units:
            self._waiting.pop(unit, None)

    def fail(self, unit: U, at: float, fault: Fault, why: str, details: str = "") -> str | None:
        """A running unit came to nothing: it waits for another try, behind the others, or is given up.

        Returns:
            That it is tried again, in a sentence; None if it is given up.
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
            self._waiting.clear()  # each would train to its end, only to find the disk as it is now
        return None

    def give_up(self, reasons: Iterable[tuple[U, str]]) -> None:
        """Waiting units cannot be done, each for its reason."""
        for unit, why in reasons:
            del self._waiting[unit]
            self.failures.append(Failure(unit, why))

    def give_up_all(self, why: str) -> None:
        """No waiting unit can be done."""
        self.give_up([(unit, why) for unit in self._waiting])
