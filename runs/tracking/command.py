"""The command `kerf ui`."""

from __future__ import annotations

import signal
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import click

from kerf.runs.options import to_mlflow
from kerf.runs.paths import StudyFolder

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("out", type=StudyFolder(reads=True), required=False)
@to_mlflow
@click.option("--no-browser", is_flag=True, help="Open no browser; only print the addresses.")
def ui(out: Path | None, uri: str | None, no_browser: bool) -> None:
    """Show MLflow's pages: of the study or sweep in OUT, or of all experiments.

    Serves them on this machine only, at a free port, until Ctrl-C. If MLflow is a server already, its pages are shown.
    """
    from kerf.runs.records.redaction import without_password
    from kerf.runs.tracking.studies import default_uri
    from kerf.runs.tracking.ui import Server, pages

    target = uri or default_uri()
    if urlsplit(target).scheme in ("http", "https"):
        _show(pages(without_password(target).rstrip("/"), target, out), no_browser)
        return
    with _noticed() as came:
        server = Server(target)
        shown = pages(server.address, target, out)
        click.echo("starting MLflow ...")
        with server:
            server.wait_for_answer(lambda: bool(came))
            if not came:
                _show(shown, no_browser)
                click.echo("Ctrl-C stops it")
            server.wait_for_end(lambda: bool(came))
    click.echo("stopped")
    if came[0] != signal.SIGINT:
        raise SystemExit(128 + came[0])


def _show(pages: dict[str, str], no_browser: bool) -> None:
    """Print the addresses, and open the first."""
    for name, address in pages.items():
        click.echo(f"{name:<12}{address}")
    if not no_browser:
        webbrowser.open(next(iter(pages.values())))


@contextmanager
def _noticed() -> Iterator[list[int]]:
    """Yield a list to which signals add their number. They interrupt nothing, so that no started process is lost."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
