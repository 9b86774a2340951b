"""Execution of a study: align, gate, arms, measure, report. It can be resumed at any point."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.lab.exact.exact_battery import AnyBattery
from kerf.lab.scenario import ScenarioSpace
from kerf.runs.execution.preflight import check_gpus
from kerf.runs.execution.scheduler import DONE, FAILED, NOT_ALIGNED, Plan, Scheduler, start_workers
from kerf.runs.recipe.model import Recipe, recipe_hash, resolved_recipe
from kerf.runs.recipe.theory import theory_of
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.gate_records import all_aligned, has_passed, instead_of_table, ruled_out
from kerf.runs.records.provenance import provenance
from kerf.runs.records.store import ALIGNED, FORMAT, Store, Unit, open_study
from kerf.runs.terminal.console import say, shell

if TYPE_CHECKING:
    from kerf.runs.execution.pool import Runner
    from kerf.runs.execution.progress import Display
    from kerf.runs.recipe.after_plan import AfterSettings
    from kerf.runs.recipe.attack_plan import Fresh
    from kerf.runs.report.conclusion import Conclusion
    from kerf.runs.report.table import Report
    from kerf.runs.tracking.studies import Mirror


def run_study(
    recipe: Recipe,
    out: Path,
    tracking: str | None,
    workers: int | None,
    console: Console,
    checkpoint_every: float | None = None,
) -> int:
    """Run or continue the study of `recipe` in `out`, and print its report.

    Args:
        recipe: Recipe of the study.
        out: Folder of the study.
        tracking: MLflow tracking URI; None: records on disk only.
        workers: Number of units at a time; None: one per core, as memory allows.
        console: Console for progress and report.
        checkpoint_every: Seconds between two checkpoints of a unit; None: `kerf.runs.records.checkpoints.EVERY`.

    Returns:
        `DONE`, `FAILED` or `NOT_ALIGNED`.

    Raises:
        KerfError: if the folder cannot be used for the study, or the recipe needs a GPU and there is none.
    """
    from kerf.runs.execution.measurements import make_battery
    from kerf.runs.execution.study_units import prepare

    check_gpus(recipe)
    prepare(recipe)
    battery = make_battery(recipe)
    with open_study(out, manifest(recipe, battery)) as store:
        write_once(store, recipe, battery)
        return _Study(recipe, store, tracking, workers, console, checkpoint_every).run()


def prepare_study(recipe: Recipe, out: Path) -> None:
    """Create or check the folder of a study, so that its units can be done one by one.

    Raises:
        KerfError: if the folder cannot be used for the study.
    """
    from kerf.runs.execution.measurements import make_battery

    battery = make_battery(recipe)
    with open_study(out, manifest(recipe, battery)) as store:
        write_once(store, recipe, battery)


def manifest(recipe: Recipe, battery: AnyBattery) -> dict[str, Any]:
    """Return the content of `study.json`: everything that determines the records, and their provenance."""
    resolved = resolved_recipe(recipe)
    return {
        "records_format": FORMAT,
        "name": recipe.name,
        "recipe": resolved,
        "recipe_hash": recipe_hash(recipe),
        "battery_hash": battery.digest,
        "seeds": list(recipe.seed_numbers),
        "arms": resolved["arms"],
        "arm_order": list(recipe.arms),
        "control": resolved["control"],
        "primaries": resolved["primaries"],
        "threshold": resolved.get("threshold"),
        "theory": {name: found.plain() for name, found in theory_of(recipe).items()},
        **provenance(),
    }


def write_once(store: Store, recipe: Recipe, battery: AnyBattery) -> None:
    """Write recipe and battery to the store, unless they exist."""
    if not (store.path / "recipe.yaml").exists():
        plain = recipe.model_dump(mode="json", exclude_unset=True)
        store.write_text("recipe.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    if not (store.path / "battery.parquet").exists():
        space: ScenarioSpace = battery.world.space
        columns: dict[str, Any] = {field.name: battery.scenarios[:, i] for i, field in enumerate(space.fields)}
        store.write_table("battery", columns)


class _Study:
    """One execution of a study in an open folder."""

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        tracking: str | None,
        workers: int | None,
        console: Console,
        checkpoint_every: float | None,
    ) -> None:
        self._recipe, self._store, self._console = recipe, store, console
        self._tracking, self._num_workers, self._checkpoint_every = tracking, workers, checkpoint_every
        self._conclusion: Conclusion | None = None
        self._made: Report | None = None

    def run(self) -> int:
        from kerf.runs.records.checkpoints import clear
        from kerf.runs.tracking.commands import ui_command
        from kerf.runs.tracking.studies import Mirror

        mirror = None
        if self._tracking is not None:
            mirror = Mirror(self._store.path, self._tracking, lambda why: self._say(f"warning: {why}"))
        code, patience = FAILED, 30.0
        try:
            with self._store.session({"study": self._recipe.name}):
                code = self._units(mirror.unit_finished if mirror else lambda: None)
                clear(self._store, self._store.units())
                if code != FAILED:
                    self._report()
                if code != FAILED and self._recipe.fresh is not None and not self._attack(self._recipe.fresh, mirror):
                    code = FAILED
                if (
                    code != FAILED
                    and self._recipe.after_tests is not None
                    and not self._after(self._recipe.after_tests)
                ):
                    code = FAILED
                if self._conclusion is not None:
                    self._page()
        except DiskError as error:
            code = FAILED
            self._say(f"failed: {error}")
        except KeyboardInterrupt:
            patience = 1.0
            raise
        finally:
            mirrored = mirror.close(patience) if mirror else False
        self._end(ui_command(self._tracking, self._store.path) if mirrored and self._tracking is not None else None)
        return code

    def _units(self, mirror: Callable[[], None]) -> int:
        """Do all unfinished units; `mirror` is called after each published unit."""
        from kerf.runs.execution.study_units import cpus_needed, modules_of, needs_ray, train
        from kerf.runs.recipe.arms import needs
        from kerf.runs.recipe.text import theory_table

        recipe, store, arms = self._recipe, self._store, self._recipe.resolve()
        units = [Unit(ALIGNED, seed) for seed in recipe.seed_numbers]
        units += [Unit(arm, seed) for seed in recipe.seed_numbers for arm in recipe.arms]

        def start(num_workers: int) -> AbstractContextManager[Runner[Unit]]:
            return start_workers(
                recipe,
                store,
                num_workers,
                partial(train, checkpoint_every=self._checkpoint_every),
                self._warn,
                modules_of(recipe),
                on_ray=needs_ray(recipe),
                cpus_each=cpus_needed(recipe, 1),
            )

        def announce(plan: Plan[Unit]) -> str:
            if theory := theory_of(recipe):
                self._console.print(theory_table(theory))
            on = f"{_count(len(plan.todo), 'unit')} of work on {_count(plan.workers, 'worker')}"
            return f"{recipe.name}: {on}{plan.already}"

        with Scheduler(
            store, self._num_workers, self._console, start, announce, compiles=recipe.exact is None
        ) as scheduler:
            complete = scheduler.do(
                units,
                self._monitor,
                needs=partial(needs, arms),
                rules_out=partial(ruled_out, store),
                on_published=lambda unit: mirror(),
            )
        return self._gate_code() if complete else FAILED

    def _monitor(self, todo: Sequence[Unit]) -> Display:
        import kerf.runs.report  # noqa: F401  # needed at the end; imported while the workers start
        from kerf.runs.execution.progress import Display

        arms, aligning = self._recipe.resolve(), self._recipe.align_iterations
        iterations = {unit: arms[unit.arm].iterations if unit.arm in arms else aligning for unit in todo}
        return Display(self._console, iterations, note=self._note)

    def _note(self, unit: Unit) -> str:
        """Return the text shown after a finished unit."""
        if unit.arm != ALIGNED:
            return ""
        return "  gate passed" if has_passed(self._store, unit.seed) else "  GATE NOT PASSED"

    def _gate_code(self) -> int:
        """Print which agents did not pass the gate and are not studied; return the exit code."""
        if all_aligned(self._store, self._recipe.seed_numbers, self._say):
            return DONE
        more = ", ".join(f"--set {path}.iterations=..." for path, _ in reversed(self._recipe.phases))
        self._say(f"Its records are kept. To go on: more alignment ({more}), or other seeds (--set first_seed=...).")
        return NOT_ALIGNED

    def _report(self) -> None:
        from kerf.runs.report import write_report
        from kerf.runs.report.conclusion import conclude

        instead = instead_of_table(self._store)
        if instead is not None:
            self._store.write_text("table.txt", instead)
            self._conclusion = conclude(self._store)
            return
        self._made = write_report(self._store)
        self._conclusion = conclude(self._store, self._made)

    def _page(self) -> None:
        """Write the page. The records are complete without it, so a page that cannot be made is no failure."""
        from kerf.runs.report.page.forked import make_page_of

        try:
            make_page_of(self._recipe, self._store, self._made, self._warn)
        except DiskError:
            raise
        except KerfError as error:
            self._warn(f"no page was made: {error}; `{shell('kerf', 'report', self._store.path)}` makes it later")

    def _end(self, mlflow: str | None) -> None:
        """Print the conclusion, or where the records are if there is none yet."""
        from kerf.runs.report.ending import ending

        self._say("")
        if self._conclusion is not None:
            for line in ending(self._conclusion, self._store.path, self._console.width, mlflow):
                self._say(line)
        else:
            self._say(f"records   {self._store.path}")
        if self._store.address is not None:
            self._say(f"kept at   {self._store.address}")

    def _attack(self, fresh: Fresh, mirror: Mirror | None) -> bool:
        """Attack every finished agent with the recipe's fresh generators; return whether all attacks are done."""
        from kerf.runs.attacks.run_attacks import attack_all
        from kerf.runs.attacks.table import write_attack_report
        from kerf.runs.recipe.attack_plan import targets

        seeds = [seed for seed in self._recipe.seed_numbers if has_passed(self._store, seed)]
        if not seeds:
            return True
        on_done = mirror.unit_finished if mirror else lambda: None
        attacks, agents = fresh.attacks, targets(self._recipe.arms, seeds)
        if not attack_all(self._recipe, self._store, attacks, agents, self._num_workers, self._console, on_done):
            return False
        write_attack_report(self._store, self._recipe, seeds)
        return True

    def _after(self, settings: AfterSettings) -> bool:
        """Make the recipe's after-tests on every agent that passed the gate; return whether all are done."""
        from kerf.runs.after.command import make_tests

        seeds = [seed for seed in self._recipe.seed_numbers if has_passed(self._store, seed)]
        if not seeds:
            return True
        report = make_tests(self._recipe, self._store, settings, seeds, self._num_workers, self._console)
        return report is not None

    def _warn(self, line: str) -> None:
        self._say(f"warning: {line}")
        self._store.append_timing({"warning": line, "at": time.time()})

    def _say(self, line: str) -> None:
        say(self._console, line)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
