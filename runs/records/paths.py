"""Study folders on the command line. Imports little, so that `kerf --help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from kerf.lab.errors import KerfError
from kerf.runs.records.redaction import refuse_password


def is_address(where: str) -> bool:
    """Return whether it is a remote address rather than a path."""
    return "://" in where


def folder_of(address: str, cwd: Path = Path()) -> Path:
    """Return the local folder, below `cwd`, for the remote address `address`. It need not exist.

    Raises:
        KerfError: if the address has no path or host, has a query or a fragment, or contains a password.
    """
    refuse_password(address, "--out")
    parts = urlsplit(address)
    place = [part for part in f"{parts.netloc}{parts.path}".split("/") if part]
    if not place or parts.query or parts.fragment or any(part in (".", "..") for part in place):
        raise KerfError(f"--out: expected a folder or an address like s3://bucket/study, got {address!r}")
    return cwd / Path("out", "remote", parts.scheme, *place)


class StudyFolder(click.Path):
    """Parameter type of a study folder: a path, or a remote address, which becomes its local folder.

    The local folder of an address is `out/remote/<scheme>/<path>`.

    Args:
        reads: Whether the command reads the existing records, so that they are fetched.
    """

    name = "path"

    def __init__(self, reads: bool = False) -> None:
        super().__init__(path_type=Path)
        self._reads = reads

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or not is_address(value):
            return super().convert(value, param, ctx)
        from kerf.runs.records.store import Store, open_records

        folder = Store.kept_at(folder_of(value), value).path
        if self._reads:
            open_records(folder)
        return folder
