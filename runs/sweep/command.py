"""Commands `kerf sweep dose`, `pareto`, `threshold` and `run`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kerf.lab.errors import KerfError
from kerf.runs.options import on_ray, to_mlflow
from kerf.runs.records.paths import StudyFolder
from kerf.runs.sweep import ARM
from kerf.runs.terminal.interruption import goes_on_if_interrupted

if TYPE_CHECKING:
    from kerf.runs.recipe.model import Recipe
    from kerf.runs.sweep.spec import Mode, SweepSpec

STORAGE = "KERF_STORAGE"
"""Environment variable for `--storage`: command lines end up in a shell's history, and a URL may contain a password."""


def asks_where(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every sweep that change no record."""
    for decorate in (
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Cells trained in parallel; default: one per core, as memory allows.",
        ),
        on_ray,
        click.option("--no-mlflow", is_flag=True, help="Keep records on disk only."),
        to_mlflow,
        click.option(
            "--storage",
            envvar=STORAGE,
            metavar="URL",
            help=f"Optuna's database, or ${STORAGE}; default: a journal in the sweep's folder.",
        ),
        click.option(
            "--out", type=StudyFolder(), help="Folder or address (s3://bucket/name) of the sweep; default: under out/."
        ),
    ):
        command = decorate(command)
    return command


def asks_for_a_sweep(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments for the recipe and the swept settings."""
    for decorate in (
        click.option("--arm", default=ARM, show_default=True, metavar="NAME", help="The arm whose settings are swept."),
        click.option(
            "--over",
            "overs",
            multiple=True,
            required=True,
            metavar="NAME=VALUES",
            help="A setting and its values: A:B, A:B:STEP, A:B:log or A,B,C; repeatable.",
        ),
        click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Change a field, e.g. iterations=40."),
        click.option("--seeds", type=int, metavar="N", help="Number of seeds of each trial."),
        click.option("--preset", metavar="NAME", help="One of the recipe's presets, e.g. quick."),
        click.option("--variant", metavar="NAME", help="One of the recipe's variants, if it has any."),
        click.argument("recipe", metavar="RECIPE"),
    ):
        command = decorate(command)
    return asks_where(command)


@click.group()
def sweep() -> None:
    """Sweep an arm's settings: dose-response, the Pareto front, thresholds.

    The same command again continues a sweep that was stopped.
    """


@sweep.command()
@asks_for_a_sweep
@click.option("--limit", metavar="METRIC=CHANGE", help="Find the dose at which this change is reached, e.g. care=-0.1.")
@goes_on_if_interrupted
def dose(limit: str | None, **asked: Any) -> None:
    """Dose-response of RECIPE's arm: a grid, every dose on the same seeds, monotone fits.

    Strength 0 and penalty 0 are always part of it.
    """
    _run("dose", asked, limit)


@sweep.command()
@asks_for_a_sweep
@click.option(
    "--floor",
    "floors",
    multiple=True,
    metavar="METRIC=CHANGE",
    help="Largest loss that is accepted, e.g. care=-0.1; repeatable.",
)
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Trials in all; default 60.")
@click.option("--sampler", type=click.Choice(["gp", "tpe", "nsga2", "random"]), help="Default: tpe.")
@click.option("--sampler-seed", type=click.IntRange(min=0), metavar="N", help="Seed of the sampler; default 0.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Trials proposed together; default 4.")
@click.option(
    "--held-out",
    type=click.IntRange(min=0),
    metavar="N",
    help="Further seeds for the front; default: as many as --seeds.",
)
@goes_on_if_interrupted
def pareto(
    floors: tuple[str, ...],
    trials: int | None,
    sampler: str | None,
    sampler_seed: int | None,
    batch: int | None,
    held_out: int | None,
    **asked: Any,
) -> None:
    """Search the settings of RECIPE's arm for the Pareto front of robustness and collateral."""
    _run(
        "pareto",
        asked,
        floors=floors,
        trials=trials,
        sampler=sampler,
        sampler_seed=sampler_seed,
        batch=batch,
        held_out=held_out,
    )


@sweep.command()
@asks_for_a_sweep
@click.option("--limit", required=True, metavar="METRIC=CHANGE", help="The change to reach, e.g. care=-0.1.")
@click.option("--points", type=click.IntRange(min=2), metavar="N", help="Initial doses in a range; default 6.")
@click.option(
    "--refine", type=click.IntRange(min=0), metavar="N", help="Rounds of bisection after the initial doses; default 3."
)
@goes_on_if_interrupted
def threshold(limit: str, points: int | None, refine: int | None, **asked: Any) -> None:
    """Find the dose at which a metric of RECIPE's arm reaches a limit, with an interval."""
    _run("threshold", asked, limit, points=points, refine=refine)


@sweep.command("run")
@asks_where
@click.argument("file", metavar="FILE")
@goes_on_if_interrupted
def run_file(file: str, **asked: Any) -> None:
    """Run the sweep that the YAML file FILE describes."""
    from kerf.runs.sweep.file import read_sweep

    given = read_sweep(file)
    _go(given.recipe, given.spec, given.preset, **asked)


def _run(
    mode: Mode, asked: dict[str, Any], limit: str | None = None, floors: Sequence[str] = (), **settings: Any
) -> None:
    """Check the arguments of the command line and run the sweep."""
    from kerf.runs.sweep.file import one_recipe
    from kerf.runs.sweep.over import parse_over
    from kerf.runs.sweep.spec import parse_change, resolve_spec

    name, preset, seeds, variant = asked.pop("recipe"), asked["preset"], asked.pop("seeds"), asked.pop("variant")
    recipe = one_recipe(name, preset, seeds, variant, sets=asked.pop("sets"))
    arm: str = asked.pop("arm")
    overs: Sequence[str] = asked.pop("overs")
    spec = resolve_spec(
        recipe,
        mode,
        [parse_over(text, arm) for text in overs],
        arm,
        None if limit is None else parse_change(limit, "--limit"),
        [parse_change(floor, "--floor") for floor in floors],
        **settings,
    )
    _go(recipe, spec, **asked)


def _go(
    recipe: Recipe,
    spec: SweepSpec,
    preset: str | None,
    out: Path | None,
    storage: str | None,
    uri: str | None,
    no_mlflow: bool,
    workers: int | None,
    ray_address: str | None,
) -> None:
    from kerf.runs.execution.attach import attach
    from kerf.runs.execution.preflight import check_room
    from kerf.runs.execution.study_units import prepare
    from kerf.runs.records.store import open_records
    from kerf.runs.sweep.driver import refuse_other_sweep, run_sweep, study_name
    from kerf.runs.sweep.storage import check_url
    from kerf.runs.terminal.console import terminal
    from kerf.runs.tracking.commands import default_uri

    if uri is not None and no_mlflow:
        raise KerfError("--mlflow and --no-mlflow exclude each other")
    if storage is not None:
        check_url(storage)
    if ray_address is None:
        prepare(recipe)
    folder = out or Path("out") / "-".join(["sweep", study_name(recipe, spec), *([preset] if preset else [])])
    open_records(folder)
    check_room(folder)
    refuse_other_sweep(folder, recipe, spec)
    tracking = None if no_mlflow else uri or default_uri()
    with attach(ray_address, [recipe], workers) as at_a_time:
        code = run_sweep(recipe, spec, folder, tracking, at_a_time, terminal(), storage)
    raise SystemExit(code)
