"""Console output of commands. Imports nothing heavy until it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 140
"""Line width, in characters, if the output is not a terminal."""


def terminal() -> Console:
    """Make a console as wide as the terminal, or wide enough for the tables if there is none."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def say(console: Console, line: str) -> None:
    """Print a line verbatim: no markup, colours or line breaks."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
