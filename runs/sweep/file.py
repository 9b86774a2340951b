"""Sweep files in YAML: the command line's options as fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError

from kerf.lab.errors import KerfError
from kerf.lab.settings import Settings
from kerf.runs.recipe.files import load_recipes, read_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.recipe.validation_errors import refusal
from kerf.runs.sweep import ARM
from kerf.runs.sweep.over import axis
from kerf.runs.sweep.spec import Count, Mode, Sampler, SweepSpec, resolve_spec
from kerf.runs.terminal.console import shell


class SweepFile(Settings):
    """A sweep as a file has it. What is left out is as on the command line."""

    sweep: Mode
    """Which kind."""

    recipe: str
    """A built-in recipe's name, or a file, from this file's folder."""

    preset: str | None = None
    """One of the recipe's presets."""

    variant: str | None = None
    """One of the recipe's variants."""

    set: Mapping[str, Any] = Field(default_factory=dict)
    """Fields of the recipe to change, by path: `--set`."""

    seeds: int | None = None
    """Number of seeds of each trial."""

    arm: str = ARM
    """The arm that is swept."""

    over: Mapping[str, str | float | tuple[float, ...]] = Field(min_length=1)
    """Setting -> its values: `A:B`, `A:B:STEP`, `A:B:log`, `A,B,C` or a list."""

    limit: Mapping[str, float] | None = None
    """One metric and the change that is asked for."""

    floor: Mapping[str, float] = Field(default_factory=dict)
    """Metrics and the least change of each."""

    trials: Count | None = None
    """Trials in all."""

    sampler: Sampler | None = None
    """What proposes them."""

    sampler_seed: int | None = None
    """Its seed."""

    batch: int | None = None
    """Trials proposed together."""

    held_out: int | None = None
    """Further seeds for the front."""

    points: int | None = None
    """Doses that a range begins with."""

    refine: int | None = None
    """Rounds of bisection."""


FIELDS_OF_MODE: Mapping[str, tuple[str, ...]] = {
    "dose": ("limit",),
    "threshold": ("limit", "points", "refine"),
    "pareto": ("floor", "trials", "sampler", "sampler_seed", "batch", "held_out"),
}
"""Fields that apply to one mode only."""


@dataclass(frozen=True)
class AskedSweep:
    """Contents of a sweep file: the recipe, the sweep, and the preset's name for the folder."""

    recipe: Recipe
    spec: SweepSpec
    preset: str | None


def one_recipe(
    name: str,
    preset: str | None,
    seeds: int | None,
    variant: str | None,
    *,
    sets: Sequence[str] = (),
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> Recipe:
    """The recipe of a sweep; the arguments are those of `load_recipes`.

    Raises:
        KerfError: also if the recipe has variants, and none is named.
    """
    loaded = load_recipes(name, preset, sets, seeds, variant, fields=fields)
    if len(loaded) > 1:
        raise KerfError(
            f"{name} has several variants ({', '.join(loaded)}), and a sweep takes one: choose it with --variant"
        )
    return next(iter(loaded.values()))


def read_sweep(path: str) -> AskedSweep:
    """Read and validate a sweep file.

    Raises:
        KerfError: if anything in it is invalid.
    """
    plain = read_recipe(path)
    if "sweep" not in plain:
        run = shell("kerf", "run", Path(path))
        raise KerfError(f"{path} has no field `sweep` (dose, pareto or threshold): it is a recipe; `{run}` runs it")
    try:
        file = SweepFile.model_validate(plain)
    except ValidationError as error:
        raise KerfError(f"{path}: {refusal(error, SweepFile)}") from error
    for mode, names in FIELDS_OF_MODE.items():
        for name in names:
            if name in plain and name not in FIELDS_OF_MODE[file.sweep]:
                raise KerfError(f"{path}: a {file.sweep} sweep has no field {name}, which belongs to {mode}")
    beside = Path(path).parent / file.recipe
    name = str(beside) if beside.is_file() else file.recipe
    recipe = one_recipe(name, file.preset, file.seeds, file.variant, fields=file.set)
    if file.limit is not None and len(file.limit) != 1:
        raise KerfError(f"{path}: limit must be one metric and its change, got {len(file.limit)}")
    try:
        spec = resolve_spec(
            recipe,
            file.sweep,
            [axis(name, form, file.arm) for name, form in file.over.items()],
            file.arm,
            next(iter(file.limit.items())) if file.limit else None,
            list(file.floor.items()),
            sampler=file.sampler,
            trials=file.trials,
            sampler_seed=file.sampler_seed,
            batch=file.batch,
            held_out=file.held_out,
            points=file.points,
            refine=file.refine,
        )
    except KerfError as error:
        raise KerfError(f"{path}: {error}") from error
    return AskedSweep(recipe, spec, file.preset)
