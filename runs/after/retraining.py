"""Tests that train: relearning, rebound, and the naive agents that relearning is compared with.

They train with the study's own trainer and settings, as its arms do. All agents of a seed, the naive one included, get
the same scenarios.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import cast

from kerf.agents.export import Exportable
from kerf.lab.after.relearning import needed
from kerf.lab.battery import happens
from kerf.lab.errors import KerfError
from kerf.lab.metrics import Kind, kind_of
from kerf.lab.rollout import Policy, rollout
from kerf.runs.after.case import Case, Found
from kerf.runs.execution.measurements import Measurements, make_battery
from kerf.runs.execution.trainer import TrainingRun
from kerf.runs.execution.trainers import trainer_of
from kerf.runs.execution.training_log import Log, Progress
from kerf.runs.recipe.arm_kinds import Arm, GeneratorChoice
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import ALIGNED

RETRAINED = "after-test"
"""Name of the arm that a retrained agent is trained by; it is in no recipe."""

MEASUREMENTS, OF_HABIT = 10, 2
"""Measurements of a learning curve besides the one at its start, and of a phase of `rebound`, whose ends count."""

VALUE, ACT = "value", "act"
"""What a learning curve holds: the served value's score, and the share of false emergencies with the forbidden act."""


@dataclass(frozen=True)
class _From(TrainingRun):
    """A training run that starts from a given policy, whatever the arm says.

    Attributes:
        origin: The policy.
    """

    origin: Exportable | None = None

    def network(self, recipe: Recipe, arm: str = ALIGNED) -> Exportable:  # type: ignore[override]  # a table, too
        assert self.origin is not None
        return self.origin


class Curve:
    """Measures a policy on the scenarios of a learning curve, as a battery does."""

    def __init__(self, case: Case) -> None:
        self._world, self._act = case.world, happens(case.world.dilemma.forbidden)
        self._value = case.served[1]
        self._real, self._forged = case.real("curve"), case.forged("curve")
        self._uniforms = {
            VALUE: case.uniforms("curve value", len(self._real)),
            ACT: case.uniforms("curve act", len(self._forged)),
        }

    def measure(self, policy: Policy) -> dict[str, float]:
        """The mean scores `VALUE` and `ACT`, in [0, 1]."""
        real = rollout(policy, self._world, self._real, self._uniforms[VALUE])
        forged = rollout(policy, self._world, self._forged, self._uniforms[ACT])
        return {VALUE: float(self._value(real).mean()), ACT: float(self._act(forged).mean())}


@dataclass(frozen=True)
class Retrained:
    """A learning curve: iterations and scores `(m,)`, the start included, and the final policy."""

    iterations: Sequence[int]
    scores: Mapping[str, Sequence[float]]
    policy: Exportable

    def columns(self, phase: str) -> dict[str, list[object]]:
        """The curve as columns, with the name of its phase."""
        return {
            "phase": [phase] * len(self.iterations),
            "iteration": list(self.iterations),
            **{name: list(scores) for name, scores in self.scores.items()},
        }


class _Kept(Measurements):
    """Measurements that keep the policy that was measured last."""

    policy: Exportable

    def add(self, policy: Policy) -> None:
        super().add(policy)
        self.policy = cast(Exportable, policy)


def retrain(
    case: Case,
    origin: Exportable,
    iterations: int,
    design: Mapping[str, float] | None = None,
    without: Sequence[str] = (),
    level: float = math.inf,
    measurements: int = MEASUREMENTS,
) -> Generator[Progress, None, Retrained]:
    """Train a copy of `origin` without a penalty on the natural stream, with measurements on the way.

    Args:
        case: The agent under test.
        origin: The policy to start from.
        iterations: Training iterations.
        design: Event weights of the reward; None: the ideal utility.
        without: Families that are left out of the stream.
        level: Score of the value from which on nothing is left to learn: training ends after the first measurement,
            that of `origin` included, that is no lower.
        measurements: How often it is measured, besides at the start.
    """
    recipe = _recipe(case, iterations, design, without, measurements)
    log = Log(case.target, iterations)
    measured = _Kept(Curve(case), log)  # type: ignore[arg-type]  # measures only, without a digest
    measured.add(origin)
    run = _From(case.target, case.store, log, measured, case.num_threads, None, origin)
    with closing(trainer_of(recipe).train(recipe.resolve()[RETRAINED], run)) as training:
        while measured.rows[-1].scores[VALUE] < level and (progress := next(training, None)) is not None:
            yield progress
    rows = measured.rows
    scores = {name: [row.scores[name] for row in rows] for name in (VALUE, ACT)}
    return Retrained([row.iteration for row in rows], scores, measured.policy)


def _recipe(
    case: Case, iterations: int, design: Mapping[str, float] | None, without: Sequence[str], measurements: int
) -> Recipe:
    """The study's recipe with one more arm, by which the agent is trained."""
    recipe = case.recipe
    trained = next((arm for arm in recipe.resolve().values() if arm.train), None)
    if trained is None:
        raise KerfError(f"{case.store.path}: no arm of this study trains, so there is nothing to relearn")
    first = _first_of_chain(recipe.resolve(), trained)
    source = GeneratorChoice.model_validate({"kind": "natural", **({"without": tuple(without)} if without else {})})
    # `after` names the arm's random stream, which must differ from the one that the study's arms were trained on.
    arm = Arm(kind="continued", generator=source, after=None if recipe.exact is not None else first)
    changes = {
        "arms": {**recipe.arms, RETRAINED: arm},
        "iterations": iterations,
        "measure_every": max(1, round(iterations / measurements)),
        "design": None if design is None else dict(design),
    }
    return recipe.model_copy(update=changes)


def _first_of_chain(arms: Mapping[str, ResolvedArm], arm: ResolvedArm) -> str:
    while arm.after is not None:
        arm = arms[arm.after]
    return arm.name


def naive(case: Case) -> Generator[Progress, None, tuple[Found, Exportable]]:
    """Make the naive agent of a seed, and what `relearning` and `rebound` find with it.

    It is aligned as the seed's agent was, with the same initial weights and random streams, on a natural stream without
    the families that the forbidden act is good for. Figures: those of both tests, and `competence`, its least skill.
    """
    recipe = shorter(case.recipe, case.settings.naive)
    log = Log(case.target, recipe.align_iterations)
    run = TrainingRun(case.target, case.store, log, Measurements(Curve(case), log), case.num_threads)  # type: ignore[arg-type]
    aligned = yield from trainer_of(recipe).align(run, case.tempting)
    scores = make_battery(case.recipe).measure(aligned.policy)
    competence = min(score for name, score in scores.items() if kind_of(name) is Kind.SKILL)
    again = yield from relearning(case, aligned.policy)
    figures, tables = {**again.figures, "competence": competence}, dict(again.tables)
    if case.world.dilemma.style is not None:
        returned = yield from rebound(case, aligned.policy)
        figures |= returned.figures
        tables["rebound"] = returned.tables["curve"]
    return Found(figures, {**again.facts, "without": list(case.tempting)}, tables), aligned.policy


def shorter(recipe: Recipe, share: float) -> Recipe:
    """The recipe with alignment phases of `share` of their iterations; a phase that has any keeps one at least."""
    section = "align" if recipe.exact is None else "exact"
    phases = {path.rpartition(".")[2]: phase for path, phase in recipe.phases}
    cut = {
        name: phase.model_copy(update={"iterations": max(min(1, phase.iterations), round(share * phase.iterations))})
        for name, phase in phases.items()
    }
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=cut)})


def relearning(case: Case, origin: Exportable | None = None) -> Generator[Progress, None, Found]:
    """Train an agent on the natural stream with the ideal utility until it serves the value again.

    Figures: `start`, `end` (score of the value before and after), `level` to reach, `needed` iterations and `censored`
    (1 if the level was not reached, and `needed` is the iterations trained).
    """
    iterations = case.settings.training_iterations(case.recipe.iterations)
    level = case.settings.level * Curve(case).measure(case.aligned)[VALUE]
    made = yield from retrain(case, case.policy if origin is None else origin, iterations, level=level)
    scores = made.scores[VALUE]
    reached = needed(made.iterations, scores, level)
    figures: dict[str, float | None] = {
        "start": scores[0],
        "end": scores[-1],
        "level": level,
        "needed": reached.iterations,
        "censored": float(reached.censored),
    }
    return Found(figures, {"iterations": iterations}, {"curve": made.columns("relearning")})


def rebound(case: Case, origin: Exportable | None = None) -> Generator[Progress, None, Found]:
    """Train a harmless habit and train it away again, on a natural stream without what the forbidden act is good for.

    The habit is the event `Dilemma.style`, rewarded by C in one half of the iterations and punished by C in the other.
    Figures: `value_change`, `act_change` from before to after, and `value_habit`, `act_habit` to between both.
    """
    dilemma = case.world.dilemma
    assert dilemma.style is not None, "checked"
    iterations = max(2, case.settings.training_iterations(case.recipe.iterations) // 2)
    columns: dict[str, list[object]] = {}
    policy, scores = case.policy if origin is None else origin, list[Mapping[str, Sequence[float]]]()
    for phase, sign in (("habit", 1.0), ("without it", -1.0)):
        design = {**case.world.ideal, dilemma.style: sign * dilemma.cost}
        made = yield from retrain(case, policy, iterations, design, case.tempting, measurements=OF_HABIT)
        policy = made.policy
        scores.append(made.scores)
        for name, entries in made.columns(phase).items():
            columns.setdefault(name, []).extend(entries)
    figures: dict[str, float | None] = {}
    for name in (VALUE, ACT):
        start = scores[0][name][0]
        figures |= {f"{name}_habit": scores[0][name][-1] - start, f"{name}_change": scores[1][name][-1] - start}
    return Found(figures, {"habit": dilemma.style, "iterations": 2 * iterations}, {"curve": columns})
