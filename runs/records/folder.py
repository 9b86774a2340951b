"""Folders of records: files and folders that are written atomically, with checksums in `done.json`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerf.runs.records.atomic_io import as_disk_error, whole, write

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"[a-z0-9_@][a-z0-9_.@-]*")
"""Pattern of the names of records and arms."""


class Folder:
    """A folder whose files are written atomically: to a temporary file, flushed to disk and renamed.

    Args:
        path: The folder.
        flushed: Whether each file is flushed when written; False if the whole folder is flushed at the end.
    """

    names = NAME
    """Pattern of the names of its files."""

    def __init__(self, path: Path, flushed: bool = True) -> None:
        self.path, self._flushed = path, flushed

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the file `name` (lower case, with extension); raises `KerfError` if it cannot be written to disk."""
        if not self.names.fullmatch(name):
            raise ValueError(f"file names use a-z 0-9 _ . @ -, got {name!r}")
        path = self.path / name
        with as_disk_error(self.path):
            if path.parent != self.path:  # the folder itself exists, unless another process removed it on purpose
                path.parent.mkdir(exist_ok=True)
            write(path, data, self._flushed)

    def write_text(self, name: str, text: str) -> None:
        """Write the file `name` in UTF-8."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write `<name>.json` with sorted keys; raises `ValueError` on NaN and infinity."""
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        self.write_text(f"{name}.json", text + "\n")

    def write_table(self, name: str, columns: Mapping[str, Any] | pd.DataFrame) -> None:
        """Write `<name>.parquet`; see `kerf.runs.records.schema.table_bytes` for exceptions."""
        from kerf.runs.records.schema import table_bytes  # imported here: most commands need no pyarrow

        self.write_bytes(f"{name}.parquet", table_bytes(name, columns))


@contextmanager
def publish_whole(final: Path, unit: str) -> Iterator[Folder]:
    """Yield a new folder; it is renamed to `final` when the block ends, removed if the block raises.

    `done.json`, written last, holds the name of the `unit` and size and SHA-256 of each file.

    Raises:
        KerfError: if `final` exists by then, or the folder cannot be written to disk.
    """
    with as_disk_error(final), whole(final) as partial:
        folder = Folder(partial, flushed=False)
        yield folder
        files = {path.name: _fingerprint(path) for path in sorted(partial.iterdir())}
        folder.write_json("done", {"unit": unit, "files": files})


def damage(folder: Path, verify: bool) -> str | None:
    """Check a folder that `publish_whole` made; return what is wrong in words, or None if it is intact.

    `verify` also checks the SHA-256 of every file.
    """
    try:
        files = json.loads((folder / "done.json").read_text())["files"]
        sizes = {name: int(expected["bytes"]) for name, expected in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"done.json cannot be read ({error})"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != sizes[name]:
            return f"{name} has {path.stat().st_size} bytes, expected {sizes[name]}"
        if verify and _fingerprint(path) != expected:
            return f"the SHA-256 of {name} is not the one in done.json"
    return None


def _fingerprint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"a unit holds plain files only, got {path}")
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
