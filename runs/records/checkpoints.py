"""Checkpoints: the state from which an interrupted unit resumes, written to disk atomically.

    checkpoints/<unit>/<iterations done>/    state.json, arrays.safetensors, done.json with size and SHA-256 of both
    checkpoints/<unit>/<iterations>.damaged-*/    a damaged checkpoint, kept for inspection

They are outside the unit's folder and are removed when the unit is published; their timing does not affect the records.
The two latest are kept, so that the earlier one can replace a damaged one. Checkpoints of a study with a remote address
are uploaded, too. They contain no pickles: arrays are stored as safetensors, all other values as JSON.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from kerf.runs.records.atomic_io import as_disk_error
from kerf.runs.records.folder import damage, publish_whole
from kerf.runs.records.provenance import code
from kerf.runs.records.store import Store, Unit

EVERY = 60.0
"""Default seconds between two checkpoints of a unit."""

FOLDER = "checkpoints"
KEPT = 2

State = tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]]
"""The state of one part of a unit: arrays by name, and JSON values by name."""

_NUMBERED = re.compile(r"[0-9]+")


class Checkpoints:
    """The checkpoints of one unit.

    Args:
        store: The study's folder.
        unit: The unit.
        recipe_hash: Hash of the unit's recipe. Checkpoints of another recipe, or another version of the code, are not
            used.
        every: Seconds between two checkpoints; 0: after every iteration.
        stopping: Whether the unit is about to be stopped, so that a checkpoint is due at once.

    Attributes:
        path: Folder of the checkpoints.
        notes: Messages for the user, each a sentence.
    """

    def __init__(
        self,
        store: Store,
        unit: Unit,
        recipe_hash: str,
        every: float = EVERY,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.path = store.path / FOLDER / unit.name
        self.notes: list[str] = []
        self._store, self._unit, self._every, self._stopping = store, unit, every, stopping
        self._name = f"{FOLDER}/{unit.name}"
        self._made_by = {"unit": unit.name, "recipe_hash": recipe_hash, **_code()}
        self._latest = time.monotonic()

    def newest(self) -> Mapping[str, State] | None:
        """Load the latest intact checkpoint, as the state by part; None if there is none.

        Damaged checkpoints are renamed; those of another recipe or version of the code are removed. Both add a message
        to `notes`.
        """
        for torn in self.path.glob("*.partial-*"):
            shutil.rmtree(torn, ignore_errors=True)
        self._store.remote.pull_checkpoints(self._name)
        for folder in reversed(self._folders()):
            wrong = damage(folder, verify=True)
            if wrong is not None:
                self._set_aside(folder, wrong)
                continue
            kept = json.loads((folder / "state.json").read_bytes())
            if kept["made_by"] != self._made_by:
                odd = sorted(key for key in kept["made_by"] if kept["made_by"][key] != self._made_by.get(key))
                self._note(f"checkpoint {folder} is of another {', '.join(odd)} and was removed")
                self._drop(folder)
                continue
            arrays = load((folder / "arrays.safetensors").read_bytes())
            self.notes.append(f"goes on after {int(folder.name)} iterations")
            return {
                part: ({name.partition("/")[2]: arrays[name] for name in arrays if name.startswith(f"{part}/")}, plain)
                for part, plain in kept["parts"].items()
            }
        return None

    def offer(self, iterations: int, state: Callable[[], Mapping[str, State]]) -> None:
        """Write a checkpoint of `state()`, by part, if one is due; `iterations` is the number done.

        Raises:
            DiskError: if it cannot be written to disk.
        """
        if time.monotonic() - self._latest >= self._every or self._stopping():
            self.keep(iterations, state())

    def keep(self, iterations: int, parts: Mapping[str, State]) -> None:
        """Write a checkpoint of all parts now; raises as `offer`."""
        final = self.path / f"{iterations:09d}"
        if not final.exists():  # else a worker believed dead has written the same
            arrays = {
                f"{part}/{name}": np.asarray(array, order="C")
                for part, (named, _) in parts.items()
                for name, array in named.items()
            }
            plain = {part: values for part, (_, values) in parts.items()}
            with publish_whole(final, self._unit.name) as folder:
                folder.write_bytes("arrays.safetensors", save(arrays))
                folder.write_text("state.json", json.dumps({"made_by": self._made_by, "parts": plain}))
            self._store.remote.push_folder(f"{self._name}/{final.name}")
        for older in self._folders()[:-KEPT]:
            self._drop(older)
        self._latest = time.monotonic()

    def remove(self) -> None:
        """Remove all checkpoints that are not damaged, and the folder if it is empty then."""
        self._store.remote.remove(self._name)
        _remove(self.path, self._unit)

    def _folders(self) -> list[Path]:
        """Return the folders of the checkpoints, oldest first."""
        return sorted(path for path in self.path.glob("*") if _NUMBERED.fullmatch(path.name))

    def _drop(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._store.remote.remove(f"{self._name}/{folder.name}")

    def _set_aside(self, folder: Path, wrong: str) -> None:
        aside = folder.with_name(f"{folder.name}.damaged-{secrets.token_hex(4)}")
        with as_disk_error(folder):
            folder.rename(aside)
        self._drop(folder)  # also removes the remote copy
        self._note(f"checkpoint {folder} is damaged ({wrong}): it is now {aside.name}, and the one before is used")

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        self._store.append_timing({"unit": self._unit.name, "checkpoint": sentence, "at": time.time()})


def clear(store: Store, finished: Iterable[Unit]) -> None:
    """Remove checkpoints of published units, left by a process that died before it removed them."""
    there = store.remote.files(FOLDER)
    for unit in finished:
        if any(name.startswith(f"{FOLDER}/{unit.name}/") for name in there):
            store.remote.remove(f"{FOLDER}/{unit.name}")
        _remove(store.path / FOLDER / unit.name, unit)


def _remove(path: Path, unit: Unit) -> None:
    for folder in path.glob("*"):
        if ".damaged-" not in folder.name:
            shutil.rmtree(folder, ignore_errors=True)
    for empty in (path, *path.parents[: len(Path(unit.name).parts)]):
        try:
            empty.rmdir()
        except OSError:  # not empty, or removed already
            break


_code = functools.cache(code)
