"""What runs next: single decisions, and whole runs of a pool on simulated workers, disk and clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kerf.runs.execution.pool import Pool
from kerf.runs.execution.schedule import (
    BACKOFF,
    MAX_TRIES,
    Attempt,
    Schedule,
    Snapshot,
    Step,
    next_step,
    next_try,
    tries_in_place,
)
from kerf.runs.execution.worker import Fault, WorkerError
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Unit

SMOKE = load_recipe("smoke")
A, B, C, D = (Unit("cell", seed) for seed in range(4))
ENDLESS = 500
"""Turns after which a run that goes well must be over."""


def at(now: float = 0.0, idle: int = 1, workers: int = 2, **known: Any) -> Snapshot[Unit]:
    usual: dict[str, Any] = {"waiting": (A, B, C), "finished": (), "running": (), "attempts": {}}
    needs = dict.fromkeys((A, B, C, D), ()) | known.pop("needs", {})
    return Snapshot(**(usual | known), needs=needs, idle=idle, workers=workers, now=now)


def failed(*times: float, begun_at: int = -1, fault: Fault = Fault.RAISED) -> list[Attempt]:
    return [Attempt(when, fault, "odd", begun_at=begun_at) for when in times]


@pytest.mark.parametrize(
    ("snapshot", "step"),
    [
        (at(), Step((A,))),
        (at(idle=2), Step((A, B))),
        (at(waiting=(A,)), Step((A,), alone=True)),
        (at(waiting=(A,), running=(B,)), Step((A,))),
        (at(workers=1), Step((A,), alone=True)),
        (at(idle=0), Step()),
        (at(needs={A: (D,)}), Step((B,))),
        (at(needs={A: (D,)}, finished={D}), Step((A,))),
        (at(needs={A: (B,)}, waiting=(A, B), idle=2), Step((B,), alone=True)),
        (at(1.0, attempts={A: failed(0.5)}), Step((B,), wake=1.5)),
        (at(1.5, attempts={A: failed(0.5)}), Step((A,))),
        (at(1.0, waiting=(A,), attempts={A: failed(0.5)}), Step(wake=1.5)),
        (at(1.0, waiting=(A,), idle=0, attempts={A: failed(0.5)}), Step(wake=1.5)),
        (at(2.0, waiting=(A,), attempts={A: failed(0.0, 1.1)}), Step(wake=5.1)),
        (at(waiting=(), running=(A,)), Step()),
        (at(waiting=()), Step(over=True)),
        (at(waiting=(), idle=0), Step(over=True)),
        (at(needs={A: (D,), B: (D,), C: (A,)}), Step(over=True, blocked=((A, D), (B, D), (C, A)))),
        (at(needs={A: (D,)}, waiting=(A,), running=(B,)), Step()),
    ],
)
def test_a_step_follows_from_one_snapshot(snapshot: Snapshot[Unit], step: Step[Unit]) -> None:
    assert next_step(snapshot) == step


def test_pauses_grow_and_tries_end_unless_a_unit_gets_on() -> None:
    assert [next_try(failed(*([10.0] * n))) for n in range(MAX_TRIES + 1)] == [
        0.0,
        10 + BACKOFF,
        10 + 4 * BACKOFF,
        None,
    ]
    further = [attempt for begun in range(9) for attempt in failed(10.0, begun_at=10 * begun)]
    assert (tries_in_place(further), next_try(further)) == (1, 10 + BACKOFF)
    assert tries_in_place([*failed(1.0), *further[:1], *further[:1]]) == MAX_TRIES
    assert next_try(failed(1.0, fault=Fault.REFUSED)) is next_try(failed(1.0, fault=Fault.DISK)) is None


def test_after_the_disk_failed_nothing_is_begun_nor_tried_again() -> None:
    schedule = Schedule([A, B, C], lambda unit: ())
    schedule.begin(A)
    schedule.begin(B)
    assert schedule.fail(A, 0.0, Fault.DISK, "no room") is None
    assert schedule.fail(B, 0.0, Fault.DIED, "SIGKILL") is None
    assert [(failure.unit, failure.why, failure.disk) for failure in schedule.failures] == [
        (A, "no room", True),
        (B, "its worker died: SIGKILL", False),
    ]
    assert next_step(schedule.snapshot(9.0, 2, 2)) == Step(over=True)


class SimulatedWorker:
    """Says what the machine below has it say."""

    def __init__(self, begun: Callable[[Unit], None]) -> None:
        self._begun = begun
        self.says: object | WorkerError | None = None
        self.ended = False

    def begin(self, unit: Unit, alone: bool) -> None:
        self._begun(unit)

    def receive(self) -> Any:
        if isinstance(self.says, WorkerError):
            raise self.says
        return self.says

    def end(self) -> None:
        self.ended = True


class SimulatedCrew:
    """Starts such workers."""

    why_late = "nobody is late here"

    def __init__(self, begun: Callable[[Unit], None]) -> None:
        self._begun = begun

    def start(self) -> SimulatedWorker:
        return SimulatedWorker(self._begun)

    def wait(self, workers: Collection[SimulatedWorker], timeout: float | None) -> SimulatedWorker | None:
        raise AssertionError("the machine says whose turn it is")


class SimulatedPool(Pool[Unit]):
    """The real pool on a simulated disk."""

    disk: set[Unit]

    def _on_disk(self, unit: Unit) -> bool:
        return unit in self.disk


class TwoLooks(SimulatedPool):
    """As the pool once decided: it read the clock once for what begins and once for what pauses, and the disk for what
    a unit lacks whenever it asked."""

    def act(self, schedule: Schedule[Unit]) -> tuple[bool, float | None]:
        def lacks(unit: Unit) -> list[Unit]:
            return [needed for needed in schedule._needs[unit] if not self._on_disk(needed)]

        def paused() -> list[float]:
            now = self._clock()
            times = [next_try(schedule._attempts.get(unit, ())) for unit in schedule._waiting]
            return [when for when in times if when is not None and when > now]

        now = self._clock()
        ready = [
            unit
            for unit in schedule._waiting
            if (next_try(schedule._attempts.get(unit, ())) or 0.0) <= now and not lacks(unit)
        ]
        for unit in ready[: len(self._idle)]:
            worker = self._idle.pop()
            schedule.begin(unit)
            self._busy[worker] = unit
            worker.begin(unit, False)
        if self._idle and not ready and not self._busy and not paused():
            reasons = [(unit, f"it needs {lacks(unit)[0].name}, which is missing") for unit in schedule._waiting]
            schedule.give_up(reasons)
        return not schedule._waiting and not self._busy, min(paused(), default=None)


class Machine(RuleBasedStateMachine):
    """A pool whose workers, disk and clock do what Hypothesis picks; the machine keeps its own books."""

    pool_class: type[SimulatedPool] = SimulatedPool

    @initialize(
        num_workers=st.integers(1, 3),
        needs=st.lists(st.lists(st.integers(0, 7), max_size=2), min_size=1, max_size=6),
        tick=st.sampled_from((0.0, 0.1 * BACKOFF, 0.5 * BACKOFF, 0.75 * BACKOFF)),
        born=st.integers(0, 3),
    )
    def begin_a_run(self, num_workers: int, needs: list[list[int]], tick: float, born: int) -> None:
        """Units need earlier ones, or some (of arm `other`) that nobody here does."""
        self.now, self.tick, self.over, self.to_act = 0.0, tick, False, True
        units = [Unit("cell", seed) for seed in range(len(needs))]
        self.needs = {
            unit: tuple({units[n] if n < index else Unit("other", n) for n in needs[index]})
            for index, unit in enumerate(units)
        }
        self.disk, self.begun = set[Unit](), list[Unit]()
        self.done, self.dropped, self.final = set[Unit](), set[Unit](), set[Unit]()
        self.failures: dict[Unit, list[float]] = {unit: [] for unit in units}
        self.pool = self.pool_class(
            SMOKE,
            Path("/nowhere"),
            num_workers,
            lambda *_: iter(()),
            crew=SimulatedCrew(self.begins),  # type: ignore[arg-type]
            clock=self.clock,
        )
        self.pool.disk = self.disk
        self.schedule = Schedule(units, self.needs.__getitem__)
        for worker in list(self.pool._starting)[:born]:
            self.say(worker, None)

    def clock(self) -> float:
        """Time goes on from each look at the clock to the next."""
        self.now += self.tick
        return self.now

    def begins(self, unit: Unit) -> None:
        assert not self.schedule._waiting.keys() & {unit}
        assert list(self.pool._busy.values()).count(unit) == 1, "a unit is with two workers"
        assert unit not in self.done | self.dropped | self.final
        assert set(self.needs[unit]) <= self.disk, "what it needs is not there"
        times = self.failures[unit]
        assert len(times) < MAX_TRIES
        assert not times or times[-1] + BACKOFF * 4 ** (len(times) - 1) <= self.now, "the pause is not over"
        self.begun.append(unit)

    def say(self, worker: Any, said: object | None, drop: Collection[Unit] = ()) -> None:
        def on_done(unit: Unit) -> Sequence[Unit]:
            self.done.add(unit)
            waiting = set(drop) & self.schedule._waiting.keys()
            self.dropped |= waiting
            return list(waiting)

        worker.says = said
        if self.pool.receive(worker, self.schedule, lambda progress: None, on_done):
            self.to_act = True

    @precondition(lambda self: not self.over)
    @rule(seconds=st.sampled_from((0.0, 0.1, BACKOFF / 2, BACKOFF, 4 * BACKOFF)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.to_act = True

    @invariant()
    def act(self) -> None:
        """What the pool does after each event."""
        if not self.to_act or self.over:
            return
        self.to_act = False
        idle, began = len(self.pool._idle), len(self.begun)
        before, disk = self.now, set(self.disk)
        self.over, wake = self.pool.act(self.schedule)
        left = self.schedule._waiting
        could = [unit for unit in left if set(self.needs[unit]) <= disk and self.may_at(unit) <= before]
        assert not could or not self.pool._idle, "a worker idles while there is work"
        assert len(self.begun) - began <= idle
        if wake is not None:
            assert any(self.may_at(unit) == wake for unit in left)
        if self.over:
            self.check_the_end()

    def may_at(self, unit: Unit) -> float:
        times = self.failures[unit]
        return times[-1] + BACKOFF * 4 ** (len(times) - 1) if times else 0.0

    @precondition(lambda self: not self.over and self.pool._starting)
    @rule(data=st.data())
    def a_worker_is_born(self, data: st.DataObject) -> None:
        self.say(data.draw(st.sampled_from(sorted(self.pool._starting, key=id))), None)

    @precondition(lambda self: not self.over and self.pool._busy)
    @rule(data=st.data(), iteration=st.integers(0, 3))
    def a_unit_gets_on(self, data: st.DataObject, iteration: int) -> None:
        """Tries that begin further on are tested above: here, all begin at 0."""
        worker = data.draw(st.sampled_from(list(self.pool._busy)))
        begun = self.schedule._running[self.pool._busy[worker]].at
        self.say(worker, SimpleNamespace(iteration=0 if begun < 0 else iteration))

    @precondition(lambda self: not self.over and self.pool._busy)
    @rule(data=st.data())
    def a_unit_is_done(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(list(self.pool._busy)))
        drop = data.draw(st.sets(st.sampled_from(list(self.needs)), max_size=1))
        self.disk.add(self.pool._busy[worker])
        self.say(worker, None, drop)

    @precondition(lambda self: not self.over and self.pool._busy)
    @rule(data=st.data(), fault=st.sampled_from((Fault.DIED, Fault.RAISED, Fault.REFUSED)), published=st.booleans())
    def a_worker_vanishes_or_its_unit_raises(self, data: st.DataObject, fault: Fault, published: bool) -> None:
        """Whatever happens to a worker after its unit is published is no failure."""
        worker = data.draw(st.sampled_from(list(self.pool._busy)))
        unit = self.pool._busy[worker]
        if published:
            self.disk.add(unit)
        self.say(worker, WorkerError(fault, "odd"))
        assert worker.ended == (fault is not Fault.REFUSED)
        if not published:
            self.failures[unit].append(self.now)
            if fault is Fault.REFUSED or len(self.failures[unit]) == MAX_TRIES:
                self.final.add(unit)

    @precondition(lambda self: not self.over)
    @rule(number=st.integers(0, 7))
    def somebody_else_finishes(self, number: int) -> None:
        self.disk.add(Unit("other", number))
        self.to_act = True

    @precondition(lambda self: self.over)
    @rule()
    def nothing_is_left_to_do(self) -> None:
        assert next_step(self.schedule.snapshot(self.now, len(self.pool._idle), 1)) == Step(over=True)

    def check_the_end(self) -> None:
        """Each unit was done, or dropped, or failed for a reason; and its worker is free again."""
        assert not self.pool._busy
        failed = {failure.unit: failure.why for failure in self.schedule.failures}
        assert len(failed) == len(self.schedule.failures)
        assert failed.keys() | self.done | self.dropped == self.needs.keys()
        assert not failed.keys() & (self.done | self.dropped)
        for unit, why in failed.items():
            if unit in self.final:
                assert why == "odd" or why.startswith(f"set aside after {len(self.failures[unit])} tries: "), why
            else:
                assert any(
                    needed not in self.disk and why == f"it needs {needed.name}, which is missing"
                    for needed in self.needs[unit]
                ), why

    def teardown(self) -> None:
        """From wherever it is, a run in which nothing more goes wrong comes to an end."""
        if not hasattr(self, "pool"):
            return
        for _ in range(ENDLESS):
            if self.over:
                return
            self.to_act = True
            self.act()
            for worker in list(self.pool._starting):
                self.say(worker, None)
            for worker, unit in list(self.pool._busy.items()):
                self.disk.add(unit)
                self.say(worker, None)
            self.now += BACKOFF
        raise AssertionError("the run does not end")


OFTEN = settings(
    max_examples=300, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def test_a_pool_begins_what_it_may_when_it_may_and_comes_to_an_end() -> None:
    run_state_machine_as_test(Machine, settings=OFTEN)


def test_the_machine_finds_a_decision_that_looks_twice() -> None:
    """A pause that ended between two looks at the clock once ended the whole run with an IndexError."""

    class Older(Machine):
        pool_class = TwoLooks

    with pytest.raises(IndexError):
        run_state_machine_as_test(Older, settings=settings(OFTEN, phases=[Phase.generate]))
