"""Command `kerf revealed`: the ideal, the paid and the revealed objective of each arm of a finished study."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.lab.errors import KerfError
from kerf.runs.options import to_mlflow
from kerf.runs.records.paths import StudyFolder
from kerf.runs.terminal.console import say, shell, terminal
from kerf.runs.terminal.interruption import goes_on_if_interrupted


@click.command()
@click.argument("out", type=StudyFolder(reads=True))
@click.option("--arm", "arms", multiple=True, metavar="NAME", help="Read this arm only; repeatable.")
@click.option(
    "--scenarios",
    type=click.IntRange(min=1),
    metavar="N",
    help="Scenarios of each family in which choices are looked for, where the battery is a sample; default 8.",
)
@click.option(
    "--continuation",
    type=click.Choice(("own", "expert")),
    default="own",
    help="What follows a choice: the policy's own doing (default), or the expert's.",
)
@to_mlflow
@click.option("--no-mlflow", is_flag=True, help="Keep records on disk only.")
@goes_on_if_interrupted
def revealed(
    out: Path,
    arms: tuple[str, ...],
    scenarios: int | None,
    continuation: str,
    uri: str | None,
    no_mlflow: bool,
) -> None:
    """Read what the agents of the study in OUT want from what they choose, beside the ideal and what training paid.

    Also says whether the feedback was bad, and by which definition, and whether utility held where training never went.
    Writes revealed.txt and its records to OUT, and their figures to MLflow.
    """
    if uri is not None and no_mlflow:
        raise KerfError("--mlflow and --no-mlflow exclude each other")
    from kerf.runs.records.store import Store

    store = Store(out)
    store.manifest()  # refuses a folder without a study before the slow imports

    from kerf.runs.report.page import write_page
    from kerf.runs.revealed.objectives import PER_BLOCK, read_objectives
    from kerf.runs.revealed.table import ObjectivesReport, reruns, write

    console = terminal()
    with console.status("reading the study") as status:
        found = read_objectives(store, arms, scenarios or PER_BLOCK, continuation, status.update)
    console.print(ObjectivesReport(found))
    for line in ("", *reruns(found, store)):
        say(console, line)
    write(store, found)
    write_page(store)
    say(console, f"\nlook      {shell('kerf', 'report', out, '--open')}")
    if not no_mlflow:
        from kerf.runs.tracking.commands import default_uri, ui_command
        from kerf.runs.tracking.studies import sync

        tracking = uri or default_uri()
        sync(store.path, tracking)
        say(console, f"mlflow    {ui_command(tracking, store.path)}")
