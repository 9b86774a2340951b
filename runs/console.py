"""The console that commands print to, and lines that are printed as they are. Imports nothing before that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 140
"""Characters a line where the output is no terminal."""


def terminal() -> Console:
    """As wide as the terminal, and wide enough for the tables where there is none."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def say(console: Console, line: str) -> None:
    """Print a line as it is: no markup, no colours, no breaks."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
