"""Command `kerf after`, and the after-tests that a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kerf.lab.errors import unknown_name
from kerf.runs.execution.progress import title
from kerf.runs.execution.scheduler import Plan, Scheduler, start_workers
from kerf.runs.execution.study_units import modules_of
from kerf.runs.recipe.after_plan import NAIVE, RECORD, TESTS, AfterSettings, AfterUnit, after_plan, units_of
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.gate_records import finished_seeds
from kerf.runs.records.store import Store
from kerf.runs.report.after.judged import AfterReport, judge_after
from kerf.runs.report.after.table import AfterTable
from kerf.runs.report.table import to_text
from kerf.runs.terminal.console import say, shell

if TYPE_CHECKING:
    from kerf.runs.execution.pool import Runner

MODULES = ("kerf.runs.after.unit",)
"""Modules that the tests import beside the trainer's, loaded before workers are forked."""

TEXT_WIDTH = 140
"""Characters per line in `after.txt`."""


def needed_by(recipe: Recipe) -> list[str]:
    """Return the modules that the tests of a study of `recipe` import, to be imported before workers are forked."""
    return [*MODULES, *modules_of(recipe)]


def make_tests(
    recipe: Recipe,
    store: Store,
    settings: AfterSettings,
    seeds: Sequence[int],
    workers: int | None,
    console: Console,
) -> AfterReport | None:
    """Make all tests that are not finished and write the report; None if some failed, which is printed.

    Writes `after.parquet` (figures), `after.json` (calls and effects) and `after.txt`.
    """
    plan = after_plan(recipe, settings)
    units = units_of(settings, plan, seeds)

    def start(num_workers: int) -> AbstractContextManager[Runner[AfterUnit]]:
        from kerf.runs.after.unit import after_unit

        def tell(why: str) -> None:
            say(console, f"warning: {why}")

        return start_workers(recipe, store, num_workers, after_unit, tell, needed_by(recipe), on_ray=False)

    def announce(plan: Plan[Any]) -> str:
        agents = len({unit.target for unit in units if unit.test != NAIVE})
        return f"after-tests: {len(plan.todo)} on {agents} agents, {plan.workers} at a time{plan.already}"

    with Scheduler(store, workers, console, start, announce, compiles=recipe.exact is None) as scheduler:
        complete = scheduler.do(units, lambda todo: _TestCount(console, todo))
    if not complete:
        return None
    report = judge_after(store, recipe, units, plan, settings)
    store.write_table(RECORD, report.figures)
    plain = {
        "value": report.value,
        "control": report.control,
        "settings": settings.model_dump(mode="json"),
        "tests": list(plan.tests),
        "arms": list(plan.arms),
        "not_made": dict(plan.not_made),
        "seeds": list(seeds),
        "became": [one.plain() for one in report.became],
    }
    store.write_json(RECORD, plain)
    store.write_text(f"{RECORD}.txt", to_text(AfterTable(report), TEXT_WIDTH))
    return report


class _TestCount:
    """Progress listener that prints a line when all tests of an agent, or all naive agents, are finished."""

    def __init__(self, console: Console, todo: Sequence[AfterUnit]) -> None:
        self._console, self._left = console, dict[tuple[bool, object], int]()
        for unit in todo:
            self._left[self._key(unit)] = self._left.get(self._key(unit), 0) + 1
        self._all, self._done = len(todo), 0

    @staticmethod
    def _key(unit: AfterUnit) -> tuple[bool, object]:
        return unit.test == NAIVE, unit.target

    def __enter__(self) -> _TestCount:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    def progress(self, progress: Any) -> None:
        """Tests report no intermediate progress."""

    def dropped(self, units: Sequence[AfterUnit]) -> None:
        """Tests are never dropped."""

    def finished(self, unit: AfterUnit) -> None:
        """Count a published test on its agent."""
        key = self._key(unit)
        self._done += 1
        self._left[key] -= 1
        if not self._left[key]:
            what = f"naive agent of seed {unit.target.seed}" if unit.test == NAIVE else title(unit.target)
            say(self._console, f"[{self._done:>4}/{self._all}] {what}")


def asked_settings(store: Store, tests: Sequence[str], arms: Sequence[str], iterations: int | None) -> AfterSettings:
    """Return the study's own settings of after-tests, or the defaults, with those changes that are given.

    Raises:
        KerfError: for an unknown test or arm, with the nearest spelling.
    """
    from kerf.runs.recipe.files import load_recipe

    recipe = load_recipe(str(store.path / "recipe.yaml"))
    for name in tests:
        if name not in TESTS:
            raise unknown_name("test", name, TESTS)
    for name in arms:
        if name not in recipe.arms:
            raise unknown_name(f"arm of {store.path}", name, recipe.arms)
    changes: dict[str, Any] = {
        **({"tests": tuple(test for test in TESTS if test in tests)} if tests else {}),
        **({"arms": tuple(arms)} if arms else {}),
        **({"iterations": iterations} if iterations is not None else {}),
    }
    return (recipe.after_tests or AfterSettings()).model_copy(update=changes)


def after_command(
    out: Path, settings: AfterSettings, workers: int | None, console: Console, tracking: str | None = None
) -> int:
    """Make after-tests on the study in `out`, print what became of the value; returns the exit code.

    Args:
        out: Folder of a finished study.
        settings: The tests.
        workers: Number of tests at a time; None: one per core, as memory allows.
        console: Console for progress and report.
        tracking: MLflow tracking URI; None: records on disk only.

    Raises:
        KerfError: if there is no finished study, or tests cannot be made.
    """
    from kerf.runs.execution.forked_workers import get_ready, will_fork
    from kerf.runs.execution.scheduler import DONE, FAILED
    from kerf.runs.recipe.files import load_recipe
    from kerf.runs.records.atomic_io import file_lock
    from kerf.runs.report.page.forked import make_page_of
    from kerf.runs.tracking.studies import import_early, sync

    store = Store(out)
    store.manifest()
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    seeds = finished_seeds(store, recipe.seed_numbers, recipe.arms)
    after_plan(recipe, settings)  # refuses before any work
    if will_fork():
        get_ready(needed_by(recipe))
    with file_lock(store.path / ".after.lock", f"after-tests on {store.path}"), store.session():
        report = make_tests(recipe, store, settings, seeds, workers, console)
        if report is not None:
            if tracking is not None:
                import_early()  # takes as long as the page, which another process makes
            make_page_of(recipe, store, None, lambda why: say(console, f"warning: {why}"))
    if report is None:
        return FAILED
    console.print()
    console.print(AfterTable(report))
    say(console, f"\nrecords   {store.path / RECORD} ({RECORD}.json, {RECORD}.parquet: every figure of every seed)")
    say(console, f"look      {shell('kerf', 'report', out, '--open')}")
    if tracking is not None:
        from kerf.runs.tracking.commands import ui_command

        sync(store.path, tracking)
        say(console, f"mlflow    {ui_command(tracking, store.path)}")
    return DONE
