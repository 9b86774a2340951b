"""Progress of a study: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kerf.runs.records.store import Unit
from kerf.runs.terminal.console import say
from kerf.runs.terminal.pace import EVERY

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress as UnitProgress


LONG = 5.0
"""Seconds until the first iteration that are worth a line."""


def title(unit: Unit) -> str:
    """Return the name of a unit for display: `penalised seed 0`."""
    return f"{unit.arm} seed {unit.seed}"


class Display:
    """Progress display of the running units and the whole study. Use as a context manager.

    Args:
        console: The console to print to.
        iterations: Training iterations of each unit to do.
        name: Returns the displayed name of a unit.
        note: Returns a text appended to the line of a finished unit.
        clock: Seconds, as `time.monotonic` gives them.
    """

    def __init__(
        self,
        console: Console,
        iterations: dict[Unit, int],
        name: Callable[[Unit], str] = title,
        note: Callable[[Unit], str] = lambda unit: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._title, self._note = name, note
        self._width = max((len(self._title(unit)) for unit in iterations), default=0)
        self._iterations = iterations
        self._total = sum(iterations.values())
        self._done_before: dict[Unit, int] = {}
        self._finished = 0
        self._latest: dict[Unit, UnitProgress] = {}
        self._clock = clock
        self._began = self._said = clock()
        self._has_begun = False
        self._bars = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}", justify="right"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            speed_estimate_period=20,
        )
        self._tasks: dict[Unit, TaskID] = {}
        self._whole = self._bars.add_task("study (iterations)", total=self._total, speed="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def progress(self, progress: UnitProgress) -> None:
        """Show a progress report of a running unit."""
        unit = progress.unit
        self._latest[unit] = progress
        if progress.note:
            say(self._console, f"{self._title(unit)}: {progress.note}")
        if unit not in self._tasks:
            self._tasks[unit] = self._bars.add_task(self._title(unit), total=progress.iterations, speed="")
        speed = f"{progress.env_steps / progress.seconds:,.0f} steps/s" if progress.seconds > 0 else ""
        self._bars.update(self._tasks[unit], completed=progress.iteration, speed=speed)
        self._bars.update(self._whole, completed=self._completed())
        self._say_how_far(progress)

    def _say_how_far(self, progress: UnitProgress) -> None:
        """Say that training began if that took long, and without bars after `EVERY` silent seconds how far it is."""
        now = self._clock()
        if not self._has_begun:
            self._has_begun = True
            if now - self._began >= LONG:
                say(self._console, f"first iteration after {now - self._began:.0f} s")
        elif self._console.is_terminal or now - self._said < EVERY:
            return
        else:
            units = ", ".join(
                f"{self._title(unit)} {latest.iteration}/{latest.iterations}" for unit, latest in self._latest.items()
            )
            say(self._console, f"iterations: {units}{self._left()}")
        self._said = now

    def finished(self, unit: Unit) -> None:
        """Show that a unit is published."""
        self._finished += 1
        self._said = self._clock()
        latest = self._latest.pop(unit, None)
        self._done_before[unit] = self._iterations[unit]
        if unit in self._tasks:
            self._bars.remove_task(self._tasks.pop(unit))
        self._bars.update(self._whole, completed=self._completed())
        trained = ""
        if latest is not None:
            trained = f"  {latest.env_steps:>9,} steps  {latest.env_steps / latest.seconds:>7,.0f} steps/s"
        place = f"[{self._finished:>3}/{len(self._iterations)}]"
        say(
            self._console,
            f"{place} {self._title(unit):<{max(24, self._width)}}{trained:<36}{self._left()}{self._note(unit)}",
        )

    def dropped(self, units: Sequence[Unit]) -> None:
        """Remove cancelled units from the total."""
        for unit in units:
            self._total -= self._iterations.pop(unit, 0)
        self._bars.update(self._whole, total=self._total)

    def _completed(self) -> int:
        return sum(self._done_before.values()) + sum(progress.iteration for progress in self._latest.values())

    def _left(self) -> str:
        done = self._completed()
        if not done or done >= self._total:
            return ""
        seconds = (self._clock() - self._began) / done * (self._total - done)
        return f"  about {seconds / 60:.1f} min left"
