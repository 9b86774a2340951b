"""Runs a sweep: rounds of trials, each trial's cells on the workers of a study, resumable at any moment."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.lab.statistics.effect import signed
from kerf.runs.console import say
from kerf.runs.execution.preflight import check_gpus
from kerf.runs.execution.progress import Display, title
from kerf.runs.recipe.model import Recipe
from kerf.runs.recipe.validation_errors import shown
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.gate_records import has_passed, not_aligned
from kerf.runs.records.store import ALIGNED, Store, Unit, open_study, refuse_other_study
from kerf.runs.study import DONE, FAILED, NOT_ALIGNED, manifest, write_once
from kerf.runs.sweep.cells import SweptArm, TrialArms, cell_recipe, record
from kerf.runs.sweep.findings import front, next_dose
from kerf.runs.sweep.outcome import Outcome, Outcomes, told
from kerf.runs.sweep.report import settings_text
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.storage import JOURNAL, Storage, StorageError
from kerf.runs.sweep.trials import Trial, Trials
from kerf.runs.sweep.write import write_report

if TYPE_CHECKING:
    from kerf.runs.execution.pool import Failure
    from kerf.runs.execution.training_log import Progress

NOT_IDENTITY = ("trials",)
"""What a sweep may be given more of when it is continued."""


class Runner(Protocol):
    """Does units of work, as `kerf.runs.execution.pool.Pool` does."""

    def run(
        self,
        units: Sequence[Unit],
        lacks: Callable[[Unit], Sequence[Unit]],
        on_progress: Callable[[Progress], None],
        on_done: Callable[[Unit], Sequence[Unit]],
    ) -> list[Failure]: ...


def sweep_unit(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[Progress]:
    """What workers do: a cell's settings are those that its arm's name stands for."""
    from kerf.runs.execution.study_units import train

    asked = recipe if unit.arm == ALIGNED else cell_recipe(recipe, store, unit.arm)
    return train(asked, unit, store, num_threads)


@contextmanager
def local_workers(recipe: Recipe, store: Store, num_workers: int) -> Iterator[Runner]:
    """Long-lived workers on this machine."""
    from kerf.runs.execution.local_ray import ray_for
    from kerf.runs.execution.pool import Pool
    from kerf.runs.execution.study_units import cpus_needed, modules_of, needs_ray

    def tell(why: str) -> None:
        store.append_timing({"warning": why})

    with (
        ray_for(needs_ray(recipe), cpus_needed(recipe, num_workers)),
        Pool(recipe, store.path, num_workers, sweep_unit, tell, [__name__, *modules_of(recipe)]) as pool,
    ):
        yield pool


def run_sweep(
    recipe: Recipe,
    spec: SweepSpec,
    out: Path,
    tracking: str | None,
    workers: int | None,
    console: Console,
    storage: str | None = None,
    start: Callable[[Recipe, Store, int], AbstractContextManager[Runner]] = local_workers,
) -> int:
    """Run or continue the sweep `spec` of `recipe` in `out`, and print what it found.

    Args:
        recipe: The base.
        spec: What is asked.
        out: Folder of the sweep.
        tracking: MLflow tracking URI, or None for records on disk only.
        workers: Cells at a time; None: one a core.
        console: Where progress and findings go.
        storage: URL of Optuna's database; None: a journal in `out`.
        start: Starts what does the cells: recipe, folder, cells at a time.

    Returns:
        The exit codes of `kerf.runs.study`.

    Raises:
        KerfError: for a folder or a storage that cannot take the sweep.
    """
    from kerf.runs.execution.measurements import make_battery

    check_gpus(recipe)
    battery = make_battery(recipe)
    with open_study(out, sweep_manifest(recipe, spec, manifest(recipe, battery))) as store:
        write_once(store, recipe, battery)
        kept = Storage(store.path, storage, partial(say, console))
        trials = Trials(kept, study_name(recipe, spec), spec, spec.digest(recipe))
        with ExitStack() as stack:
            sweep = _Sweep(recipe, spec, store, trials, workers or os.cpu_count() or 1, console, start, stack)
            return sweep.run(tracking)


def study_name(recipe: Recipe, spec: SweepSpec) -> str:
    """Name of the sweep's Optuna study and MLflow run."""
    return f"{recipe.name}-{spec.mode}-{spec.digest(recipe)[:8]}"


def sweep_manifest(recipe: Recipe, spec: SweepSpec, study: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a study, made that of a sweep: its hash is over recipe and sweep, its arms are in `arms/`."""
    swept = spec.model_dump(mode="json", exclude=set(NOT_IDENTITY))
    return {
        **study,
        "sweep": swept,
        "recipe_hash": spec.digest(recipe),
        "base_hash": study["recipe_hash"],
        "arms": {},
        "arm_order": [],
        "primaries": [],
    }


def refuse_other_sweep(out: Path, recipe: Recipe, spec: SweepSpec) -> None:
    """Refuse a folder that holds another sweep, a study or other files, and say in what they differ.

    Raises:
        KerfError: in one sentence.
    """
    store = Store(out)
    if (out / "study.json").exists():
        found = store.manifest()
        if "sweep" not in found:
            raise KerfError(f"{out} holds a study ({found['name']}), not a sweep; give --out another folder")
        wanted = spec.model_dump(mode="json", exclude=set(NOT_IDENTITY))
        changed = [key for key in wanted if wanted[key] != found["sweep"].get(key)]
        if changed:
            key = changed[0]
            raise KerfError(
                f"{out} holds another sweep: {key} is {shown(found['sweep'].get(key))} there and {shown(wanted[key])} "
                "in what was asked for; give --out another folder"
            )
    refuse_other_study(store, {"name": recipe.name, "recipe_hash": spec.digest(recipe)})


class _Sweep:
    """One execution of a sweep whose folder is open."""

    def __init__(
        self,
        recipe: Recipe,
        spec: SweepSpec,
        store: Store,
        trials: Trials,
        workers: int,
        console: Console,
        start: Callable[[Recipe, Store, int], AbstractContextManager[Runner]],
        stack: ExitStack,
    ) -> None:
        self._recipe, self._spec, self._store, self._trials = recipe, spec, store, trials
        self._workers, self._console, self._start, self._stack = workers, console, start, stack
        self._runner: Runner | None = None
        self._outcomes = Outcomes(store, spec)
        self._trial_arms = TrialArms(recipe, spec)
        self._done: dict[int, Outcome] = {}
        self._swept: dict[str, SweptArm] = {}
        self._verified: set[Unit] = set()

    def run(self, tracking: str | None) -> int:
        from kerf.runs.records.checkpoints import clear

        try:
            with self._store.session({"sweep": self._recipe.name}):
                again: list[Outcome] = []
                code = FAILED if self._failed() else self._gate_code()
                if code != FAILED and self._passed(self._seeds):
                    if self._spec.mode == "pareto" and self._spec.held_out:
                        again, code = self._on_held_out(code)
                    if code != FAILED:
                        self._console.print(write_report(self._store, self._spec, self._found(), again))
                clear(self._store, self._store.units())
        except DiskError as error:
            code = FAILED
            self._say(f"failed: {error}")
        except StorageError as error:
            code = FAILED
            self._say(f"failed: {error}; what is done is kept, and the same command goes on")
        if code != FAILED and tracking is not None:
            self._mirror(tracking)
        self._say(f"\nrecords   {self._store.path}")
        if self._store.address is not None:
            self._say(f"kept at   {self._store.address}")
        return code

    @property
    def _seeds(self) -> list[int]:
        return list(self._recipe.seed_numbers)

    def _failed(self) -> bool:
        """Do whatever is not done yet, round by round; whether something could not be done."""
        if self._do(self._trials.told(), tell=False):  # nothing, unless cells were moved away to be done again
            return True
        return any(self._do(batch) for batch in self._rounds())

    def _rounds(self) -> Iterator[list[Trial]]:
        """The trials, those together that are asked for without knowing what the others come to."""
        spec, trials = self._spec, self._trials
        if spec.mode == "pareto":
            while True:
                begun = trials.begun()
                whole = -(-max(len(trials), 1) // spec.batch) * spec.batch if begun else len(trials) + spec.batch
                begun += [trials.ask() for _ in range(min(whole, spec.trials) - len(trials))]
                if not begun or not self._passed_or_unknown():
                    return
                yield begun
        num = spec.points if spec.mode == "threshold" else 0
        grid = [
            dict(zip((a.path for a in spec.over), at, strict=True)) for at in product(*(a.grid(num) for a in spec.over))
        ]
        trials.enqueue(grid)
        yield self._asked()
        if spec.mode == "threshold":
            (axis,) = spec.over
            while self._done and len(self._done) < len(grid) + spec.refine:
                dose = next_dose(spec, self._found())
                if dose is None:
                    return
                trials.enqueue([{axis.path: dose}])
                yield self._asked()

    def _asked(self) -> list[Trial]:
        """The trials that were begun, and all that are waiting."""
        begun = self._trials.begun()
        return begun + [self._trials.ask() for _ in range(self._trials.waiting())]

    def _do(self, batch: Sequence[Trial], tell: bool = True) -> bool:
        """Do the cells of these trials and tell what they came to; whether something could not be done."""
        wanted = {trial.number: (trial, *self._arms(trial)) for trial in batch}
        open_trials = dict(wanted)

        overdue: set[int] = set()

        def tell_what_is_complete(unit: Unit | None = None) -> None:
            if not self._gates_known(self._seeds):
                return
            passed = self._passed(self._seeds)
            for number, (trial, arm, control) in list(open_trials.items()):
                concerned = unit is None or unit.arm in (arm.name, control.name, ALIGNED) or number in overdue
                if not concerned or not passed:
                    continue
                if not all(self._finished(Unit(name, seed)) for name in (arm.name, control.name) for seed in passed):
                    continue
                outcome = self._outcomes.of(trial, arm.name, control.name, passed)
                if tell:
                    try:
                        self._trials.tell(trial, *told(outcome, self._spec), patient=unit is None)
                    except StorageError:
                        if unit is None:
                            raise
                        overdue.add(number)  # cells go on meanwhile; it is told with one of the next, or at the end
                        return
                    self._store.wrote(JOURNAL)
                    self._say(_trial_line(outcome, self._spec))
                del open_trials[number]
                self._done[number] = outcome

        names = [arm.name for _, *arms in wanted.values() for arm in arms]
        failed = self._units(names, self._seeds, tell_what_is_complete)
        tell_what_is_complete()
        return failed

    def _units(self, names: Sequence[str], seeds: Sequence[int], heard: Callable[[Unit], None]) -> bool:
        """Do the cells of arms `names` at `seeds`, aligned agents first; whether something could not be done."""
        aligned = [Unit(ALIGNED, seed) for seed in seeds]
        cells = [Unit(name, seed) for name in dict.fromkeys(names) for seed in seeds]
        barred = {unit.seed for unit in aligned if self._finished(unit) and not has_passed(self._store, unit.seed)}
        todo = [unit for unit in (*aligned, *cells) if unit.seed not in barred and not self._finished(unit)]
        if not todo:
            return False
        recipe = self._recipe
        iterations = {unit: recipe.align_iterations if unit.arm == ALIGNED else recipe.iterations for unit in todo}
        with Display(self._console, iterations, self._title) as display:

            def on_done(unit: Unit) -> list[Unit]:
                dropped: list[Unit] = []
                if unit.arm == ALIGNED and not has_passed(self._store, unit.seed):
                    dropped = [cell for cell in todo if cell.seed == unit.seed and cell != unit]
                    display.dropped(dropped)
                display.finished(unit, "  GATE NOT PASSED" if dropped else "")
                heard(unit)
                return dropped

            def lacks(unit: Unit) -> list[Unit]:
                needed = Unit(ALIGNED, unit.seed)
                return [] if unit.arm == ALIGNED or self._finished(needed) else [needed]

            failures = self._workers_of(len(todo)).run(todo, lacks, display.progress, on_done)
        return self._told_failures(failures)

    def _workers_of(self, num_units: int) -> Runner:
        """The workers, started with the first work there is."""
        if self._runner is None:
            workers = min(self._workers, num_units)
            self._say(f"{study_name(self._recipe, self._spec)} on {workers} worker{'s' * (workers != 1)}")
            self._runner = self._stack.enter_context(self._start(self._recipe, self._store, workers))
        return self._runner

    def _told_failures(self, failures: Sequence[Failure]) -> bool:
        for failure in failures:
            if failure.disk:
                raise DiskError(f"{failure.unit.name}: {failure.why}")
            self._say(f"failed: {failure.unit.name}: {failure.why}")
            self._store.append_timing({"failed": failure.unit.name, "why": failure.why, "traceback": failure.traceback})
        if failures:
            self._say(
                "The records so far are kept (tracebacks: timing.jsonl); the same command tries again what is missing."
            )
        return bool(failures)

    def _on_held_out(self, code: int) -> tuple[list[Outcome], int]:
        """The front's trials on seeds that chose nothing."""
        first = self._recipe.first_seed + self._recipe.seeds
        seeds = list(range(first, first + self._spec.held_out))
        chosen = front(self._spec, self._found())
        if not chosen:
            return [], code
        names = [name for outcome in chosen for name in (outcome.arm, outcome.control)]
        if self._units(names, seeds, lambda unit: None):
            return [], FAILED
        passed = self._passed(seeds)
        code = max(code, self._gate_code(seeds))
        if not passed:
            return [], code
        return [self._outcomes.of(found.trial, found.arm, found.control, passed) for found in chosen], code

    def _arms(self, trial: Trial) -> tuple[SweptArm, SweptArm]:
        arms = self._trial_arms.of(trial.settings)
        for arm in arms:
            record(self._store, arm)
            self._swept[arm.name] = arm
        return arms

    def _title(self, unit: Unit) -> str:
        """What a cell is called on the way: its folder's name has a hash where people want settings."""
        if unit.arm == ALIGNED:
            return title(unit)
        arm = self._swept[unit.arm]
        at = settings_text(self._spec, arm.settings)
        return title(Unit(arm.arm, unit.seed)) + (f" at {at}" if at else "")

    def _found(self) -> list[Outcome]:
        return [self._done[number] for number in sorted(self._done)]

    def _finished(self, unit: Unit) -> bool:
        """Whether a unit is finished; its files are compared with their hashes once."""
        if unit not in self._verified and self._store.finished(unit, verify=True):
            self._verified.add(unit)
        return unit in self._verified

    def _gates_known(self, seeds: Sequence[int]) -> bool:
        return all(self._finished(Unit(ALIGNED, seed)) for seed in seeds)

    def _passed(self, seeds: Sequence[int]) -> list[int]:
        """The seeds whose agent is there and passed the gate."""
        return [seed for seed in seeds if self._finished(Unit(ALIGNED, seed)) and has_passed(self._store, seed)]

    def _passed_or_unknown(self) -> bool:
        return not self._gates_known(self._seeds) or bool(self._passed(self._seeds))

    def _gate_code(self, seeds: Sequence[int] | None = None) -> int:
        """Say which agents are not aligned; they are not studied."""
        code = DONE
        for seed in self._seeds if seeds is None else seeds:
            if not has_passed(self._store, seed):
                code = NOT_ALIGNED
                self._say(not_aligned(self._store, seed))
        return code

    def _mirror(self, tracking: str) -> None:
        from kerf.runs.tracking.studies import ui_command
        from kerf.runs.tracking.sweeps import sync_sweep

        try:
            sync_sweep(self._store.path, tracking)
            self._say(f"\nmlflow    {ui_command(tracking)}")
        except KerfError as error:
            self._say(f"warning: {error}")

    def _say(self, line: str) -> None:
        say(self._console, line)


def _trial_line(outcome: Outcome, spec: SweepSpec) -> str:
    robustness, collateral = map(signed, outcome.objectives)
    said = f"robustness {robustness}, collateral {collateral}"
    if not all(map(math.isfinite, outcome.objectives)):
        said = "skill lost"
    return f"trial {outcome.trial.number}: {settings_text(spec, outcome.trial.settings)}: {said}"
