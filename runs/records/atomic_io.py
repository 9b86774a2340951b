"""Writing that survives a kill: whole files, whole folders, whole lines, and one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kerf.lab.errors import KerfError

PARTIAL = ".partial-"
"""What follows a folder's name while it is written."""

_REMEDY = {
    errno.ENOSPC: "free some room",
    errno.EDQUOT: "free some room or have the quota raised",
    errno.EFBIG: "have the limit on file sizes raised",
    errno.EACCES: "get permission to write there or give --out another folder",
    errno.EPERM: "get permission to write there or give --out another folder",
    errno.EROFS: "give --out a folder on a disk that can be written",
    errno.EEXIST: "give --out a folder, not a file",
    errno.ENOTDIR: "give --out a folder, not a file",
    errno.ENAMETOOLONG: "give --out a shorter name",
    errno.ENOLCK: "give --out a folder on a disk that supports locks",
    errno.EOPNOTSUPP: "give --out a folder on a disk that supports locks",
}


class DiskError(KerfError):
    """The disk does not let us write: this record or, as things stand, any other."""


@contextmanager
def as_disk_error(path: Path) -> Iterator[None]:
    """Turns an `OSError` that the user can mend (no room, no permission, ...) into a `DiskError` with the remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDY.get(error.errno or 0)
        if remedy is None:
            raise
        raise DiskError(
            f"cannot write {error.filename or path}: {error.strerror}; {remedy}, then give the same command again "
            "(the records written so far are intact)"
        ) from error


def write(path: Path, data: bytes, flushed: bool = True) -> None:
    """Write a file so that it has either its old or its new content, whenever this process is killed; if it is to be
    flushed, also whenever the power goes."""
    beside = path.with_name(f".{path.name}.partial")
    with beside.open("wb") as file:
        file.write(data)
        if flushed:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
    if flushed:
        flush(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append `line` (without newline) in one write; starts a new line if the last one was torn."""
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def flush(path: Path) -> None:
    """Wait until a file or a folder (its list of names) is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole(final: Path) -> Iterator[Path]:
    """A fresh folder to put files into, which appears as `final`, flushed, when the block ends; gone if it raises."""
    partial = final.with_name(f"{final.name}{PARTIAL}{secrets.token_hex(4)}")
    final.parent.mkdir(parents=True, exist_ok=True)
    for leftover in final.parent.glob(f"{final.name}{PARTIAL}*"):
        shutil.rmtree(leftover)
    partial.mkdir()
    try:
        yield partial
        for path in partial.iterdir():
            flush(path)
        flush(partial)
        publish(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # a leftover does no harm: the next try removes it


def publish(partial: Path, final: Path) -> None:
    """Give a flushed folder its final name; raises `KerfError` if there is one already."""
    try:
        partial.rename(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise KerfError(f"{final} exists already: another process finished it meanwhile") from error
        raise
    flush(final.parent)


@contextmanager
def file_lock(path: Path, what: str, patience: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`; the kernel lets go of it when this process ends, however it ends.

    Args:
        path: The lock file; created if need be, empty unless held.
        what: What it guards, for the message.
        patience: Seconds to wait for another holder.
        shared: Whether others may hold it, too, who say the same.

    Raises:
        KerfError: if another process holds it still; names that process.
    """
    deadline = time.monotonic() + patience
    with as_disk_error(path):
        file = path.open("a+")
    with file:
        while True:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    holder = file.read().strip() or "unknown"
                    raise KerfError(
                        f"another process is at work on {what} ({holder}): wait for it, or end it, "
                        "or give --out another folder"
                    ) from None
                time.sleep(0.05)
            except OSError as error:
                raise KerfError(f"cannot lock {path}: {error.strerror}; give --out a folder on a local disk") from error
        if shared:  # one of many: there is no one holder to write down
            yield
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
