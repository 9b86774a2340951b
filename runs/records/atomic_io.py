"""Atomic writing of files, folders and lines, and file locks: safe if the process is killed."""

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
"""Suffix of the name of a folder that is being written."""

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
    """A record cannot be written to disk; other records will probably fail, too."""


@contextmanager
def as_disk_error(path: Path) -> Iterator[None]:
    """Convert an `OSError` that the user can fix (disk full, no permission, ...) into a `DiskError` with the remedy."""
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
    """Write a file atomically: it has its old or its new content if this process is killed.

    With `flushed` this also holds after a power failure. A device or a pipe is written to as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            file.write(data)
        return
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("wb") as file:
            file.write(data)
            if flushed:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:  # a signal, too, may come here
        beside.unlink(missing_ok=True)
        raise
    if flushed:
        flush(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append `line` (without newline) in one write; starts a new line if the last one is incomplete."""
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def flush(path: Path) -> None:
    """Flush a file or a folder (its directory entries) to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole(final: Path) -> Iterator[Path]:
    """Yield a new folder; it is flushed and renamed to `final` when the block ends, removed if the block raises."""
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
        shutil.rmtree(partial, ignore_errors=True)  # if this fails, the next try removes it


def publish(partial: Path, final: Path) -> None:
    """Rename a flushed folder to its final name; raises `KerfError` if that exists already."""
    try:
        partial.rename(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise KerfError(f"{final} exists already: another process finished it meanwhile") from error
        raise
    flush(final.parent)


@contextmanager
def file_lock(path: Path, what: str, patience: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`; the kernel releases it when this process ends, in whatever way.

    Args:
        path: The lock file; created if needed. It is empty unless the lock is held exclusively.
        what: The thing that it protects, for the error message.
        patience: Seconds to wait for another holder.
        shared: Whether the lock is shared with other processes that also ask for a shared lock.

    Raises:
        KerfError: if another process still holds it after that; names the process.
        DiskError: if it cannot be written.
    """
    deadline = time.monotonic() + patience
    with as_disk_error(path):
        file = path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
    with file:
        while True:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    holder = file.read().decode(errors="replace").strip() or "unknown"
                    raise KerfError(
                        f"another process is at work on {what} ({holder}): wait for it, or end it, "
                        "or give --out another folder"
                    ) from None
                time.sleep(0.05)
            except OSError as error:
                raise KerfError(f"cannot lock {path}: {error.strerror}; give --out a folder on a local disk") from error
        if shared:  # there may be many holders, so none is written down
            yield
            return
        file.truncate(0)
        with as_disk_error(path):
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            file.truncate(0)
