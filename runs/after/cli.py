"""Command `kerf after` on the command line. Imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.lab.errors import KerfError
from kerf.runs.options import to_mlflow
from kerf.runs.records.paths import StudyFolder
from kerf.runs.terminal.console import terminal
from kerf.runs.terminal.interruption import goes_on_if_interrupted


@click.command()
@click.argument("out", type=StudyFolder(reads=True))
@click.option(
    "--test",
    "tests",
    multiple=True,
    metavar="NAME",
    help="relearning, rebound, renewal, concealment, substitution, reattack, dormancy or trade; repeatable; "
    "default: all.",
)
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="NAME",
    help="Test this arm only; repeatable; default: those that predictions are about.",
)
@click.option("--iterations", type=click.IntRange(min=2), metavar="N", help="Iterations of relearning and rebound.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Tests in parallel; default: one per core.")
@to_mlflow
@click.option("--no-mlflow", is_flag=True, help="Keep records on disk only.")
@goes_on_if_interrupted
def after(
    out: Path,
    tests: tuple[str, ...],
    arms: tuple[str, ...],
    iterations: int | None,
    workers: int | None,
    uri: str | None,
    no_mlflow: bool,
) -> None:
    """Test what became of the value that a penalty suppressed in the study in OUT: erased, hidden, moved or kept.

    Trains the agents further and plays with them; finished tests are not repeated.
    """
    if uri is not None and no_mlflow:
        raise KerfError("--mlflow and --no-mlflow exclude each other")
    from kerf.runs.records.store import Store

    Store(out).manifest()  # refuses a folder without a study before the slow imports

    from kerf.runs.execution.forked_workers import get_ready, will_fork

    if will_fork():
        get_ready()  # takes seconds; this process imports and checks meanwhile

    from kerf.runs.after.command import after_command, asked_settings
    from kerf.runs.tracking.commands import default_uri

    settings = asked_settings(Store(out), tests, arms, iterations)
    tracking = None if no_mlflow else uri or default_uri()
    raise SystemExit(after_command(out, settings, workers, terminal(), tracking))
