"""Driver of a sweep: runs rounds of trials on the workers of a study; resumable at any moment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.lab.statistics.text import signed
from kerf.runs.execution.preflight import check_gpus
from kerf.runs.execution.scheduler import DONE, FAILED, NOT_ALIGNED
from kerf.runs.recipe.model import Recipe
from kerf.runs.recipe.validation_errors import shown
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.gate_records import all_aligned
from kerf.runs.records.store import ALIGNED, Store, Unit, open_study, refuse_other_study
from kerf.runs.report.page import write_page
from kerf.runs.report.table import metric_label
from kerf.runs.study import manifest, write_once
from kerf.runs.sweep.findings import front, next_dose
from kerf.runs.sweep.outcome import Outcome, Outcomes, trial_values
from kerf.runs.sweep.report import settings_text
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.storage import JOURNAL, Storage, StorageError
from kerf.runs.sweep.trials import Trial, Trials
from kerf.runs.sweep.units import Start, SweepUnits, local_workers
from kerf.runs.sweep.write import write_report
from kerf.runs.terminal.console import say

NOT_IDENTITY = ("trials",)
"""Fields of the specification that may grow when a sweep is continued."""


def run_sweep(
    recipe: Recipe,
    spec: SweepSpec,
    out: Path,
    tracking: str | None,
    workers: int | None,
    console: Console,
    storage: str | None = None,
    start: Start = local_workers,
) -> int:
    """Run or continue the sweep `spec` of `recipe` in `out`, and print its findings.

    Args:
        recipe: The base recipe.
        spec: The sweep.
        out: Folder of the sweep.
        tracking: MLflow tracking URI, or None for records on disk only.
        workers: Number of parallel cells; None: one per core, as memory allows.
        console: Console for progress and findings.
        storage: URL of Optuna's database; None: a journal in `out`.
        start: Starts the runner of the cells, from recipe, folder and number of parallel cells.

    Returns:
        The exit codes of `kerf.runs.execution.scheduler`.

    Raises:
        KerfError: for a folder or a storage that cannot hold the sweep.
    """
    from kerf.runs.execution.measurements import make_battery

    check_gpus(recipe)
    battery = make_battery(recipe)
    with open_study(out, sweep_manifest(recipe, spec, manifest(recipe, battery))) as store:
        write_once(store, recipe, battery)
        kept = Storage(store.path, storage, partial(say, console))
        trials = Trials(kept, study_name(recipe, spec), spec, spec.digest(recipe))
        with SweepUnits(recipe, spec, store, workers, console, start, study_name(recipe, spec)) as units:
            return _Sweep(recipe, spec, store, trials, units, console).run(tracking)


def study_name(recipe: Recipe, spec: SweepSpec) -> str:
    """Name of the sweep's Optuna study and MLflow run."""
    return f"{recipe.name}-{spec.mode}-{spec.digest(recipe)[:8]}"


def sweep_manifest(recipe: Recipe, spec: SweepSpec, study: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a study adapted to a sweep: its hash covers recipe and sweep, and its arms are in `arms/`."""
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
    """Refuse a folder that holds another sweep, a study or other files, and report the differences.

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
        self, recipe: Recipe, spec: SweepSpec, store: Store, trials: Trials, units: SweepUnits, console: Console
    ) -> None:
        self._recipe, self._spec, self._store, self._trials = recipe, spec, store, trials
        self._units, self._console, self._seeds = units, console, list(recipe.seed_numbers)
        self._outcomes = Outcomes(store, spec)
        self._outcome_of: dict[int, Outcome] = {}
        self._reported = False

    def run(self, tracking: str | None) -> int:
        """Do the unfinished work, report, and mirror to MLflow; returns the exit code."""
        from kerf.runs.records.checkpoints import clear

        try:
            with self._store.session({"sweep": self._recipe.name}):
                code = self._do_all()
                clear(self._store, self._store.units())
        except DiskError as error:
            code = FAILED
            self._say(f"failed: {error}")
        except StorageError as error:
            code = FAILED
            self._say(f"failed: {error}; finished work is kept; run the same command again to continue")
        mlflow = self._mirror(tracking) if code != FAILED and tracking is not None else None
        self._say("")
        if self._reported:
            from kerf.runs.sweep.ending import sweep_ending

            for line in sweep_ending(self._store, self._console.width, mlflow):
                self._say(line)
        else:
            self._say(f"records   {self._store.path}")
        if self._store.address is not None:
            self._say(f"kept at   {self._store.address}")
        return code

    def _do_all(self) -> int:
        """Run the trials round by round, then the front on held-out seeds, then report."""
        # Skips the cells of told trials, unless some were moved away to be done again.
        if not self._do_trials(self._trials.finished(), tell=False) or not all(
            self._do_trials(batch) for batch in self._rounds()
        ):
            return FAILED
        code = DONE if all_aligned(self._store, self._seeds, self._say) else NOT_ALIGNED
        if not self._units.passed(self._seeds):
            return code
        again: list[Outcome] = []
        if self._spec.mode == "pareto" and self._spec.held_out:
            again, on_others = self._on_held_out()
            if on_others == FAILED:
                return FAILED
            code = max(code, on_others)
        write_report(self._store, self._spec, self._known_outcomes(), again)
        write_page(self._store)
        self._reported = True
        return code

    def _rounds(self) -> Iterator[list[Trial]]:
        """Trials in rounds: those of one round do not depend on each other's results."""
        if self._spec.mode == "pareto":
            yield from self._proposed()
            return
        spec, trials = self._spec, self._trials
        num = spec.points if spec.mode == "threshold" else 0
        paths, grids = [axis.path for axis in spec.over], [axis.grid(num) for axis in spec.over]
        grid = [dict(zip(paths, at, strict=True)) for at in product(*grids)]
        trials.enqueue(grid)
        yield self._begun_and_waiting()
        if spec.mode == "threshold":
            (axis,) = spec.over
            while self._outcome_of and len(self._outcome_of) < len(grid) + spec.refine:
                dose = next_dose(spec, self._known_outcomes())
                if dose is None:
                    return
                trials.enqueue([{axis.path: dose}])
                yield self._begun_and_waiting()

    def _proposed(self) -> Iterator[list[Trial]]:
        """Batches of trials proposed by the sampler; unfinished ones come first."""
        spec, trials = self._spec, self._trials
        while True:
            begun = trials.begun()
            whole = -(-max(len(trials), 1) // spec.batch) * spec.batch if begun else len(trials) + spec.batch
            begun += [trials.ask() for _ in range(min(whole, spec.trials) - len(trials))]
            hopeless = self._units.gates_known(self._seeds) and not self._units.passed(self._seeds)
            if not begun or hopeless:
                return
            yield begun

    def _begun_and_waiting(self) -> list[Trial]:
        """All trials that were begun or are waiting."""
        begun = self._trials.begun()
        return begun + [self._trials.ask() for _ in range(self._trials.waiting())]

    def _do_trials(self, batch: Sequence[Trial], tell: bool = True) -> bool:
        """Do the cells of these trials and tell their outcomes; returns whether all could be done."""
        open_trials = {trial.number: (trial, *self._units.arms(trial)) for trial in batch}
        names = [name for _, *arms in open_trials.values() for name in arms]
        overdue: set[int] = set()

        def report_complete_trials(unit: Unit | None = None) -> None:
            passed = self._units.passed(self._seeds) if self._units.gates_known(self._seeds) else []
            for number, (trial, arm, control) in list(open_trials.items()):
                concerned = unit is None or unit.arm in (arm, control, ALIGNED) or number in overdue
                if not concerned or not passed or not self._complete(arm, control, passed):
                    continue
                outcome = self._outcomes.of(trial, arm, control, passed)
                if tell and not self._tell(outcome, retry=unit is None):
                    overdue.add(number)
                    return
                del open_trials[number]
                self._outcome_of[number] = outcome

        done = self._units.do(names, self._seeds, report_complete_trials)
        report_complete_trials()
        return done

    def _complete(self, arm: str, control: str, seeds: Sequence[int]) -> bool:
        """Whether all cells of a trial are finished."""
        return all(self._units.finished(Unit(name, seed)) for name in (arm, control) for seed in seeds)

    def _tell(self, outcome: Outcome, retry: bool) -> bool:
        """Tell Optuna the outcome of a trial; returns whether the storage took it.

        While the storage is unavailable, cells go on; without `patient`, the outcome is told with a later one.
        """
        try:
            self._trials.tell(outcome.trial, *trial_values(outcome, self._spec), retry=retry)
        except StorageError:
            if retry:
                raise
            return False
        self._store.wrote(JOURNAL)
        self._say(_trial_line(outcome, self._spec))
        return True

    def _on_held_out(self) -> tuple[list[Outcome], int]:
        """Repeat the front's trials on held-out seeds; also returns the exit code."""
        first = self._recipe.first_seed + self._recipe.seeds
        seeds = list(range(first, first + self._spec.held_out))
        chosen = front(self._spec, self._known_outcomes())
        if not chosen:
            return [], DONE
        if not self._units.do([name for outcome in chosen for name in (outcome.arm, outcome.control)], seeds):
            return [], FAILED
        code = DONE if all_aligned(self._store, seeds, self._say) else NOT_ALIGNED
        passed = self._units.passed(seeds)
        return [self._outcomes.of(one.trial, one.arm, one.control, passed) for one in chosen] if passed else [], code

    def _known_outcomes(self) -> list[Outcome]:
        return [self._outcome_of[number] for number in sorted(self._outcome_of)]

    def _mirror(self, tracking: str) -> str | None:
        """Mirror to MLflow; returns the command that shows it, None if it could not be reached."""
        from kerf.runs.tracking.commands import ui_command
        from kerf.runs.tracking.sweeps import sync_sweep

        try:
            sync_sweep(self._store.path, tracking)
        except KerfError as error:
            self._say(f"warning: {error}")
            return None
        return ui_command(tracking, self._store.path)

    def _say(self, line: str) -> None:
        say(self._console, line)


def _trial_line(outcome: Outcome, spec: SweepSpec) -> str:
    named = zip(outcome.traded, outcome.objectives, strict=True)
    result = ", ".join(f"{metric_label(metric, spec.words)} {signed(mean)}" for metric, mean in named)
    if not all(map(math.isfinite, outcome.objectives)):
        result = "skill lost"
    return f"trial {outcome.trial.number}: {settings_text(spec, outcome.trial.settings)}: {result}"
