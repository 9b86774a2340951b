"""Record of a collection: the studies in a folder that were run together, each in a folder of its own below it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError

STEM = "collection"
"""File stem of the record."""


@dataclass(frozen=True)
class Collected:
    """A collection of studies.

    Attributes:
        name: Its name.
        about: Its description.
        command: The command that runs it, or goes on with it.
        studies: Names of the studies, which are those of their folders, in their order.
    """

    name: str
    about: str
    command: str
    studies: Sequence[str]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def read_collected(folder: Path) -> Collected | None:
    """Read the record in `folder`; None if there is none.

    Raises:
        KerfError: if it is damaged.
    """
    path = folder / f"{STEM}.json"
    if not path.is_file():
        return None
    try:
        return Collected(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise KerfError(f"{path} is damaged: expected the record of a collection ({error})") from error


def holds_records(folder: Path) -> bool:
    """Whether there is a study or a collection in `folder`."""
    return any((folder / f"{name}.json").is_file() for name in ("study", STEM))


def no_study(folder: Path, expected: Path) -> KerfError:
    """The error for a folder that holds no study; of a collection it names the studies."""
    found = read_collected(folder)
    if found is None:
        return KerfError(f"{folder} holds no study: expected {expected}, written by kerf run")
    studies = ", ".join(str(folder / name) for name in found.studies)
    return KerfError(f"{folder} holds a collection, expected one of its studies: {studies}")
