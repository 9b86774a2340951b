"""Command `kerf new`. Imports little, so that `kerf --help` is fast."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import click


@click.group()
def new() -> None:
    """Write a working template with its test: a recipe, a world or a generator."""


@new.command()
@click.argument("name")
def recipe(name: str) -> None:
    """Write NAME.yaml, a commented study that runs in seconds, as a template."""
    from kerf.runs.new.scaffold import check_recipe_name, write_recipe
    from kerf.runs.recipe.files import built_in_recipes

    check_recipe_name(name, built_in_recipes())
    _report(write_recipe(name, Path.cwd()), (f"kerf check {name}.yaml", f"kerf run {name}.yaml"))


@new.command()
@click.argument("name")
@click.option("--forgeries", is_flag=True, help="A world with forged emergencies and a penalty, without a base class.")
def world(name: str, forgeries: bool) -> None:
    """Write a package into ./NAME: a small world that tempts by a proxy reward, its tests, and a recipe."""
    from kerf.lab.worlds import known_worlds

    _package("world with forgeries" if forgeries else "world", name, known_worlds())


@new.command()
@click.argument("name")
def generator(name: str) -> None:
    """Write a package into ./NAME: an adversary that searches, with its tests."""
    from kerf.generators.registry import known_generators

    _package("generator", name, known_generators())


def _package(kind: str, name: str, known: Collection[str]) -> None:
    from kerf.runs.new.scaffold import package_names, write_package

    names = package_names(kind.split()[0], name, known)
    field = "arms.penalised.generator.kind" if kind == "generator" else "world"
    recipe = f"{name}/{names.module}.yaml --preset quick"
    tried = recipe if kind == "world" else f"smoke --set {field}={names.module}"
    _report(
        write_package(kind, names, Path.cwd()),
        (
            f"pip install -e {name}",
            f"pytest {name}",
            f"kerf run {tried} --no-mlflow",
        ),
    )


def _report(written: Sequence[Path], commands: Sequence[str]) -> None:
    for path in written:
        click.echo(f"wrote {path}")
    click.echo("next:")
    for command in commands:
        click.echo(f"  {command}")
