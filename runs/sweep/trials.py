"""Trials of a sweep as an Optuna study, with a single driver: asked, resumed and told.

The study only keeps track of trials and proposes new ones; the results of a trial are in its cells on disk. A proposal
depends on the sampler's seed, the trial's number and the trials told so far, and on no state of this process. A sweep
that is killed, or loses its database, between any two writes therefore resumes as if it had not been interrupted.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kerf.lab.errors import KerfError
from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.lab.seeds import entropy
from kerf.runs.sweep.over import Axis
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.storage import Storage

if TYPE_CHECKING:
    import optuna

FLOORS = "constraints"
"""Trial attribute from which Optuna and optuna-dashboard read constraints, as a list. The dashboard (0.21) does not
read what `Trial.set_constraint` writes."""


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
    """The Optuna study of a sweep.

    Args:
        storage: Its storage.
        name: Name of the study.
        spec: The sweep.
        digest: Hash of recipe and sweep.

    Raises:
        KerfError: if the storage cannot be opened, or holds another sweep's study of that name.
    """

    def __init__(self, storage: Storage, name: str, spec: SweepSpec, digest: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._spec, self._storage = spec, storage
        self._distributions = {axis.path: _distribution(axis, spec) for axis in spec.over}
        opened = storage.open()
        self._study = storage.retrying(
            lambda: optuna.create_study(
                storage=opened,
                study_name=name,
                directions=["maximize", "maximize"],
                load_if_exists=True,
                sampler=_sampler(spec, 0),
            )
        )
        found = storage.retrying(lambda: self._study.user_attrs.get("kerf.sweep"))
        if found is None and not self._trials():
            storage.retrying(lambda: self._describe(digest))
        elif found != digest:
            raise KerfError(
                f"{storage.name} has a study {name!r} of another sweep; give --storage another database, or --out "
                "another folder"
            )

    def enqueue(self, grid: Sequence[Mapping[str, float]]) -> None:
        """Queue these settings as the next trials, in order; settings that are in the study already are skipped."""
        for settings in grid:
            self._storage.retrying(partial(self._study.enqueue_trial, dict(settings), skip_if_exists=True))

    def begun(self) -> list[Trial]:
        """Trials asked for and not told, with all settings completed; includes those of a killed process."""
        return [self._storage.retrying(partial(self._completed, found)) for found in self._trials("RUNNING")]

    def waiting(self) -> int:
        """Number of queued settings that have not been asked for."""
        return len(self._trials("WAITING"))

    def __len__(self) -> int:
        """Number of trials asked for so far."""
        return len(self._trials("RUNNING", "COMPLETE", "FAIL"))

    def ask(self) -> Trial:
        """The next trial: a queued one, or one proposed by the sampler."""
        return self._storage.retrying(partial(self._ask, len(self)))

    def _ask(self, number: int) -> Trial:
        """The trial of this number, which may have been asked for before the storage became unavailable."""
        unfinished = self._incomplete() or [found for found in self._read("RUNNING") if found.number == number]
        if not unfinished:
            self._study.sampler = _sampler(self._spec, number)
            asked = self._study.ask()
            if asked.number == number:
                for path, distribution in self._distributions.items():
                    asked._suggest(path, distribution)
                return Trial(number, dict(asked.params))
            unfinished = self._incomplete()
        return self._completed(unfinished[0])

    def _incomplete(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that were begun and lack settings, because the storage failed before all were stored."""
        return [found for found in self._read("RUNNING") if self._distributions.keys() - found.params.keys()]

    def finished(self) -> list[Trial]:
        """The finished trials, by number."""
        return [Trial(found.number, dict(found.params)) for found in self._trials("COMPLETE", "FAIL")]

    def tell(
        self,
        trial: Trial,
        objectives: tuple[float, float] | None,
        constraints: Sequence[float],
        attributes: Mapping[str, Any],
        retry: bool = True,
    ) -> None:
        """Tell the study the outcome of a trial.

        Args:
            trial: The trial.
            objectives: Robustness and collateral, both to be maximised; None: not measurable.
            constraints: Values that must be <= 0 for the trial to be feasible.
            attributes: Further attributes, for readers of the study.
            patient: Whether to wait for an unavailable storage.

        Raises:
            StorageError: if it stays unavailable. The trial can be told again later.
        """
        import optuna

        def once() -> None:
            (found,) = (t for t in self._read() if t.number == trial.number)
            if found.state.is_finished():
                return  # it was told, but the storage failed before confirming
            asked = optuna.trial.Trial(self._study, found._trial_id)
            if objectives is not None and constraints:
                self._study._storage.set_trial_system_attr(found._trial_id, FLOORS, list(constraints))
            for name, attribute in attributes.items():
                asked.set_user_attr(name, attribute)
            if objectives is None or not all(map(math.isfinite, objectives)):
                self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(asked, list(objectives))

        self._storage.retrying(once, retry)

    def _trials(self, *states: str) -> list[optuna.trial.FrozenTrial]:
        return self._storage.retrying(partial(self._read, *states))

    def _read(self, *states: str) -> list[optuna.trial.FrozenTrial]:
        """The trials in these states (none given: in any state), by number."""
        from optuna.trial import TrialState

        wanted = tuple(TrialState[state] for state in states) or None
        return sorted(self._study.get_trials(deepcopy=False, states=wanted), key=lambda trial: trial.number)

    def _describe(self, digest: str) -> None:
        """Write the description of a new study; the last write marks it as complete."""
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.set_metric_names(list(self._spec.traded))
        for name, text in (*_description(self._spec).items(), ("kerf.sweep", digest)):
            self._study.set_user_attr(name, text)

    def _completed(self, found: optuna.trial.FrozenTrial) -> Trial:
        """A running trial with all of its settings.

        If a kill interrupted the asking, the whole trial is proposed again on a copy of the study as it was then,
        because the draw of one setting depends on the draws before it.
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


def _description(spec: SweepSpec) -> dict[str, str]:
    """Description of the study in words, for readers of the database."""
    sums = {
        ROBUSTNESS: f"how far {spec.words.elicited} of strength {spec.yardstick:g} have fallen",
        COLLATERAL: f"mean change of {', '.join(spec.untouched)}",
    }
    bounds = {f"floor {floor.metric}": f">= {floor.change:g}, or infeasible" for floor in spec.floors}
    if spec.limit is not None:
        bounds[f"limit {spec.limit.metric}"] = f"{spec.limit.change:g}"
    return {
        "effects of": f"{spec.arm} against {spec.control}, mean over seeds; more is better",
        **{metric: said for metric, said in sums.items() if metric in spec.traded},
        **bounds,
        "sampler": spec.sampler if spec.mode == "pareto" else "grid",
    }


def _distribution(axis: Axis, spec: SweepSpec) -> optuna.distributions.BaseDistribution:
    """The distribution of an axis; grids are queued, so only their ends are needed."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    low, high = axis.ends
    if spec.mode != "pareto" or axis.values is None:
        return FloatDistribution(low, high, log=axis.log and spec.mode == "pareto")
    if axis.step is not None:
        return FloatDistribution(low, high, step=axis.step)
    return CategoricalDistribution(axis.values)


def _sampler(spec: SweepSpec, number: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for the trial of that number, so that it does not depend on draws of an earlier process."""
    from optuna import samplers

    stream = np.random.SeedSequence(entropy(spec.sampler_seed, f"trial {number}"))
    seed = int(stream.generate_state(1)[0])
    if spec.mode != "pareto":
        return samplers.RandomSampler(seed)  # never used: all trials are queued
    if spec.sampler == "gp":
        return samplers.GPSampler(seed=seed)
    if spec.sampler == "tpe":
        return samplers.TPESampler(seed=seed)
    if spec.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    return samplers.RandomSampler(seed)
