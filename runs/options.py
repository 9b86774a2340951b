"""Options and arguments shared by several commands. Imports only click, so that `kerf --help` is fast."""

from __future__ import annotations

from collections.abc import Callable

import click

from kerf.runs.records.paths import StudyFolder


def asks_for_a_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument that names a recipe and the options that change it."""
    for decorate in (
        click.option(
            "--out", type=StudyFolder(), help="Folder or address (s3://bucket/name) of the study; default: under out/."
        ),
        click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Change a field, e.g. penalty=5."),
        click.option("--seeds", type=int, metavar="N", help="Number of seeds."),
        click.option("--preset", metavar="NAME", help="One of the recipe's presets, e.g. quick."),
        click.option("--variant", metavar="NAME", help="One of the recipe's variants; default: all in turn."),
        click.argument("recipe", metavar="RECIPE"),
    ):
        command = decorate(command)
    return command


on_ray = click.option(
    "--ray",
    "ray_address",
    envvar="KERF_RAY",
    metavar="ADDRESS",
    help="Run on this Ray cluster (auto: the one that runs this job) instead of a private Ray; or $KERF_RAY.",
)

to_mlflow = click.option(
    "--mlflow", "uri", metavar="URI", help="Tracking URI; default: $MLFLOW_TRACKING_URI, or SQLite in ./out/mlflow.db."
)
