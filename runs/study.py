"""A study: align -> gate -> arms -> measure -> report, resumable at any point."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from kerf.lab.exact.exact_battery import AnyBattery
from kerf.lab.scenario import ScenarioSpace
from kerf.runs.console import say
from kerf.runs.execution.preflight import check_gpus
from kerf.runs.recipe.model import Recipe, recipe_hash, resolved_recipe
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.gate_records import has_passed, instead_of_table, not_aligned
from kerf.runs.records.provenance import provenance
from kerf.runs.records.store import ALIGNED, FORMAT, Store, Unit, open_study

if TYPE_CHECKING:
    from kerf.runs.tracking.studies import Mirror

DONE, FAILED, NOT_ALIGNED = 0, 1, 3
"""Exit codes: everything done; a unit could not be done; an agent did not pass the gate."""


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
        recipe: What to do.
        out: Folder of the study.
        tracking: MLflow tracking URI, or None for records on disk only.
        workers: Units at a time; None: one a core.
        console: Where progress and report go.
        checkpoint_every: Seconds between two checkpoints of a unit; None: `kerf.runs.records.checkpoints.EVERY`.

    Returns:
        `DONE`, `FAILED` or `NOT_ALIGNED`.

    Raises:
        KerfError: for a folder that cannot take the study, or a GPU that is asked for and not there.
    """
    from kerf.runs.execution.measurements import make_battery
    from kerf.runs.execution.study_units import prepare

    check_gpus(recipe)
    prepare(recipe)
    battery = make_battery(recipe)
    with open_study(out, manifest(recipe, battery)) as store:
        write_once(store, recipe, battery)
        return _Study(recipe, store, tracking, workers or os.cpu_count() or 1, console, checkpoint_every).run()


def prepare_study(recipe: Recipe, out: Path) -> None:
    """Make the folder of a study, or see that it is there, so that its units can be done one by one.

    Raises:
        KerfError: for a folder that cannot take the study.
    """
    from kerf.runs.execution.measurements import make_battery

    battery = make_battery(recipe)
    with open_study(out, manifest(recipe, battery)) as store:
        write_once(store, recipe, battery)


def manifest(recipe: Recipe, battery: AnyBattery) -> dict[str, Any]:
    """What `study.json` says: everything that decides the records, and what made them."""
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
        **provenance(),
    }


def write_once(store: Store, recipe: Recipe, battery: AnyBattery) -> None:
    """Write down recipe and battery."""
    if not (store.path / "recipe.yaml").exists():
        plain = recipe.model_dump(mode="json", exclude_unset=True)
        store.write_text("recipe.yaml", yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    if not (store.path / "battery.parquet").exists():
        space: ScenarioSpace = battery.world.space
        columns: dict[str, Any] = {field.name: battery.scenarios[:, i] for i, field in enumerate(space.fields)}
        store.write_table("battery", columns)


class _Study:
    """One execution of a study whose folder is open."""

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        tracking: str | None,
        workers: int,
        console: Console,
        checkpoint_every: float | None,
    ) -> None:
        self._recipe, self._store, self._console = recipe, store, console
        self._tracking, self._num_workers, self._checkpoint_every = tracking, workers, checkpoint_every

    def run(self) -> int:
        from kerf.runs.records.checkpoints import clear
        from kerf.runs.tracking.studies import Mirror, ui_command

        mirror = None
        if self._tracking is not None:
            mirror = Mirror(self._store.path, self._tracking, lambda why: self._say(f"warning: {why}"))
        code = FAILED
        try:
            with self._store.session({"study": self._recipe.name}):
                code = self._units(mirror.unit_finished if mirror else lambda: None)
                clear(self._store, self._store.units())
                if code != FAILED:
                    self._report()
                if code != FAILED and self._recipe.fresh is not None and not self._attack(mirror):
                    code = FAILED
        except DiskError as error:
            code = FAILED
            self._say(f"failed: {error}")
        finally:
            mirrored = mirror.close() if mirror else False
        self._say(f"\nrecords   {self._store.path}")
        if self._store.address is not None:
            self._say(f"kept at   {self._store.address}")
        if mirrored and self._tracking is not None:
            self._say(f"mlflow    {ui_command(self._tracking)}")
        return code

    def _units(self, mirror: Callable[[], None]) -> int:
        """Do whatever is not done yet; `mirror` hears of every unit that is published."""
        aligned = [Unit(ALIGNED, seed) for seed in self._recipe.seed_numbers]
        cells = [Unit(arm, seed) for seed in self._recipe.seed_numbers for arm in self._recipe.arms]
        finished = {unit for unit in (*aligned, *cells) if self._store.finished(unit, verify=True)}
        barred = {unit.seed for unit in aligned if unit in finished and not has_passed(self._store, unit.seed)}
        todo = [unit for unit in (*aligned, *cells) if unit not in finished and unit.seed not in barred]
        if not todo:
            return self._gate_code()
        from kerf.runs.execution.local_ray import ray_for
        from kerf.runs.execution.pool import Pool
        from kerf.runs.execution.progress import Display
        from kerf.runs.execution.study_units import cpus_needed, modules_of, needs_ray, train
        from kerf.runs.recipe.arms import needs

        arms = self._recipe.resolve()
        aligning = self._recipe.align_iterations
        iterations = {unit: arms[unit.arm].iterations if unit.arm in arms else aligning for unit in todo}
        workers = min(self._num_workers, len(todo))
        already = f" ({len(finished)} are done already)" if finished else ""
        self._say(f"{self._recipe.name}: {_count(len(todo), 'unit')} of work on {_count(workers, 'worker')}{already}")
        work = partial(train, checkpoint_every=self._checkpoint_every)
        with (
            ray_for(needs_ray(self._recipe), cpus_needed(self._recipe, workers)),
            Pool(self._recipe, self._store.path, workers, work, self._warn, modules_of(self._recipe)) as pool,
            Display(self._console, iterations) as display,
        ):

            def on_done(unit: Unit) -> list[Unit]:
                mirror()
                if unit.arm != ALIGNED:
                    display.finished(unit)
                    return []
                passed = has_passed(self._store, unit.seed)
                display.finished(unit, "  gate passed" if passed else "  GATE NOT PASSED")
                dropped = [] if passed else [cell for cell in todo if cell.seed == unit.seed and cell != unit]
                display.dropped(dropped)
                return dropped

            import kerf.runs.report  # noqa: F401  # which the end needs: now, while the workers start

            failures = pool.run(
                todo,
                lambda unit: [needed for needed in needs(arms, unit) if not self._store.finished(needed)],
                display.progress,
                on_done,
            )
        for failure in sorted(failures, key=lambda failure: failure.disk):
            if failure.disk:  # the last, so that all others are told; and no line of it could be written
                raise DiskError(f"{failure.unit.name}: {failure.why}")
            self._say(f"failed: {failure.unit.name}: {failure.why}")
            self._store.append_timing({"failed": failure.unit.name, "why": failure.why, "traceback": failure.traceback})
        if failures:
            self._say(
                "The records so far are kept (tracebacks: timing.jsonl); the same command tries again what is missing."
            )
            return FAILED
        return self._gate_code()

    def _gate_code(self) -> int:
        """Say which agents are not aligned; they are not studied."""
        code = DONE
        for seed in self._recipe.seed_numbers:
            if not has_passed(self._store, seed):
                code = NOT_ALIGNED
                self._say(not_aligned(self._store, seed))
        if code == NOT_ALIGNED:
            more = ", ".join(f"--set {path}.iterations=..." for path, _ in reversed(self._recipe.phases))
            self._say(
                f"Its records are kept. To go on: more alignment ({more}), or other seeds (--set first_seed=...)."
            )
        return code

    def _report(self) -> None:
        from kerf.runs.report import write_report

        instead = instead_of_table(self._store)
        if instead is not None:
            self._store.write_text("table.txt", instead)
            return
        self._console.print()
        self._console.print(write_report(self._store))

    def _attack(self, mirror: Mirror | None) -> bool:
        """Let the recipe's fresh generators attack every finished agent; whether all did."""
        from kerf.runs.attacks.run_attacks import attack_all
        from kerf.runs.attacks.table import write_attack_report
        from kerf.runs.recipe.attack_plan import targets

        assert self._recipe.fresh is not None
        seeds = [seed for seed in self._recipe.seed_numbers if has_passed(self._store, seed)]
        if not seeds:
            return True
        on_done = mirror.unit_finished if mirror else lambda: None
        attacks, agents = self._recipe.fresh.attacks, targets(self._recipe.arms, seeds)
        if not attack_all(self._recipe, self._store, attacks, agents, self._num_workers, self._console, on_done):
            return False
        self._console.print()
        self._console.print(write_attack_report(self._store, self._recipe, seeds))
        return True

    def _warn(self, line: str) -> None:
        self._say(f"warning: {line}")
        self._store.append_timing({"warning": line, "at": time.time()})

    def _say(self, line: str) -> None:
        say(self._console, line)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
