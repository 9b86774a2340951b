"""The folder of a study, as it is given on the command line. Imports little, so that `kerf --help` is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


def is_address(where: str) -> bool:
    """Whether it is an address, and not a path."""
    return "://" in where


class StudyFolder(click.Path):
    """A folder on the command line, or the address of one: then it is the folder here that stands for it.

    Args:
        pull: Whether what is missing here is fetched at once.
    """

    name = "path"

    def __init__(self, pull: bool = False) -> None:
        super().__init__(path_type=Path)
        self._pull = pull

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or not is_address(value):
            return super().convert(value, param, ctx)
        from kerf.runs.records.remote import pull, working_folder

        folder = working_folder(value)
        if self._pull:
            pull(folder)
        return folder
