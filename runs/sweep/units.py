"""Units of a sweep: aligned agents, and cells with the settings recorded for their arm's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console

from kerf.runs.execution.progress import Display, title
from kerf.runs.execution.scheduler import Plan, Scheduler, start_workers
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.gate_records import has_passed, ruled_out
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.sweep.cells import SweptArm, TrialArms, cell_recipe, record
from kerf.runs.sweep.report import settings_text
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.trials import Trial

if TYPE_CHECKING:
    from kerf.runs.execution.pool import Runner
    from kerf.runs.execution.training_log import Progress

Start = Callable[[Recipe, Store, int], "AbstractContextManager[Runner[Unit]]"]
"""Factory of the runner of a sweep's units, from recipe, folder and number of parallel units."""


def sweep_unit(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[Progress]:
    """Do a unit in a worker; a cell's settings are those recorded for its arm's name."""
    from kerf.runs.execution.study_units import train

    asked = recipe if unit.arm == ALIGNED else cell_recipe(recipe, store, unit.arm)
    return train(asked, unit, store, num_threads)


def local_workers(recipe: Recipe, store: Store, num_workers: int) -> AbstractContextManager[Runner[Unit]]:
    """Long-lived workers on this machine."""
    from kerf.runs.execution.study_units import cpus_needed, modules_of, needs_ray

    def warn(why: str) -> None:
        store.append_timing({"warning": why})

    return start_workers(
        recipe,
        store,
        num_workers,
        sweep_unit,
        warn,
        [__name__, *modules_of(recipe)],
        on_ray=needs_ray(recipe),
        cpus_each=cpus_needed(recipe, 1),
    )


class SweepUnits:
    """The units of an open sweep folder. A context manager, which ends their workers.

    Args:
        recipe: The base recipe.
        spec: The sweep.
        store: The sweep's folder.
        num_workers: Number of parallel units; None: one per core, as memory allows.
        console: Console for progress.
        start: Starts the runner of the units.
        name: Name of the sweep.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: SweepSpec,
        store: Store,
        num_workers: int | None,
        console: Console,
        start: Start,
        name: str,
    ) -> None:
        self._recipe, self._spec, self._store, self._console = recipe, spec, store, console
        self._trial_arms = TrialArms(recipe, spec)
        self._swept: dict[str, SweptArm] = {}

        def announce(plan: Plan[Unit]) -> str:
            return f"{name} on {plan.workers} worker{'s' * (plan.workers != 1)}"

        self._scheduler = Scheduler(
            store,
            num_workers,
            console,
            partial(start, recipe, store),
            announce,
            _at_most(spec, recipe),
            compiles=recipe.exact is None,
        )
        self.finished = self._scheduler.finished

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scheduler.__exit__(kind, error, traceback)

    def arms(self, trial: Trial) -> tuple[str, str]:
        """Names of the swept arm and of its control in a trial; records their settings."""
        swept, control = self._trial_arms.of(trial.settings)
        for arm in (swept, control):
            record(self._store, arm)
            self._swept[arm.name] = arm
        return swept.name, control.name

    def do(
        self, arms: Sequence[str], seeds: Sequence[int], on_published: Callable[[Unit], None] = lambda unit: None
    ) -> bool:
        """Do the cells of `arms` at `seeds`, aligned agents first; returns whether all were done.

        `on_published` is called with each published unit.
        """
        units = [Unit(ALIGNED, seed) for seed in seeds]
        units += [Unit(name, seed) for name in dict.fromkeys(arms) for seed in seeds]
        return self._scheduler.do(
            units,
            self._monitor,
            needs=lambda unit: [] if unit.arm == ALIGNED else [Unit(ALIGNED, unit.seed)],
            rules_out=partial(ruled_out, self._store),
            on_published=on_published,
        )

    def gates_known(self, seeds: Sequence[int]) -> bool:
        """Whether the aligned agents of all `seeds` are finished."""
        return all(self.finished(Unit(ALIGNED, seed)) for seed in seeds)

    def passed(self, seeds: Sequence[int]) -> list[int]:
        """The seeds whose aligned agent is finished and passed the gate."""
        return [seed for seed in seeds if self.finished(Unit(ALIGNED, seed)) and has_passed(self._store, seed)]

    def _monitor(self, todo: Sequence[Unit]) -> Display:
        recipe = self._recipe
        iterations = {unit: recipe.align_iterations if unit.arm == ALIGNED else recipe.iterations for unit in todo}
        return Display(self._console, iterations, self._title, self._note)

    def _title(self, unit: Unit) -> str:
        """Title of a cell in progress output: its settings instead of the hash in its folder's name."""
        if unit.arm == ALIGNED:
            return title(unit)
        arm = self._swept[unit.arm]
        at = settings_text(self._spec, arm.settings)
        return title(Unit(arm.arm, unit.seed)) + (f" at {at}" if at else "")

    def _note(self, unit: Unit) -> str:
        return "  GATE NOT PASSED" if unit.arm == ALIGNED and not has_passed(self._store, unit.seed) else ""


def _at_most(spec: SweepSpec, recipe: Recipe) -> int:
    """Maximum number of parallel cells: those of trials asked for together, and of their controls."""
    trials = spec.batch if spec.mode == "pareto" else math.prod(len(axis.grid(spec.points)) for axis in spec.over)
    return 2 * trials * recipe.seeds
