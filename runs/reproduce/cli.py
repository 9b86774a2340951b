"""Command line of `kerf reproduce`. Imports nothing heavy until the command runs."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.lab.errors import KerfError
from kerf.runs.terminal.console import terminal


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "only_list", is_flag=True, help="Print the names of the results and what each one is.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures there too."
)
def reproduce(names: tuple[str, ...], only_list: bool, json_file: Path | None) -> None:
    """Compare published results with what the lab gives in their place.

    Measures the results of these names, or all. Exits with 1 if a figure is not reproduced.
    """
    from kerf.runs.reproduce import command

    if only_list:
        if json_file is not None:
            raise KerfError("--list and --json exclude each other: a list has no figures")
        command.list_entries(names, terminal())
        return
    raise SystemExit(command.reproduce(names, json_file, terminal()))
