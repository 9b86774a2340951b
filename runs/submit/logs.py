"""Readers of log files that are still written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

PAUSE = 0.5
"""Seconds between two checks of a file that has not grown."""


def tail(path: Path, ended: Callable[[], bool], follow: bool) -> Iterator[str]:
    """Contents of the file, in pieces; with `follow`, also what is appended until `ended` is true.

    A missing file counts as empty.
    """
    position = 0
    while True:
        last = not follow or ended()  # checked before reading, so that nothing is missed
        if path.exists():
            with path.open("rb") as file:
                file.seek(position)
                data = file.read()
            cut = len(data) if last else data.rfind(b"\n") + 1  # whole lines, so that no character is split
            position += cut
            if cut:
                yield data[:cut].decode("utf-8", errors="replace")
        if last:
            return
        time.sleep(PAUSE)


def tail_folder(folder: Path, ended: Callable[[], bool], follow: bool) -> Iterator[str]:
    """Contents of all files `*.log` in a folder, as `tail`; each piece comes after the name of its file."""
    positions: dict[Path, int] = {}
    while True:
        last = not follow or ended()
        for path in sorted(folder.glob("*.log")):
            with path.open("rb") as file:
                file.seek(positions.get(path, 0))
                data = file.read()
            cut = len(data) if last else data.rfind(b"\n") + 1
            positions[path] = positions.get(path, 0) + cut
            if cut:
                text = data[:cut].decode("utf-8", errors="replace")
                yield f"==> {path.stem}\n{text}" + ("" if text.endswith("\n") else "\n")
        if last:
            return
        time.sleep(PAUSE)
