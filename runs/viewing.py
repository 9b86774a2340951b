"""Commands `kerf show`, `kerf report`, `kerf replay` and `kerf ui`. Import what they need when they run."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.runs.options import to_mlflow
from kerf.runs.records.paths import StudyFolder
from kerf.runs.terminal.console import say, terminal


@click.command()
@click.argument("out", type=StudyFolder(reads=True))
@click.option("--full", is_flag=True, help="Print all tables, those of attacks included.")
def show(out: Path, full: bool) -> None:
    """Print the conclusion of the study, sweep or collection in OUT again, from its records alone."""
    from kerf.runs.records.collected import read_collected
    from kerf.runs.records.gate_records import instead_of_table
    from kerf.runs.records.store import Store

    if read_collected(out) is not None:
        from kerf.runs.collection.command import show_collection

        show_collection(out, terminal())
        return

    store = Store(out)
    if "sweep" in store.manifest():
        from kerf.runs.sweep.show import shown_again, tables_again

        width = terminal().width
        click.echo(tables_again(store, width) if full else "\n".join([*shown_again(store, width), ""]), nl=False)
        return
    instead = instead_of_table(store)
    if instead is not None:
        click.echo(instead, nl=False)
        return
    if not full:
        from kerf.runs.report.conclusion import conclude
        from kerf.runs.report.ending import ending

        console = terminal()
        for line in ending(conclude(store), out, console.width):
            say(console, line)
        return
    from kerf.runs.report import show as show_report

    show_report(out, terminal())
    if store.attacks():
        from kerf.runs.attacks.table import show_attacks

        show_attacks(store, terminal())
    if (store.path / "after.json").exists():
        from kerf.runs.report.after.reread import read_report
        from kerf.runs.report.after.table import AfterTable

        terminal().print()
        terminal().print(AfterTable(read_report(store)[0]))


@click.command()
@click.argument("out", type=StudyFolder(reads=True))
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
def report(out: Path, opens: bool) -> None:
    """Make the page of the study, sweep or collection in OUT: report.html, from its records alone.

    One file that needs no network: the verdicts, figures with their numbers, and a player of the agents' episodes.
    """
    from kerf.runs.records.collected import read_collected
    from kerf.runs.records.store import Store

    if read_collected(out) is not None:
        from kerf.runs.collection.page import write_page as write_collection
        from kerf.runs.collection.summary import summarise

        path = write_collection(summarise(out), out)
    else:
        from kerf.runs.report.page import write_page

        path = write_page(Store(out))
    say(terminal(), f"page      {path}")
    if opens:
        open_in_browser(path, "")


@click.command()
@click.argument("out", type=StudyFolder(reads=True))
@click.option("--scenario", metavar="TEXT", help="A scenario as text, such as 'station(truth=genuine, ...)'.")
@click.option("--arm", "--arms", "arms", multiple=True, metavar="NAME", help="Show this arm; may be given again.")
@click.option("--gif", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw the first scenario.")
@click.option("--open", "opens", is_flag=True, help="Open the player in a browser.")
def replay(out: Path, scenario: str | None, arms: tuple[str, ...], gif: Path | None, opens: bool) -> None:
    """Watch the aligned agent and the arms of the study in OUT, side by side on the same scenarios.

    Without --scenario those are shown in which behaviour changed most, one of every value. Writes replay.html.
    """
    from kerf.runs.records.store import Store
    from kerf.runs.report.page import REPLAY, write_replay
    from kerf.runs.report.replay_text import course_lines

    store, console = Store(out), terminal()
    found = write_replay(store, scenario, arms)
    for line in course_lines(found):
        say(console, line)
    path = store.path / REPLAY
    say(console, f"\nplayer    {path}")
    if gif is not None:
        from kerf.runs.report.replay_gif import write_gif

        write_gif(found, store, gif)
        say(console, f"picture   {gif}")
    if opens:
        open_in_browser(path, "#replay")


@click.command()
@click.argument("out", type=StudyFolder(reads=True), required=False)
@to_mlflow
@click.option("--no-browser", is_flag=True, help="Open no browser; only print the addresses.")
def ui(out: Path | None, uri: str | None, no_browser: bool) -> None:
    """Show MLflow's pages: of the study or sweep in OUT, or of all experiments.

    Serves them on this machine only, at a free port, until Ctrl-C. If MLflow is a server already, its pages are shown.
    """
    import webbrowser

    from kerf.runs.tracking.commands import default_uri
    from kerf.runs.tracking.ui import show

    def shown(pages: dict[str, str]) -> None:
        for name, address in pages.items():
            click.echo(f"{name:<12}{address}")
        if not no_browser:
            webbrowser.open(next(iter(pages.values())))

    raise SystemExit(show(uri or default_uri(), out, click.echo, shown))


def open_in_browser(path: Path, anchor: str) -> None:
    """Open a file in the user's browser."""
    import webbrowser

    webbrowser.open(path.absolute().as_uri() + anchor)
