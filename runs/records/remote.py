"""Remote copy of the folder of a study, at an address such as `s3://bucket/study`, accessed through fsspec.

All work is done in a local folder, whose file `.remote` holds the address; records are read from there. Published
records are also uploaded. `done.json`, with the checksums of the other files, is uploaded last, so an interrupted
upload counts as none. Missing records are fetched. `kerf.runs.records.store.Store` does all this; other code need not
know whether a study has a remote copy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError
from kerf.runs.records.atomic_io import DiskError, as_disk_error, file_lock, whole, write
from kerf.runs.records.folder import damage

MARK = ".remote"
TRIES = 3
PAUSE = 1.0
"""Seconds of pause before the second try of a transfer; four times as many before the third."""

PATIENCE = 600.0
"""Seconds to wait for another process of this machine that fetches into the same folder."""

_UNITS = (
    "aligned/seed-*",
    "cells/*/seed-*",
    "attacks/*/seed-*/*/*",
    "latent/*/seed-*/*",
    "after/*/*/seed-*",
    "after/naive/seed-*",
)
"""Patterns of the folders of units of work."""

_ALONE = ("arms",)
"""Folders whose files are independent records, not a unit."""

_OWN = {"timing.jsonl"}
"""Files of the study's folder whose local version, if there is one, takes precedence."""


def mark(root: Path, address: str) -> None:
    """Create `root` if needed, and make it the local folder of `address` unless it already has an address."""
    with as_disk_error(root):
        root.mkdir(parents=True, exist_ok=True)
        with _fetching(root):
            if not (root / MARK).exists():
                write(root / MARK, address.rstrip("/").encode())


def address_of(root: Path) -> str | None:
    """Return the remote address of `root`, also if a folder above it has one; None if there is none."""
    root = root.absolute()
    try:
        marked = next((folder for folder in (root, *root.parents) if (folder / MARK).is_file()), None)
        if marked is None:
            return None
        address = (marked / MARK).read_text()
    except OSError as error:  # no permission, or the name is too long
        raise KerfError(f"{root} cannot be written: {error.strerror}; give --out another folder") from error
    below = root.relative_to(marked).as_posix()
    return address if below == "." else f"{address}/{below}"


class NoRemote:
    """Replacement of `Remote` for a folder without a remote address; does nothing."""

    def pull(self) -> set[str]:
        return set()

    def pull_records(self) -> None: ...

    def pull_file(self, name: str) -> None: ...

    def pull_unit(self, name: str) -> None: ...

    def pull_checkpoints(self, name: str) -> None: ...

    def push(self, there: set[str] | None = None) -> None: ...

    def push_file(self, name: str) -> None: ...

    def push_unit(self, name: str) -> None: ...

    def push_folder(self, name: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def files(self, below: str = "") -> set[str]:
        return set()


class Remote:
    """The remote copy of the folder `root`.

    Every method raises `DiskError` if the address cannot be reached after several tries.

    Args:
        root: The local folder.
        address: The remote address, an fsspec URL.
    """

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self._sent: dict[str, tuple[int, ...]] = {}
        self._same_study = False
        try:
            from fsspec.core import url_to_fs

            # No caches: files just written by other processes must be seen.
            self._fs, self._base = url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            raise KerfError(f"{address}: {error}; for s3:// it is pip install 'kerf-lab[s3]'") from error
        except ValueError as error:
            raise KerfError(
                f"{address}: expected an address that fsspec knows, such as s3://..., got {error}"
            ) from error
        if hasattr(self._fs, "auto_mkdir"):  # a file system with real folders; `makedirs` would also create buckets
            self._fs.auto_mkdir = True

    def pull(self) -> set[str]:
        """Fetch the units that are missing locally, and all other records.

        While a process works on the study locally, its local records are newer: only missing ones are fetched.

        Returns:
            The result of `files`.

        Raises:
            KerfError: if the address holds another study than the local folder, or something there is damaged.
        """
        there = self.files()
        self.pull_records(there)
        kinds = {pattern.partition("/")[0] for pattern in _UNITS}
        for name in sorted(there):
            folder, _, last = name.rpartition("/")
            if last == "done.json" and folder.partition("/")[0] in kinds:
                self._pull_folder(folder, there)
        return there

    def pull_records(self, there: set[str] | None = None) -> None:
        """Fetch all records except units, as `pull` does; `there` is the result of `files`."""
        there = self.files() if there is None else there
        self._refuse_other_study("remove it", there)
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self.root / ".lock", f"the study in {self.root}"))
                alone = True
            except KerfError:
                alone = False
            for name in sorted(there):
                folder, slash, _ = name.partition("/")
                ours = not alone or folder in _ALONE or name in _OWN
                if (not slash or folder in _ALONE) and not (ours and (self.root / name).exists()):
                    self.pull_file(name)

    def pull_file(self, name: str) -> None:
        """Fetch a file, replacing the local one."""
        content, path = self._read(name), self.root / name
        with as_disk_error(path), _fetching(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, content)

    def pull_unit(self, name: str) -> None:
        """Fetch the unit in the folder `name` if it is missing locally and published remotely.

        Raises:
            KerfError: if the remote copy is damaged.
        """
        if not (self.root / name).exists():
            self._pull_folder(name, self.files(name))

    def pull_checkpoints(self, name: str) -> None:
        """Fetch the checkpoints in the folder `name` that are missing locally, without verification."""
        there = self.files(name)
        for done in sorted(file for file in there if file.endswith("/done.json")):
            self._pull_folder(done.removesuffix("/done.json"), there, verify=False)

    def push(self, there: set[str] | None = None) -> None:
        """Upload units that are missing remotely, and other records that changed since their upload.

        `there` is the result of `files`.

        Raises:
            KerfError: if the address holds another study, or another version of a unit.
        """
        there = self.files() if there is None else there
        self._refuse_other_study("give --out another address", there)
        for path in sorted(self.root.iterdir()):
            if path.is_file() and not path.name.startswith(".") and self._sent.get(path.name) != _stamp(path):
                self.push_file(path.name)
        for alone in sorted(path for folder in _ALONE for path in (self.root / folder).glob("*")):
            if (name := alone.relative_to(self.root).as_posix()) not in there and name not in self._sent:
                self.push_file(name)
        for done in sorted(found for folder in _UNITS for found in self.root.glob(f"{folder}/done.json")):
            self._push_published(done.parent.relative_to(self.root).as_posix(), there)

    def push_file(self, name: str) -> None:
        """Upload a record that is not part of a unit, replacing the remote one.

        Raises:
            KerfError: if the address holds another study.
        """
        self._refuse_other_study("give --out another address")
        stamp = _stamp(self.root / name)
        self._send(name)
        self._sent[name] = stamp

    def push_unit(self, name: str) -> None:
        """Upload the published unit in the folder `name`, unless the remote copy is complete.

        Raises:
            KerfError: if the address holds another version of it.
        """
        self._push_published(name, self.files(name))

    def push_folder(self, name: str) -> None:
        """Upload a folder, `done.json` last."""
        for path in sorted((self.root / name).iterdir(), key=lambda path: (path.name == "done.json", path.name)):
            self._send(f"{name}/{path.name}")

    def remove(self, name: str) -> None:
        """Remove a remote folder if it exists; `done.json`, which marks it as complete, is removed first."""

        def remove() -> None:
            if self._fs.exists(f"{self._base}/{name}"):
                for done in [f"{self._base}/{file}" for file in self.files(name) if file.endswith("/done.json")]:
                    self._fs.rm_file(done)
                self._fs.rm(f"{self._base}/{name}", recursive=True)

        self._tried(remove)

    def _pull_folder(self, name: str, there: set[str], verify: bool = True) -> None:
        final = self.root / name
        with _fetching(self.root):  # several workers of a machine may need it at the same time
            if final.exists() or f"{name}/done.json" not in there or not _is_json(self._read(f"{name}/done.json")):
                return
            with as_disk_error(final), whole(final) as partial:
                for file in sorted(file for file in there if file.startswith(f"{name}/")):
                    write(partial / file.removeprefix(f"{name}/"), self._read(file))
                wrong = damage(partial, verify=True) if verify else None
                if wrong is not None:
                    raise KerfError(f"{self.address}/{name} is damaged: {wrong}; remove it there to have it done again")

    def files(self, below: str = "") -> set[str]:
        """Return the names, relative to the address, of all remote files in the folder `below`."""
        found = self._tried(lambda: self._fs.find(f"{self._base}/{below}".rstrip("/")))
        return {name.removeprefix(f"{self._base}/") for name in found}

    def _read(self, name: str) -> bytes:
        content: bytes = self._tried(lambda: self._fs.cat_file(f"{self._base}/{name}"))
        return content

    def _send(self, name: str) -> None:
        content = (self.root / name).read_bytes()
        self._tried(lambda: self._fs.pipe_file(f"{self._base}/{name}", content))

    def _push_published(self, name: str, there: set[str]) -> None:
        """Upload a published folder, unless the remote copy is complete; raises as `push_unit`."""
        if f"{name}/done.json" in there:
            found = self._read(f"{name}/done.json")
            if found == (self.root / name / "done.json").read_bytes():
                return
            if _is_json(found):  # otherwise the upload was interrupted
                raise KerfError(f"{self.address}/{name} differs from the copy in {self.root}: move one of them away")
        self.push_folder(name)

    def _refuse_other_study(self, remedy: str, there: set[str] | None = None) -> None:
        """Check once that local and remote study are the same, if both exist; `there`: result of `files`, if known."""
        own = self.root / "study.json"
        if self._same_study:
            return
        if there is None or "study.json" in there:
            if not own.exists():
                return
            found = self._tried(self._manifest)
            if found is not None and _recipe_hash(own.read_bytes()) != _recipe_hash(found):
                raise KerfError(f"{self.root} mirrors {self.address}, which holds another study: {remedy}")
        self._same_study = True

    def _manifest(self) -> bytes | None:
        try:
            content: bytes = self._fs.cat_file(f"{self._base}/study.json")
        except FileNotFoundError:
            return None
        return content

    def _tried(self, transfer: Callable[[], Any]) -> Any:
        """Return the result of `transfer`, with retries after pauses."""
        for attempt in range(TRIES):
            try:
                return transfer()
            except Exception as error:  # each file system has exceptions of its own
                if attempt == TRIES - 1 or isinstance(error, FileNotFoundError | PermissionError):
                    raise DiskError(
                        f"{self.address} cannot be used ({type(error).__name__}: {error}); check the address and "
                        f"your permissions, then give the same command again (the records so far: {self.root})"
                    ) from error
                time.sleep(PAUSE * 4.0**attempt)
        raise AssertionError("unreachable")


def _fetching(root: Path) -> AbstractContextManager[None]:
    """Return the lock that is held during a fetch into `root`."""
    return file_lock(root / ".fetching", f"fetching into {root}", patience=PATIENCE)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return a fingerprint of a file: inode, time of modification, size."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _recipe_hash(manifest: bytes) -> Any:
    return json.loads(manifest)["recipe_hash"]


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
