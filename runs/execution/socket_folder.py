"""Folder for sockets with a short path: socket paths are limited to 107 bytes, and batch jobs often have long ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kerf.lab.errors import KerfError

LONGEST = 107
"""Maximum length of a socket path, in bytes."""

SHORT = ("/tmp", "/var/tmp", "/dev/shm")
"""Temporary folders with short paths, used if the wanted path is too long."""


@contextmanager
def socket_folder(wanted: str, below: int, short: Sequence[str] = SHORT) -> Iterator[Path | None]:
    """Create a folder for sockets and remove it afterwards; yields None if `wanted` itself can be used.

    Args:
        wanted: Preferred folder.
        below: Length of the socket paths relative to the folder, in bytes, with the leading separator.
        short: Other folders to create it in.

    Raises:
        KerfError: if no folder is both short enough and writable.
    """
    if _fits(wanted, below):
        yield None
        return
    for place in short:
        if _fits(place, below + len("/kerf-12345678")):
            try:
                folder = tempfile.mkdtemp(prefix="kerf-", dir=place)
            except OSError:  # full, or no permission
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
    """Whether a folder is writable or can be created, and its path is short enough."""
    path = Path(folder)
    while not path.exists() and path != path.parent:
        path = path.parent
    return len(os.fsencode(folder)) + below <= LONGEST and os.access(path, os.W_OK | os.X_OK)
