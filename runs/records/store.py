"""Store of a study: its folder of records, in which units of work are published atomically.

    study.json             the manifest: recipe, hashes, versions, seeds, arms (no wall times)
    recipe.yaml            the recipe as given
    battery.parquet        the probe scenarios
    aligned/seed-<s>/      one aligned agent: weights, measures, training curve, gate, done.json
    cells/<arm>/seed-<s>/  one cell: weights, measures, training curve, penalty counts (if penalised, by PPO), done.json
    attacks/<arm>/seed-<s>/<generator>/<strength>-<budget>-<batch>/    an attack on one agent
    latent/<arm>/seed-<s>/<strength>-<budget>/    a latent attack on one agent, on forged scenarios
    after/<test>/<arm>/seed-<s>-<settings>/    an after-test of one agent
    after/naive/seed-<s>-<settings>/    a naive agent, which after-tests compare with
    effects.parquet, matched.parquet, primaries.json, table.txt    the report of the study
    attacks.parquet, attacks.txt    the report of the attacks
    latent.parquet, latent.txt    the report of the latent attacks
    after.parquet, after.json, after.txt    the report of the after-tests
    timing.jsonl           wall times and machine facts: the only file that may differ between two identical runs

A unit (an aligned seed or a cell) is written into a folder `<unit>.partial-*`. `done.json`, with size and SHA-256 of
each file, is written last, everything is flushed to disk, and the folder is renamed. So a unit is either complete or
absent, even if the process is killed. A finished unit is never overwritten.

A study can also be kept at a remote address. Then opening it fetches missing records, and records written through the
store are uploaded. Code that reads and writes records need not handle this.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.collected import no_study
from kerf.runs.records.folder import NAME, Folder, damage, publish_whole
from kerf.runs.records.remote import NoRemote, Remote, address_of, mark
from kerf.runs.terminal.console import shell

ALIGNED = "aligned"
"""The value used as arm name in the records of the aligned agents; no arm can have this name."""

POLICY = "policy"
"""File stem of a unit's weights."""

IDENTITY = ("recipe_hash", "battery_hash")
"""Manifest entries that must be equal for a study to be continued."""

REQUIRED = ("name", *IDENTITY, "seeds", "arms")
"""Required manifest entries: the recipe's name, the hashes, the list of seeds, settings by arm."""

FORMAT = 3
"""Version of the record format, in the manifest as `records_format`. Version 1 had no such entry, called penalty counts
doses, and its arms had `replay` instead of `adversarial_share`; version 2 had no theory in the manifest."""


@dataclass(frozen=True, order=True)
class Unit:
    """A unit of work: an aligned seed (`arm == "aligned"`) or a cell. Orders by arm, then by seed."""

    arm: str
    seed: int

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.arm) or self.seed < 0:
            raise ValueError(f"no unit: arm {self.arm!r}, seed {self.seed}")

    @property
    def name(self) -> str:
        """Its folder, relative to the study's, such as `aligned/seed-0` or `cells/penalised/seed-0`."""
        return f"aligned/seed-{self.seed}" if self.arm == ALIGNED else f"cells/{self.arm}/seed-{self.seed}"


class Named(Protocol):
    """Any unit of work; its records are in the folder `name`."""

    @property
    def name(self) -> str:
        """Its folder, relative to the study's."""


class Store(Folder):
    """The folder of a study. Several processes can write different units; only one at a time drives the study.

    Records are written as in a `Folder`, and may be in a subfolder (`arms/...`). Uploads and fetches do nothing for a
    study without a remote address. Otherwise they raise `DiskError` if the address cannot be reached, and `KerfError`
    if it holds another study or another version of a unit.

    Args:
        root: The folder. The constructor does not read, write or fetch anything.
    """

    names = re.compile(f"({NAME.pattern}/)?{NAME.pattern}")

    def __init__(self, root: str | Path) -> None:
        super().__init__(Path(root))

    @classmethod
    def kept_at(cls, root: str | Path, address: str | None) -> Self:
        """Return the store in `root`. With an address, `root` is created and also kept there from now on."""
        if address is not None:
            mark(Path(root), address)
        return cls(root)

    @cached_property
    def address(self) -> str | None:
        """Remote address of the study; None if it has none."""
        return address_of(self.path)

    @cached_property
    def remote(self) -> Remote | NoRemote:
        """The remote copy, for code that writes files to the study's folder; see `Remote` for exceptions."""
        return NoRemote() if self.address is None else Remote(self.path.absolute(), self.address)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the record `name` and upload it."""
        super().write_bytes(name, data)
        self.remote.push_file(name)

    def wrote(self, name: str) -> None:
        """Upload the record `name`, which was not written through this store."""
        if (self.path / name).exists():
            self.remote.push_file(name)

    def read_bytes(self, name: str) -> bytes:
        """Read the record `name`; it is fetched if it is missing locally."""
        if not (self.path / name).exists():
            self.remote.pull_file(name)
        return (self.path / name).read_bytes()

    @property
    def completion(self) -> str:
        """The command that does what is missing of the study, if it was begun by `kerf run`."""
        return shell("kerf", "run", self.path / "recipe.yaml", "--out", self.path)

    def manifest(self) -> dict[str, Any]:
        """Read `study.json`; raises `KerfError` if this is not the folder of a study, or its format is another."""
        path = self.path / "study.json"
        if not path.is_file():
            raise no_study(self.path, path)
        with disk.as_disk_error(path):
            data = path.read_bytes()
        try:
            manifest = json.loads(data)
        except ValueError as error:
            raise KerfError(f"{path} is damaged: expected JSON, got {error}") from error
        if not isinstance(manifest, dict) or not set(REQUIRED) <= set(manifest):
            raise KerfError(f"{path} is damaged: expected the entries {', '.join(REQUIRED)}")
        if (written := manifest.get("records_format", 1)) != FORMAT:
            made_by = manifest.get("revision") or "another version"
            raise KerfError(
                f"{path}: expected records of format {FORMAT}, got {written}, whose names have other meanings; read "
                f"them with the Kerf that wrote them ({made_by}), or run the study again in another folder"
            )
        return manifest

    @contextmanager
    def unit(self, unit: Named) -> Iterator[Folder]:
        """Yield a new folder for the files of `unit`; published and uploaded at the end, removed if the block raises.

        Adds a line `{"unit", "started", "seconds", "cpu_seconds"}` to `timing.jsonl`: start in seconds since the epoch,
        then wall time and CPU time of this process until publication.

        Raises:
            KerfError: if the unit is finished already, or cannot be written to disk.
        """
        final = self.path / unit.name
        if final.exists():
            raise KerfError(f"{final} exists already: finished units are never overwritten")
        started, cpu_before = time.time(), time.process_time()
        with publish_whole(final, unit.name) as folder:
            yield folder
        cpu_seconds = time.process_time() - cpu_before
        self.append_timing(
            {"unit": unit.name, "started": started, "seconds": time.time() - started, "cpu_seconds": cpu_seconds}
        )
        self.remote.push_unit(unit.name)

    def fetch(self, units: Iterable[Named]) -> None:
        """Fetch those of `units` that are missing locally and published remotely."""
        for unit in units:
            self.remote.pull_unit(unit.name)

    def delivered(self, unit: Named, verify: bool = False) -> bool:
        """Return whether `unit` is finished, as `finished`; uploads it if the process that did it died before that."""
        if not self.finished(unit, verify):
            return False
        self.remote.push_unit(unit.name)
        return True

    @contextmanager
    def session(self, entry: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Upload everything that is not uploaded yet when the block ends.

        Before that `entry`, if given, is added to `timing.jsonl`, with `started` and `seconds` of the block.
        """
        started = time.time()
        yield
        if entry is not None:
            self.append_timing({**entry, "started": started, "seconds": time.time() - started})
        self.remote.push()

    def finished(self, unit: Named, verify: bool = False) -> bool:
        """Return whether `unit` is finished. `verify` also checks the SHA-256 of every file.

        Raises:
            KerfError: if its folder exists but was changed after publication.
        """
        folder = self.path / unit.name
        if not folder.exists():
            return False
        wrong = damage(folder, verify)
        if wrong is not None:
            raise KerfError(f"{folder} is damaged: {wrong}; move it away and give the same command again to redo it")
        return True

    def read_json(self, unit: Named, name: str) -> Any:
        """Read `<name>.json` of a finished unit."""
        return json.loads((self.path / unit.name / f"{name}.json").read_bytes())

    def digest(self, unit: Named) -> str:
        """Return the SHA-256 of the unit's `done.json`: units with equal digests have the same bytes."""
        return hashlib.sha256((self.path / unit.name / "done.json").read_bytes()).hexdigest()

    def units(self, verify: bool = False) -> list[Unit]:
        """Return all finished units (aligned seeds and cells), sorted."""
        found = []
        for path in [*self.path.glob("aligned/seed-*"), *self.path.glob("cells/*/seed-*")]:
            seed = path.name.removeprefix("seed-")
            if seed.isdecimal():
                found.append(Unit(ALIGNED if path.parent.name == ALIGNED else path.parent.name, int(seed)))
        return sorted(unit for unit in found if self.finished(unit, verify))

    def attacks(self) -> list[Path]:
        """Return the folders of all finished attacks on agents of the study, sorted."""
        return sorted(done.parent for done in self.path.glob("attacks/*/seed-*/*/*/done.json"))

    def append_timing(self, entry: Mapping[str, Any]) -> None:
        """Append a line to `timing.jsonl`; lines of concurrent processes are not mixed."""
        with disk.as_disk_error(self.path):
            disk.append_line(self.path / "timing.jsonl", json.dumps(entry, sort_keys=True).encode())

    def timing(self) -> list[dict[str, Any]]:
        """Read the lines of `timing.jsonl`, oldest first; a line cut off by a full disk is left out."""
        path = self.path / "timing.jsonl"
        entries = []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue  # cut off: timings are not part of the records, and units are verified by their own checksums
        return entries


def open_records(root: str | Path, units: bool = True) -> Store:
    """Open a study for reading; missing records are fetched if it has a remote address.

    Args:
        root: The folder, which need not exist.
        units: Whether to fetch all finished units, too, and not only the other records.

    Raises:
        KerfError: if the address holds another study than the folder, or something there is damaged.
    """
    store = Store(root)
    if units:
        store.remote.pull()
    else:
        store.remote.pull_records()
    return store


@contextmanager
def open_study(root: str | Path, manifest: Mapping[str, Any]) -> Iterator[Store]:
    """Create or continue the study in `root` and lock it: no other process can open it during the block.

    Before the block begins, records missing locally are fetched, and records missing remotely are uploaded.

    An existing `study.json` is kept. If entries other than the hashes differ from `manifest` (versions, revision of the
    code), a line `{"continued_with": {...}}` is added to `timing.jsonl`.

    Args:
        root: The folder; created with its parents.
        manifest: Content of `study.json`, with at least the entries `REQUIRED`.

    Raises:
        KerfError: if the folder holds another study or other files, is held by another process, or cannot be written.
    """
    wanted = json.loads(json.dumps(manifest, allow_nan=False))
    if missing := set(REQUIRED) - set(wanted):
        raise ValueError(f"the manifest lacks {sorted(missing)}")
    for arm in wanted["arms"]:
        if arm == ALIGNED or not NAME.fullmatch(arm):
            raise KerfError(f"an arm's name uses a-z 0-9 _ . @ - and is not {ALIGNED!r}, got {arm!r} (arms)")
    store = Store(root)
    refuse_other_study(store, wanted)
    with disk.as_disk_error(store.path):
        store.path.mkdir(parents=True, exist_ok=True)
    with disk.file_lock(store.path / ".lock", f"the study in {store.path}"):
        there = store.remote.pull()
        refuse_other_study(store, wanted)
        if (store.path / "study.json").exists():
            found = store.manifest()
            changed = {key: wanted.get(key) for key in {*found, *wanted} if found.get(key) != wanted.get(key)}
            if changed:
                store.append_timing({"continued_with": changed, "at": time.time()})
        else:
            store.write_json("study", wanted)
        store.remote.push(there)
        yield store


def refuse_other_study(store: Store, wanted: Mapping[str, Any]) -> None:
    """Check that a folder holds neither another study nor files without a study.

    Args:
        store: The folder, which need not exist.
        wanted: Manifest of the study to be written, or the part that is known: `name` and some of `IDENTITY`.

    Raises:
        KerfError: if it does; says what is there and what to do.
    """
    if not (store.path / "study.json").exists():
        with disk.as_disk_error(store.path):
            found = [path.name for path in store.path.iterdir()] if store.path.exists() else []
        other = sorted(name for name in found if not name.startswith("."))
        if other:
            raise KerfError(f"{store.path} holds files but no study ({other[0]}, ...): give --out a new folder")
        return
    manifest = store.manifest()
    for key in IDENTITY:
        if key in wanted and manifest[key] != wanted[key]:
            raise KerfError(
                f"{store.path} holds another study: {key} is {manifest[key]} there ({manifest['name']}) and "
                f"{wanted[key]} in this recipe ({wanted['name']}); give --out another folder"
            )
