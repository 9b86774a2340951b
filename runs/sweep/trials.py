"""The trials of a sweep as an Optuna study, on one driver: asked, resumed and told. The only file that imports optuna.

The study is bookkeeping and what proposes; what a trial comes to is on disk in its cells. Each proposal depends on the
sampler's seed, the trial's number and the trials told so far, and on nothing that this process remembers: a sweep that
was killed between any two writes goes on as if it had not been.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.errors import KerfError
from lab.seeds import entropy
from runs import disk
from runs.sweep.over import Axis
from runs.sweep.spec import COLLATERAL, ROBUSTNESS, SweepSpec

if TYPE_CHECKING:
    import optuna

JOURNAL = "trials.journal"
"""The study's file in the sweep's folder, unless a database is asked for; optuna-dashboard opens it."""


@dataclass(frozen=True)
class Trial:
    """A trial that was asked for.

    Attributes:
        number: Its number, from 0.
        settings: Value of each setting, by its path in the recipe.
    """

    number: int
    settings: Mapping[str, float]


class Trials:
    """Optuna's study of a sweep.

    Args:
        folder: Folder of the sweep, held by this process.
        name: Name of the study.
        spec: The sweep.
        storage: URL of a database; None: the journal in `folder`.

    Raises:
        KerfError: if the storage cannot be opened, or has a study of that name of another sweep.
    """

    def __init__(self, folder: Path, name: str, spec: SweepSpec, digest: str, storage: str | None = None) -> None:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec = spec
        self._distributions = {axis.path: _distribution(axis, spec) for axis in spec.over}
        try:
            opened: Any = _journal(folder / JOURNAL) if storage is None else storage
            self._study = optuna.create_study(
                storage=opened,
                study_name=name,
                directions=["maximize", "maximize"],
                load_if_exists=True,
                sampler=_sampler(spec, 0),
            )
        except (OSError, ImportError, ValueError, SQLAlchemyError, optuna.exceptions.OptunaError) as error:
            raise KerfError(f"Optuna's storage {storage or folder / JOURNAL} cannot be opened: {error}") from error
        found = self._study.user_attrs.get("kerf.sweep")
        if found is None and not self._study.trials:
            self._study.set_user_attr("kerf.sweep", digest)
            self._study.set_user_attr("kerf.sampler", spec.sampler if spec.mode == "pareto" else "grid")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names([ROBUSTNESS, COLLATERAL])
        elif found != digest:
            raise KerfError(
                f"Optuna's storage {storage or folder / JOURNAL} has a study {name!r} of another sweep; give --storage "
                "another database, or --out another folder"
            )

    def enqueue(self, grid: Sequence[Mapping[str, float]]) -> None:
        """Have these settings asked for next, in their order; those that are there already are not repeated."""
        for settings in grid:
            self._study.enqueue_trial(dict(settings), skip_if_exists=True)

    def begun(self) -> list[Trial]:
        """The trials that were asked for and not told, complete: those that a kill left behind, too."""
        import optuna

        running = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        return [self._completed(found) for found in sorted(running, key=lambda t: t.number)]

    def waiting(self) -> int:
        """How many enqueued settings have not been asked for."""
        import optuna

        return len(self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)))

    def __len__(self) -> int:
        """Trials asked for so far."""
        import optuna

        states = optuna.trial.TrialState
        begun = (states.RUNNING, states.COMPLETE, states.FAIL)
        return len(self._study.get_trials(deepcopy=False, states=begun))

    def ask(self) -> Trial:
        """The next trial: an enqueued one, or what the sampler proposes."""
        number = len(self)
        self._study.sampler = _sampler(self._spec, number)
        asked = self._study.ask(self._distributions)
        return Trial(asked.number, dict(asked.params))

    def told(self) -> list[Trial]:
        """The trials that are done, by number."""
        import optuna

        states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
        done = self._study.get_trials(deepcopy=False, states=states)
        return [Trial(found.number, dict(found.params)) for found in sorted(done, key=lambda t: t.number)]

    def tell(
        self,
        trial: Trial,
        objectives: tuple[float, float] | None,
        constraints: Mapping[str, float],
        attributes: Mapping[str, Any],
    ) -> None:
        """Say what a trial came to.

        Args:
            trial: Which.
            objectives: Robustness and collateral, of both of which more is better; None: it cannot be measured.
            constraints: What must be <= 0 for the trial to count, by name.
            attributes: Further numbers, for those who look at the study.
        """
        import optuna

        (found,) = (t for t in self._study.get_trials(deepcopy=False) if t.number == trial.number)
        asked = optuna.trial.Trial(self._study, found._trial_id)
        for name, value in constraints.items():
            asked.set_constraint(name, value)
        for name, attribute in attributes.items():
            asked.set_user_attr(name, attribute)
        if objectives is None or not all(map(math.isfinite, objectives)):
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, list(objectives))

    def _completed(self, found: optuna.trial.FrozenTrial) -> Trial:
        """A running trial with all of its settings.

        If a kill cut the asking off, the whole of it is proposed once more, on a copy of the study as it was then: what
        is drawn for one setting depends on what was drawn before it.
        """
        import optuna

        missing = [path for path in self._distributions if path not in found.params]
        if missing:
            settings = dict(found.system_attrs.get("fixed_params", {}))
            if not settings:
                sampler = _sampler(self._spec, found.number)
                copy = optuna.create_study(directions=self._study.directions, sampler=sampler)
                copy.add_trials([t for t in self._study.get_trials() if t.number < found.number])
                proposed = copy.ask(self._distributions)
                settings = dict(proposed.params)
                attributes = copy.trials[-1].system_attrs
                for key in attributes.keys() - found.system_attrs.keys():
                    self._study._storage.set_trial_system_attr(found._trial_id, key, attributes[key])
            for path in missing:
                distribution = self._distributions[path]
                internal = distribution.to_internal_repr(settings[path])
                self._study._storage.set_trial_param(found._trial_id, path, internal, distribution)
        (complete,) = (t for t in self._study.get_trials(deepcopy=False) if t.number == found.number)
        return Trial(complete.number, dict(complete.params))


def _journal(path: Path) -> optuna.storages.BaseStorage:
    """The journal in `path`, mended if a kill or a power cut tore its last line or left its lock behind."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    with disk.explained(path):
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # whoever held it is gone: the folder is ours
        if path.exists():
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                with path.open("r+b") as file:
                    file.truncate(whole)
        return JournalStorage(JournalFileBackend(str(path)))


def _distribution(axis: Axis, spec: SweepSpec) -> optuna.distributions.BaseDistribution:
    """Where the values of an axis come from: grids are enqueued, and need no more than their ends."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    low, high = axis.ends
    if spec.mode != "pareto" or axis.values is None:
        return FloatDistribution(low, high, log=axis.log and spec.mode == "pareto")
    if axis.step is not None:
        return FloatDistribution(low, high, step=axis.step)
    return CategoricalDistribution(axis.values)


def _sampler(spec: SweepSpec, number: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for the trial of that number, so that nothing hangs on what an earlier process drew."""
    from optuna import samplers

    stream = np.random.SeedSequence(entropy(spec.sampler_seed, f"trial {number}"))
    seed = int(stream.generate_state(1)[0])
    if spec.mode != "pareto":
        return samplers.RandomSampler(seed)  # never asked: all trials are enqueued
    if spec.sampler == "gp":
        return samplers.GPSampler(seed=seed)
    if spec.sampler == "tpe":
        return samplers.TPESampler(seed=seed)
    if spec.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    return samplers.RandomSampler(seed)
