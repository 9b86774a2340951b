"""Commands `kerf report` and `kerf replay`. Import what they need when they run."""

from __future__ import annotations

from pathlib import Path

import click

from kerf.runs.console import say, terminal
from kerf.runs.paths import StudyFolder


@click.command()
@click.argument("out", type=StudyFolder(reads=True))
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
def report(out: Path, opens: bool) -> None:
    """Make the page of the study or sweep in OUT: report.html, from its records alone.

    One file that needs no network: the verdicts, figures with their numbers, and a player of the agents' episodes.
    """
    from kerf.runs.records.store import Store
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


def open_in_browser(path: Path, anchor: str) -> None:
    """Open a file in the user's browser."""
    import webbrowser

    webbrowser.open(path.absolute().as_uri() + anchor)
