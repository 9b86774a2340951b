"""Command `kerf attack --latent`: latent attacks on the agents of a finished study."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.runs.attacks.command import AttackRequest
from kerf.runs.attacks.latent import SCENARIOS, latent_unit
from kerf.runs.attacks.latent_report import units_on, write_latent_report
from kerf.runs.attacks.run_attacks import do_all
from kerf.runs.attacks.target import asked_arms, study_of
from kerf.runs.execution.scheduler import DONE, FAILED
from kerf.runs.recipe.attack_plan import LATENT, RADII, targets
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import file_lock
from kerf.runs.records.gate_records import finished_seeds

MEANS_NOTHING = {
    "generators": "--generator",
    "sets": "--set",
    "everything": "--all",
    "world": "--world",
    "reference": "--reference",
    "out": "--out",
    "pictures": "--pictures",
    "json_file": "--json",
}
"""Arguments of `kerf attack` that do not apply to latent attacks, with their options."""


def latent_command(asked: AttackRequest, radii: Sequence[float], console: Console) -> int:
    """Make latent attacks, print the results and write the records; returns the exit code.

    Raises:
        KerfError: for a target that is not a finished study of networks with hidden layers, and for invalid arguments.
    """
    plain = AttackRequest(asked.target)
    for name, option in {**MEANS_NOTHING, "objective": "--objective", "batch": "--batch"}.items():
        if getattr(asked, name) != getattr(plain, name):
            raise KerfError(f"--latent takes --arm, --radius, --strength, --budget and --seed; leave {option} out")
    store, units = study_of(asked.target)
    if store is None or units:
        raise KerfError(
            f"{asked.target}: --latent attacks the agents of a finished study, with radii in units of its aligned "
            "agents; give the folder that holds study.json, and --arm for some of its arms"
        )
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    if not recipe.network.has_hidden_units:
        raise KerfError(
            f"{store.path}: its agents are linear (network.hidden=[]), so there is no hidden layer to perturb"
        )
    seeds = finished_seeds(store, recipe.seed_numbers, recipe.arms)
    tables = _tables(recipe)
    for name in asked.arms:
        if name in tables:
            raise KerfError(f"--arm {name}: it is {tables[name]} without a hidden layer to perturb; name another")
    chosen = asked_arms(asked.arms, recipe, store)
    arms = [name for name in chosen if name not in tables]
    if not arms:
        raise KerfError(f"{store.path}: all of its arms are tables, which have no hidden layer to perturb")
    control = recipe.control_arm if recipe.control_arm in arms else None
    todo = units_on(
        targets(arms, seeds), list(dict.fromkeys(asked.strengths)) or [1.0], asked.budget or SCENARIOS, asked.seed
    )
    with file_lock(store.path / ".attacks.lock", f"attacks on {store.path}"), store.session():
        complete = do_all(recipe, store, todo, latent_unit, asked.workers, console)
        if not complete:
            return FAILED
        left_out = {name: why for name, why in tables.items() if name in chosen}
        report = write_latent_report(store, todo, arms, control, left_out, sorted({*radii}) or RADII)
    console.print(report)
    console.print(f"\nrecords   {store.path / LATENT} (of each agent: {LATENT}.json, least.parquet)", soft_wrap=True)
    if asked.tracking is not None:
        from kerf.runs.tracking.commands import ui_command
        from kerf.runs.tracking.studies import sync

        sync(store.path, asked.tracking)
        console.print(f"mlflow    {ui_command(asked.tracking, store.path)}", soft_wrap=True)
    return DONE


def _tables(recipe: Recipe) -> dict[str, str]:
    """Arms that train no network, with what they train instead."""
    return {name: "a table" for name, arm in recipe.resolve().items() if arm.agent == "table"}
