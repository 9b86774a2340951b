"""Command `kerf revealed`: the ideal, the paid and the revealed objective of each arm of a finished study."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.runs.console import say, shell, terminal
from kerf.runs.interruption import goes_on_if_interrupted
from kerf.runs.paths import StudyFolder


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
@goes_on_if_interrupted
def revealed(out: Path, arms: tuple[str, ...], scenarios: int | None, continuation: str) -> None:
    """Read what the agents of the study in OUT want from what they choose, beside the ideal and what training paid.

    Also says whether the feedback was bad, and by which definition, and whether utility held where training never went.
    Writes revealed.txt and its records to OUT.
    """
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
