"""The scheduler of studies, sweeps and attacks: what it leaves out, what it says, and that its workers end."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.runs.execution.progress import Display
from kerf.runs.execution.schedule import Failure
from kerf.runs.execution.scheduler import Plan, Scheduler
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.store import ALIGNED, Store, Unit

FIRST, SECOND = Unit(ALIGNED, 0), Unit(ALIGNED, 1)
CELLS = [Unit("cell", 0), Unit("cell", 1)]
UNITS = [FIRST, SECOND, *CELLS]


class InThisProcess:
    """Publishes units one after another, but for those whose arm or seed it is told to fail."""

    def __init__(self, store: Store, failures: Sequence[Failure] = (), interrupted: bool = False) -> None:
        self._store, self._failures, self._interrupted = store, failures, interrupted
        self.did = list[Unit]()

    def run(
        self,
        units: Sequence[Unit],
        needs: Callable[[Unit], Sequence[Unit]],
        on_progress: Callable[[object], None],
        on_done: Callable[[Unit], Sequence[Unit]],
    ) -> list[Failure]:
        left_out = {failure.unit for failure in self._failures}
        for unit in units:
            if unit in left_out:
                continue
            assert all(map(self._store.finished, needs(unit)))
            with self._store.unit(unit) as folder:
                folder.write_text("a", unit.name)
            self.did.append(unit)
            left_out.update(on_done(unit))
            if self._interrupted:
                raise KeyboardInterrupt
        return list(self._failures)


class Setting:
    """A store, what is printed, and the workers that were started and ended."""

    def __init__(self, root: Path, failures: Sequence[Failure] = (), interrupted: bool = False) -> None:
        self.store, self.console = Store(root), Console(file=io.StringIO(), width=200)
        self.runner = InThisProcess(self.store, failures, interrupted)
        self.started, self.ended = list[int](), 0

    @contextmanager
    def start(self, num_workers: int) -> Iterator[InThisProcess]:
        self.started.append(num_workers)
        try:
            yield self.runner
        finally:
            self.ended += 1

    def scheduler(self, at_most: int = 1) -> Scheduler[Unit]:
        def announce(plan: Plan[Unit]) -> str:
            return f"{len(plan.todo)} on {plan.workers}{plan.already}"

        return Scheduler(self.store, 3, self.console, self.start, announce, at_most)

    def monitor(self, todo: Sequence[Unit]) -> Display:
        return Display(self.console, dict.fromkeys(todo, 1))

    @property
    def printed(self) -> str:
        return self.console.file.getvalue()


def needs(unit: Unit) -> list[Unit]:
    return [] if unit.arm == ALIGNED else [Unit(ALIGNED, unit.seed)]


def second_fails(unit: Unit, others: Sequence[Unit]) -> list[Unit]:
    return [other for other in others if unit == SECOND and other == CELLS[1]]


def test_what_is_finished_is_left_out_and_so_is_what_it_rules_out(tmp_path: Path) -> None:
    first = Setting(tmp_path)
    with first.scheduler() as scheduler:
        assert scheduler.do([FIRST, SECOND], first.monitor)
        assert scheduler.do(UNITS, first.monitor, needs=needs, rules_out=second_fails), "on the same workers"
        assert first.ended == 0
    assert (first.started, first.ended) == ([2], 1)
    assert first.runner.did == [FIRST, SECOND, CELLS[0]]
    assert first.printed.startswith("2 on 2\n")
    again = Setting(tmp_path)
    with again.scheduler() as scheduler:
        assert scheduler.do(UNITS, again.monitor, needs=needs, rules_out=second_fails)
        assert scheduler.finished(CELLS[0])
        assert not scheduler.finished(CELLS[1])
    assert (again.started, again.printed) == ([], ""), "no worker is started for nothing"


def test_workers_are_enough_for_what_comes_later(tmp_path: Path) -> None:
    for index, (at_most, workers) in enumerate(((1, 1), (2, 2), (9, 3))):
        setting = Setting(tmp_path / str(index))
        with setting.scheduler(at_most) as scheduler:
            assert scheduler.do([FIRST], setting.monitor)
        assert setting.started == [workers]


def test_what_a_unit_rules_out_is_dropped_as_soon_as_it_is_done(tmp_path: Path) -> None:
    setting, heard = Setting(tmp_path), list[Unit]()
    with setting.scheduler() as scheduler:
        assert scheduler.do(UNITS, setting.monitor, needs=needs, rules_out=second_fails, on_published=heard.append)
    assert heard == setting.runner.did == [FIRST, SECOND, CELLS[0]]


def test_failures_are_said_and_written_down(tmp_path: Path) -> None:
    setting = Setting(tmp_path, [Failure(SECOND, "it is odd", "Traceback"), Failure(CELLS[1], "it needs another")])
    with setting.scheduler() as scheduler:
        assert not scheduler.do(UNITS, setting.monitor, needs=needs)
    assert "failed: aligned/seed-1: it is odd\nfailed: cells/cell/seed-1: it needs another\n" in setting.printed
    assert "the same command tries again what is missing" in setting.printed
    assert [entry["traceback"] for entry in setting.store.timing() if "failed" in entry] == ["Traceback", ""]


def test_a_disk_that_fails_is_raised_after_all_else_was_told(tmp_path: Path) -> None:
    setting = Setting(tmp_path, [Failure(FIRST, "no room", disk=True), Failure(SECOND, "it is odd")])
    with setting.scheduler() as scheduler, pytest.raises(DiskError, match="aligned/seed-0: no room"):
        scheduler.do([FIRST, SECOND], setting.monitor)
    assert "failed: aligned/seed-1: it is odd" in setting.printed
    assert setting.ended == 1


def test_an_interrupt_leaves_no_worker(tmp_path: Path) -> None:
    setting = Setting(tmp_path, interrupted=True)
    with pytest.raises(KeyboardInterrupt), setting.scheduler() as scheduler:
        scheduler.do(UNITS, setting.monitor, needs=needs)
    assert (setting.ended, setting.store.units()) == (1, [FIRST])


def test_a_damaged_unit_is_no_finished_one(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    with setting.scheduler() as scheduler:
        assert scheduler.do([FIRST], setting.monitor)
    (tmp_path / FIRST.name / "a").write_text("another")
    with setting.scheduler() as scheduler, pytest.raises(KerfError, match="is damaged"):
        scheduler.do(UNITS, setting.monitor)


def test_fewer_workers_than_could_work_are_explained_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    setting = Setting(tmp_path)
    with Scheduler(setting.store, None, setting.console, setting.start, lambda plan: "units") as scheduler:
        assert scheduler.do(UNITS, setting.monitor, needs=needs)
    assert setting.started == [1]
    assert setting.printed.count("workers: 1 for SLURM_CPUS_PER_TASK=1; --workers N asks for N") == 1
