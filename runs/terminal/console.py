"""Console output of commands. Imports nothing heavy until it is used."""

from __future__ import annotations

import shlex
from pathlib import Path
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


def shell(*words: str | Path) -> str:
    """Return a command in a form that can be pasted into a shell from the present working folder."""
    texts = [f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words]
    return shlex.join(texts)


def say(console: Console, line: str) -> None:
    """Print a line verbatim: no markup, colours or line breaks."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
