"""Command line `kerf`. Each command imports what it needs when it runs, so that `kerf --help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kerf.lab.errors import KerfError
from kerf.runs.after.cli import after
from kerf.runs.bench.command import bench
from kerf.runs.cluster.commands import cluster
from kerf.runs.compare.command import compare
from kerf.runs.new.command import new
from kerf.runs.options import asks_for_a_recipe, on_ray, to_mlflow
from kerf.runs.records.paths import StudyFolder
from kerf.runs.reproduce.cli import reproduce
from kerf.runs.revealed.command import revealed
from kerf.runs.submit.commands import COMMANDS
from kerf.runs.sweep.command import sweep
from kerf.runs.terminal.command_group import Commands
from kerf.runs.terminal.console import say, shell, terminal
from kerf.runs.terminal.interruption import goes_on_if_interrupted
from kerf.runs.viewing import replay, report, show, ui


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kerf-lab", prog_name="kerf", message="%(prog)s %(version)s")
def main() -> None:
    """An adversarial-training side-effects lab: what else did the penalty change?"""


main.add_command(sweep)


@main.command()
@asks_for_a_recipe
@to_mlflow
@click.option("--no-mlflow", is_flag=True, help="Keep records on disk only.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Cells trained in parallel; default: one per core."
)
@on_ray
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0.0),
    metavar="SECONDS",
    help="Seconds of training between two checkpoints; default 60; 0: one after every iteration.",
)
@goes_on_if_interrupted
def run(
    recipe: str,
    preset: str | None,
    variant: str | None,
    seeds: int | None,
    sets: tuple[str, ...],
    out: Path | None,
    uri: str | None,
    no_mlflow: bool,
    workers: int | None,
    ray_address: str | None,
    checkpoint_every: float | None,
) -> None:
    """Run the study of RECIPE, a built-in recipe's name or a YAML file, or all studies of a collection such as essays.

    The same command again continues a study that was stopped.
    """
    if uri is not None and no_mlflow:
        raise KerfError("--mlflow and --no-mlflow exclude each other")
    if ray_address is None:
        from kerf.runs.execution.forked_workers import get_ready, will_fork

        if will_fork():
            get_ready()  # takes seconds; the recipe is read and checked meanwhile
    from kerf.runs.execution.attach import attach
    from kerf.runs.execution.preflight import check_out
    from kerf.runs.recipe.collection import is_collection
    from kerf.runs.recipe.files import load_recipes
    from kerf.runs.recipe.folders import study_folders
    from kerf.runs.records.store import open_records
    from kerf.runs.tracking.commands import default_uri

    tracking = None if no_mlflow else uri or default_uri()
    if is_collection(recipe):
        from kerf.runs.collection.command import asked_collection, run_collection

        collection, folder, record = asked_collection(recipe, preset, variant, seeds, sets, out)
        with attach(ray_address, list(collection.studies.values()), workers) as at_a_time:
            code = run_collection(collection, folder, record, tracking, at_a_time, terminal(), checkpoint_every)
        raise SystemExit(code)
    loaded = load_recipes(recipe, preset, sets, seeds, variant)
    folders = study_folders(loaded, preset, sets, seeds, out)
    for name, asked in loaded.items():
        check_out(open_records(folders[name]).path, asked)

    from kerf.runs.study import run_study

    with attach(ray_address, list(loaded.values()), workers) as at_a_time:
        codes = [
            run_study(asked, folders[name], tracking, at_a_time, terminal(), checkpoint_every)
            for name, asked in loaded.items()
        ]
    if len(loaded) > 1:
        from kerf.runs.report.across import across_table

        terminal().print(across_table({name: folders[name] for name in loaded}))
    raise SystemExit(max(codes))


@main.command()
@asks_for_a_recipe
def check(
    recipe: str, preset: str | None, variant: str | None, seeds: int | None, sets: tuple[str, ...], out: Path | None
) -> None:
    """Check RECIPE and print the settings that it resolves to. Writes nothing."""
    from kerf.runs.execution.preflight import check_out
    from kerf.runs.recipe.collection import is_collection
    from kerf.runs.recipe.files import load_recipes
    from kerf.runs.recipe.folders import study_folders
    from kerf.runs.recipe.text import recipe_text

    if is_collection(recipe):
        from kerf.runs.collection.command import asked_collection, collection_text

        collection, folder, _ = asked_collection(recipe, preset, variant, seeds, sets, out)
        terminal().print(collection_text(collection, folder))
        return
    loaded = load_recipes(recipe, preset, sets, seeds, variant)
    folders = study_folders(loaded, preset, sets, seeds, out)
    for name, asked in loaded.items():
        if out is not None:
            check_out(folders[name], asked)
        terminal().print(recipe_text(asked, folders[name]))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("out"), help="Folder for studies; default: ./out.")
@to_mlflow
def doctor(out: Path, uri: str | None) -> None:
    """Print what a bug report needs; exit with 1 if something is wrong with this installation.

    Shows no password, does not start Ray and leaves no file behind.
    """
    from kerf.runs.doctor import examine
    from kerf.runs.tracking.commands import default_uri

    found = examine(out, uri or default_uri())
    click.echo(found)
    raise SystemExit(1 if found.problems else 0)


@main.command()
def recipes() -> None:
    """List the built-in recipes and their presets."""
    from kerf.runs.recipe.text import list_text

    terminal().print(list_text())


@main.command()
@click.argument("out", type=StudyFolder(reads=True))
@click.option(
    "--situations",
    type=click.IntRange(min=1),
    metavar="N",
    help="Situations drawn where a world cannot list them all; default 64.",
)
@click.option("--arm", "arms", multiple=True, metavar="NAME", help="Examine this arm only; repeatable.")
@click.option("--by-seed", is_flag=True, help="Show a row for each seed; the records always hold them.")
@goes_on_if_interrupted
def exact(out: Path, situations: int | None, arms: tuple[str, ...], by_seed: bool) -> None:
    """Solve the training objectives of the arms of the study in OUT: optima, forced and excess loss, certificates.

    Evaluates every agent exactly, without sampling, and writes exact.txt and its records to OUT.
    """
    from kerf.runs.records.store import Store

    store = Store(out)
    store.manifest()  # refuses a folder without a study before the slow imports

    from kerf.runs.exact import SITUATIONS, STEPS, examine
    from kerf.runs.exact.table import ExactReport, write
    from kerf.runs.report.page import write_page
    from kerf.runs.terminal.pace import Pace

    console = terminal()
    with Pace(console, STEPS) as pace:
        found = examine(store, situations or SITUATIONS, arms, pace.begin, pace.reached)
    console.print(ExactReport(found, by_seed))
    write(store, found)
    write_page(store)
    say(console, f"\nlook      {shell('kerf', 'report', out, '--open')}")


@main.command()
@click.argument("target", type=StudyFolder(reads=True))
@click.option(
    "--generator",
    "generators",
    multiple=True,
    metavar="KIND",
    help="Generator of the attack; default illuminate; repeatable.",
)
@click.option(
    "--strength", "strengths", multiple=True, type=click.FloatRange(0, 1), metavar="S", help="In [0, 1]; default 1."
)
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="A setting of the generator, e.g. cells=4.")
@click.option("--objective", metavar="NAME", default="elicit", help="elicit (default), regret or disagreement.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="N",
    help="Scenarios of each attack; default 20,000, in a study 4,096.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Scenarios between two updates of the generator; default 512.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Random seed; default 0.")
@click.option("--all", "everything", is_flag=True, help="Every generator at strengths 0, 0.5, 1 and those trained at.")
@click.option("--arm", "arms", multiple=True, metavar="NAME", help="Attack this arm only; repeatable.")
@click.option("--latent", is_flag=True, help="Attack from inside: perturb the last hidden layer.")
@click.option(
    "--radius",
    "radii",
    multiple=True,
    type=click.FloatRange(min=0.0),
    metavar="R",
    help="Norm of a --latent perturbation; default 0.1, 0.25, 0.5 and 1, which changes half of an agent's acts.",
)
@click.option("--world", metavar="NAME", help="World of the policy; default: the one that its file names.")
@click.option("--reference", type=click.Path(path_type=Path), help="The aligned policy, for `disagreement`.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for attacks on a policy outside of a study.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Attacks in parallel; default: one per core.")
@click.option(
    "--pictures/--no-pictures",
    default=None,
    help="Draw the highest-scoring episodes; default: only if one agent is attacked.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the records there too."
)
@to_mlflow
@click.option("--no-mlflow", is_flag=True, help="Keep records on disk only.")
@goes_on_if_interrupted
def attack(
    batch: int | None, uri: str | None, no_mlflow: bool, latent: bool, radii: tuple[float, ...], **asked: Any
) -> None:
    """Search for scenarios in which TARGET does the forbidden act: a finished study, one of its agents, or any policy.

    In a study the aligned agents and those of every arm are attacked and compared; finished attacks are not repeated.
    With --latent their last hidden layer is perturbed, in 1,024 forged scenarios each.
    """
    from kerf.lab.attack_objective import make_objective

    make_objective(asked["objective"], finished=True)
    if uri is not None and no_mlflow:
        raise KerfError("--mlflow and --no-mlflow exclude each other")
    if radii and not latent:
        raise KerfError("--radius needs --latent: it bounds the perturbation; add --latent or leave --radius out")

    from kerf.runs.attacks.command import AttackRequest, attack_command
    from kerf.runs.recipe.attack_plan import BATCH
    from kerf.runs.tracking.commands import default_uri

    wanted = AttackRequest(**asked, batch=batch or BATCH, tracking=None if no_mlflow else uri or default_uri())
    if latent:
        from kerf.runs.attacks.latent_command import latent_command

        raise SystemExit(latent_command(wanted, radii, terminal()))
    raise SystemExit(attack_command(wanted, terminal()))


@main.command()
@click.argument("out", type=StudyFolder(reads=True))
@to_mlflow
@click.option("--models", is_flag=True, help="Add every agent of a study as a model that MLflow can serve.")
def sync(out: Path, uri: str | None, models: bool) -> None:
    """Bring MLflow up to date with the records in OUT."""
    from kerf.runs.records.store import Store
    from kerf.runs.tracking.commands import default_uri, ui_command
    from kerf.runs.tracking.studies import sync as sync_records
    from kerf.runs.tracking.sweeps import sync_sweep

    target, sweeps = uri or default_uri(), "sweep" in Store(out).manifest()
    if models and sweeps:
        raise KerfError("--models: expected a study, got a sweep, whose agents have no runs of their own")
    written = (sync_sweep if sweeps else sync_records)(out, target)
    if models:
        from kerf.runs.tracking.models import sync_models

        click.echo(f"{sync_models(out, target)} models written")
    click.echo(f"{written} runs written; to view them: {ui_command(target, out)}")


@main.command()
@click.argument("numbers", nargs=-1, type=int, metavar="[NUMBER]...")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures there too."
)
def oracles(numbers: tuple[int, ...], json_file: Path | None) -> None:
    """Compare what the lab measures with answers that are known in closed form.

    Runs the oracles with these numbers, or all. Exits with 1 if one does not match its prediction.
    """
    from kerf.runs.oracles.command import ask

    raise SystemExit(ask(numbers, json_file, terminal()))


for command in (*COMMANDS, after, bench, cluster, compare, new, report, replay, reproduce, revealed, show, ui):
    main.add_command(command)
