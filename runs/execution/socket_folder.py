"""A folder for sockets: their paths may have 107 bytes, and the temporary folder of a batch job is often long."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kerf.lab.errors import KerfError

LONGEST = 107
"""Bytes of the longest path of a socket."""

SHORT = ("/tmp", "/var/tmp", "/dev/shm")
"""Temporary folders with short paths, which take the place of one with a long path."""


@contextmanager
def socket_folder(wanted: str, below: int, short: Sequence[str] = SHORT) -> Iterator[Path | None]:
    """A fresh folder for sockets whose names have `below` bytes, removed afterwards; None if `wanted` itself will do.

    Args:
        wanted: Where sockets would be.
        below: Bytes that follow that, the first separator included.
        short: Where else they may be.

    Raises:
        KerfError: if no folder is short enough and can be written.
    """
    if _fits(wanted, below):
        yield None
        return
    for place in short:
        if _fits(place, below + len("/kerf-12345678")):
            try:
                folder = tempfile.mkdtemp(prefix="kerf-", dir=place)
            except OSError:  # full, or not for us
                continue
            break
    else:
        raise KerfError(
            f"no temporary folder takes sockets: {wanted} is not writable or longer than {LONGEST - below} bytes, and "
            f"{', '.join(short)} are not writable; set TMPDIR to a short path"
        )
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fits(folder: str, below: int) -> bool:
    """Whether a folder can be written, or made, and its path is short enough."""
    path = Path(folder)
    while not path.exists() and path != path.parent:
        path = path.parent
    return len(os.fsencode(folder)) + below <= LONGEST and os.access(path, os.W_OK | os.X_OK)
