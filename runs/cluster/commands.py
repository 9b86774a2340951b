"""Commands of `kerf cluster`. Imports only click until one of them runs."""

from __future__ import annotations

import click


@click.group()
def cluster() -> None:
    """Start or stop a Ray cluster of simulated nodes on this machine, to try kerf submit --to ray."""


@cluster.command()
@click.option(
    "--nodes", type=click.IntRange(min=1), default=2, show_default=True, help="Number of nodes, including the head."
)
@click.option("--cpus", type=click.IntRange(min=1), metavar="N", help="CPUs per node; default: those of this machine.")
def up(nodes: int, cpus: int | None) -> None:
    """Start the cluster. It listens on the loopback address only and requires its token."""
    import os

    from kerf.runs.cluster.local import up as start

    found = start(nodes, cpus or os.cpu_count() or 1)
    click.echo(f"{nodes} nodes of {found.cpus} CPUs at {found.address}; kerf submit RECIPE --to ray uses it")
    click.echo(f"for Ray's own commands: RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={found.token_file}")
    click.echo("to stop it and all that runs on it: kerf cluster down")


@cluster.command()
def down() -> None:
    """Stop the cluster and all that runs on it."""
    from kerf.runs.cluster.local import down as end

    click.echo(f"the local cluster is stopped ({end()} processes ended)")
