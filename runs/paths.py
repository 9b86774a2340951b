"""The folder of a study, as it is given on the command line. Imports little, so that `kerf --help` is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from kerf.lab.errors import KerfError
from kerf.runs.records.redaction import refuse_password


def is_address(where: str) -> bool:
    """Whether it is an address, and not a path."""
    return "://" in where


def folder_of(address: str, cwd: Path = Path()) -> Path:
    """The folder on this machine, below the folder `cwd`, for what is kept at `address`. It need not be there yet.

    Raises:
        KerfError: for an address without a place in it, or with a password.
    """
    refuse_password(address, "--out")
    parts = urlsplit(address)
    place = [part for part in f"{parts.netloc}{parts.path}".split("/") if part]
    if not place or parts.query or parts.fragment or any(part in (".", "..") for part in place):
        raise KerfError(f"--out: expected a folder or an address like s3://bucket/study, got {address!r}")
    return cwd / Path("out", "remote", parts.scheme, *place)


class StudyFolder(click.Path):
    """A folder on the command line, or the address of one: then it is the folder here, `out/remote/<scheme>/<path>`,
    in which what is kept there is worked on.

    Args:
        reads: Whether the command reads the records that are there.
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
