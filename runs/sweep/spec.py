"""Specification of a sweep, checked against its recipe before any training starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from kerf.lab.collateral import collateral_values, traded
from kerf.lab.dilemma import Words
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.metrics import COLLATERAL, COMPETENCE, ROBUSTNESS, UTILITY, in_full
from kerf.lab.settings import Settings
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import field_patch, merge
from kerf.runs.recipe.model import Recipe, known_metrics, recipe_hash
from kerf.runs.recipe.validation_errors import refusal
from kerf.runs.sweep.over import PENALTY, STRENGTH, Axis

Mode = Literal["dose", "pareto", "threshold"]
Sampler = Literal["gp", "tpe", "nsga2", "random"]
Count = Annotated[int, Field(ge=1, le=100_000)]

Change = tuple[str, float]
"""A metric (its full name, or the name of a value) and a change of it."""


class Bound(Settings):
    """A metric and a change of it."""

    metric: str
    """The metric, e.g. `value/care` or `collateral`."""

    change: float
    """The change against the control, negative for a loss."""


class SweepSpec(Settings):
    """A sweep, with nothing left to inherit."""

    mode: Mode
    """`dose`: a grid, fitted by monotone curves; `pareto`: robustness against collateral; `threshold`: where a metric
    has come to a limit."""

    arm: str
    """The arm whose settings are swept."""

    control: str
    """The arm whose change is subtracted: the recipe's control."""

    over: tuple[Axis, ...]
    """What is swept."""

    limit: Bound | None = None
    """The change that is asked for (`threshold`), and drawn as a contour (`dose`)."""

    floors: tuple[Bound, ...] = ()
    """Changes below which a trial does not count (`pareto`)."""

    yardstick: float
    """The strength of the false emergencies on which robustness is measured: the same in all trials."""

    untouched: tuple[str, ...]
    """Values over which collateral is averaged: those that are a target of the penalty at no strength of the sweep."""

    focus: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    """Metrics that are shown besides those asked about. They follow from the recipe's world, so no record has them."""

    words: Annotated[Words, Field(exclude=True)] = Words()
    """The world's words, likewise."""

    traded: Annotated[tuple[str, str], Field(exclude=True)] = (ROBUSTNESS, COLLATERAL)
    """The two metrics that are held against each other (`kerf.lab.collateral.traded`), likewise."""

    points: Count = 6
    """Doses that a range begins with (`threshold`)."""

    refine: Annotated[int, Field(ge=0, le=30)] = 3
    """Rounds of bisection after them (`threshold`)."""

    batch: Count = 4
    """Trials that are proposed together (`pareto`): part of what decides the records, unlike the number of workers."""

    sampler: Sampler = "tpe"
    """What proposes trials (`pareto`). `gp` needs fewer, and some seconds for each."""

    sampler_seed: Annotated[int, Field(ge=0)] = 0
    """Its seed."""

    held_out: Annotated[int, Field(ge=0, le=1000)] = 0
    """Further seeds, after the recipe's, on which the front is measured again (`pareto`)."""

    trials: Count = 60
    """Trials in all (`pareto`). A sweep that is done can be given more."""

    @property
    def metrics(self) -> list[str]:
        """Metrics that this sweep asks about by name."""
        asked = [*self.traded, *([self.limit.metric] if self.limit else []), *(f.metric for f in self.floors)]
        return list(dict.fromkeys(asked))

    def digest(self, recipe: Recipe) -> str:
        """SHA-256 (hex) of recipe and sweep, without the number of trials."""
        plain = [recipe_hash(recipe), self.model_dump(mode="json", exclude={"trials"})]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def resolve_spec(
    recipe: Recipe,
    mode: Mode,
    axes: Sequence[Axis],
    arm: str,
    limit: Change | None = None,
    floors: Sequence[Change] = (),
    **settings: Any,
) -> SweepSpec:
    """Resolve the specification of a sweep of `recipe`.

    Args:
        recipe: The base recipe; its arms include the control and the swept arm.
        mode: Kind of sweep.
        axes: The swept settings.
        arm: The swept arm.
        limit: A metric (its full name, or the name of a value) and the requested change of it.
        floors: Metrics and their lowest accepted changes, in the same form.
        settings: Fields of `SweepSpec` that were given.

    Raises:
        KerfError: for settings that cannot be swept or do not apply to this mode.
    """
    control = _control_of(recipe, arm)
    over = _axes_of(mode, axes)
    given = {name: value for name, value in settings.items() if value is not None}
    world = get_world(recipe.world)
    if mode == "threshold" and limit is None:
        raise KerfError(f"a threshold sweep needs a limit, e.g. --limit {world.dilemma.served or COLLATERAL}=-0.1")
    if mode == "pareto" and not world.dilemma.has_forgeries:
        raise KerfError(
            f"a pareto sweep needs robustness: world {world.name} has no false emergencies to measure it by"
        )
    swept = [axis.ends[1] for axis in over if axis.path == STRENGTH]
    strength = recipe.resolve()[arm].generator.strength
    given.setdefault("yardstick", swept[0] if swept else strength)
    untouched = collateral_values(world, swept or [strength])
    pair = traded(world, untouched)
    metrics = [*known_metrics(world, recipe.battery), *dict.fromkeys((COMPETENCE, *pair))]
    if mode == "pareto":
        given.setdefault("held_out", recipe.seeds)
    try:
        spec = SweepSpec(
            mode=mode,
            arm=arm,
            control=control,
            over=over,
            limit=None if limit is None else _bound(limit, "--limit", metrics),
            floors=tuple(_bound(floor, "--floor", metrics) for floor in floors),
            focus=focus(world),
            words=world.dilemma.words,
            untouched=untouched,
            traded=pair,
            **given,
        )
    except ValidationError as error:
        raise KerfError(f"sweep: {refusal(error, SweepSpec)}") from error
    if spec.limit is not None and spec.limit.change == 0:
        raise KerfError("--limit: the change must not be 0, for no change is where every dose begins")
    for axis in over:
        _check_axis(recipe, arm, axis)
    return spec


def _control_of(recipe: Recipe, arm: str) -> str:
    """The control of a sweep of `arm`. Raises `KerfError` if the arm cannot be swept or there is no control."""
    if arm not in recipe.arms:
        raise KerfError(f"--arm: {unknown_name('arm', arm, recipe.arms)}")
    resolved = recipe.resolve()
    if not resolved[arm].train or resolved[arm].yoked_to is not None:
        why = "does not train" if not resolved[arm].train else f"is yoked to {resolved[arm].yoked_to!r}"
        raise KerfError(f"--arm: expected an arm that can be swept by itself, got {arm!r}, which {why}")
    control = recipe.control_arm
    if control is None or control == arm or resolved[control].yoked_to is not None:
        raise KerfError(
            f"a sweep needs a control arm besides {arm!r}, and recipe {recipe.name!r} has {control!r}: set `control` "
            "to an arm that just trains on"
        )
    return control


def _axes_of(mode: Mode, axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """The axes of a sweep of this mode. Raises `KerfError` for axes that the mode does not allow."""
    if len({axis.path for axis in axes}) < len(axes):
        raise KerfError("--over: expected each setting once")
    most = {"dose": 2, "threshold": 1, "pareto": 20}[mode]
    if not 1 <= len(axes) <= most:
        raise KerfError(
            f"a {mode} sweep is over {'1' if most == 1 else f'1 to {most}'} settings (--over), got {len(axes)}"
        )
    return tuple(_grid_with_zero(axis) for axis in axes) if mode == "dose" else tuple(axes)


def with_settings(recipe: Recipe, settings: Mapping[str, float]) -> Recipe:
    """The recipe with settings changed, by path.

    Raises:
        KerfError: for an unknown path, or a value that it does not accept.
    """
    plain: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    for path, value in settings.items():
        number = int(value) if float(value).is_integer() else value  # a whole number may be a count
        plain = merge(plain, field_patch(plain, path, number))
    try:
        return Recipe.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        raise refusal(error, Recipe) from error


def _check_axis(recipe: Recipe, arm: str, axis: Axis) -> None:
    """Refuse an unknown setting, one that the arm does not use, and one that alignment or the battery depend on."""
    made = []
    for value in axis.values or axis.ends:
        try:
            made.append(with_settings(recipe, {axis.path: value}))
        except KerfError as error:
            raise KerfError(f"over {axis.name}: {error}") from error
    shared = {_aligned_by(changed) for changed in made}
    if len(shared) > 1:
        raise KerfError(
            f"over {axis.name}: all trials share one aligned agent a seed and one battery, which {axis.path} would "
            "change; sweep a setting of the arm, or run a study for each value"
        )
    trained = {changed.resolve()[arm].model_dump_json() + _beside_arm(changed) for changed in made}
    if len(made) > 1 and len(trained) < len(made):
        raise KerfError(
            f"over {axis.name}: arm {arm!r} is the same at {axis.path} = {made and axis.ends[0]:g} and "
            f"{axis.ends[1]:g}, for it says otherwise itself; sweep arms.{arm}.{axis.name} or another arm"
        )


def _aligned_by(recipe: Recipe) -> str:
    """Everything that the aligned agents and the battery depend on, as text."""
    plain = recipe.model_dump(
        mode="json",
        exclude={
            *("name", "about", "arms", "control", "uncontrolled", "primaries", "iterations", "measure_every"),
            *("penalty", "strength", "design"),
            *({"exact"} if recipe.exact is None else {"align"}),
        },
    )
    # Training settings affect arms only; the frozen scale of advantages is measured with the base recipe.
    plain.pop("training")
    if recipe.exact is not None:
        del plain["exact"]["training"], plain["exact"]["table"]
    return json.dumps(plain, sort_keys=True)


def _beside_arm(recipe: Recipe) -> str:
    """Everything sweepable that a cell depends on besides its arm's settings."""
    design = dict(recipe.design) if isinstance(recipe.design, Mapping) else recipe.design
    return json.dumps([recipe.iterations, recipe.measure_every, design])


def _grid_with_zero(axis: Axis) -> Axis:
    if axis.values is None:
        low, high = axis.ends
        raise KerfError(
            f"over {axis.name}: a dose sweep is over a grid or a list, got the range {low:g} to {high:g}; give a step "
            f"({low:g}:{high:g}:{(high - low) / 10:g}) or a list"
        )
    return axis.with_zero() if axis.path in (STRENGTH, PENALTY) else axis


def _bound(asked: Change, option: str, metrics: Sequence[str]) -> Bound:
    name, change = asked
    try:
        others = [metric for metric in (ROBUSTNESS, COLLATERAL, UTILITY) if metric in metrics]
        return Bound(metric=in_full(name, metrics, others), change=change)
    except KerfError as error:
        raise KerfError(f"{option}: {error}") from error


def parse_change(text: str, option: str) -> Change:
    """Parse `METRIC=CHANGE`, given to the option `option`.

    Raises:
        KerfError: if it is invalid.
    """
    name, equals, change = (part.strip() for part in text.partition("="))
    if not equals:
        raise KerfError(f"{option} {text}: expected METRIC=CHANGE, e.g. {option} {COLLATERAL}=-0.1")
    try:
        return name, float(change)
    except ValueError:
        raise KerfError(f"{option} {text}: expected a number after {name!r}, got {change!r}") from None
