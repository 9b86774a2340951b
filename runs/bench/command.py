"""Commands of `kerf bench`. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.runs.terminal.console import terminal


@click.group()
def bench() -> None:
    """Measure the speed of the lab on this machine."""


to_json = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write the figures to this file."
)


@bench.command()
@to_json
@click.option("--peers/--no-peers", default=True, help="Whether to time Stable-Baselines3 and rejax as well.")
@click.option(
    "--seeds",
    type=click.IntRange(min=0),
    default=10,
    metavar="N",
    help="Agents to align from scratch with each gradient implementation; default 10.",
)
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Compare ratios at a small size with bounds; exit with 1 if one is broken.",
)
@click.option(
    "--isa",
    type=click.Choice(["avx2"]),
    help="Limit all that is timed to these vector instructions; default: no limit.",
)
def train(json_file: Path | None, peers: bool, seeds: int, only_check: bool, isa: str | None) -> None:
    """Measure the speed of training against its peers and its limit, and compare its learning with autograd's.

    Installs the peers into a separate environment, out/peers.
    """
    if isa is not None:
        from kerf.runs.bench.instructions import hold_to

        hold_to(isa)
    from kerf.runs.bench.peer_environment import FOLDER
    from kerf.runs.bench.train import check as check_ratios
    from kerf.runs.bench.train import train as bench_train

    if only_check:
        raise SystemExit(0 if check_ratios(terminal()) else 1)
    bench_train(json_file, terminal(), peers=FOLDER if peers else None, num_seeds=seeds)


@bench.command("exact")
@to_json
def bench_exact(json_file: Path | None) -> None:
    """Measure time and memory of exact evaluation and of exact optima."""
    from kerf.runs.bench.exact import exact as measure_exact

    measure_exact(json_file, terminal())


@bench.command("generators")
@to_json
@click.option("--check", is_flag=True, help="Measure at a small size; exit with 1 if a generator exceeds its bound.")
def bench_generators(json_file: Path | None, check: bool) -> None:
    """Measure the cost of each generator, and of the latent adversary, as a share of training."""
    from kerf.runs.bench.generators import generators

    raise SystemExit(generators(json_file, terminal(), check))


@bench.command("scale")
@to_json
@click.option(
    "--check", is_flag=True, help="Measure at a small size; exit with 1 if a cost grows faster than its bound."
)
def bench_scale(json_file: Path | None, check: bool) -> None:
    """Measure how time grows with scenarios, weights, probes, env runners, arms and seeds."""
    from kerf.runs.bench.scale import scale

    raise SystemExit(scale(json_file, terminal(), check))


@bench.command("sweep")
@to_json
def bench_sweep(json_file: Path | None) -> None:
    """Measure the overhead of a sweep's driver; exit with 1 if it exceeds a twentieth."""
    from kerf.runs.bench.sweep import sweep_cost

    raise SystemExit(0 if sweep_cost(json_file, terminal()) else 1)
