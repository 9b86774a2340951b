"""Records on disk: the folder of a study, and how units of work appear in it whole or not at all.

    study.json             the manifest: recipe, hashes, versions, seeds, arms (no wall times)
    recipe.yaml            the recipe as given
    battery.parquet        the probe scenarios
    aligned/seed-<s>/      one aligned agent: weights, measures, training curve, gate, done.json
    cells/<arm>/seed-<s>/  one cell: weights, measures, training curve, penalty counts (if penalised, by PPO), done.json
    attacks/<arm>/seed-<s>/<generator>/<strength>-<budget>-<batch>/    an attack on one agent
    latent/<arm>/seed-<s>/<strength>-<budget>/    what an adversary inside one agent makes of forged scenarios
    effects.parquet, matched.parquet, primaries.json, table.txt    the report's records
    attacks.parquet, attacks.txt    the same of the attacks
    latent.parquet, latent.txt    the same of those from inside
    timing.jsonl           wall times and machine facts: all that may differ between two identical runs

A unit (an aligned seed or a cell) is written into a `<unit>.partial-*` folder; `done.json`, with size and SHA-256 of
each file, is written last, all is flushed to the disk, and the folder is renamed. So a unit is there complete or
not there, whenever the process is killed. A finished unit is never overwritten.

A study may be kept at an address, too. Then opening it fetches what is missing here, and what is written through its
store is sent there. What reads and writes records need not know.
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
from kerf.runs.records.folder import NAME, Folder, damage, publish_whole
from kerf.runs.records.remote import NoRemote, Remote, address_of, mark

ALIGNED = "aligned"
"""What stands in for an arm's name in the records of the aligned agents; no arm may be called so."""

POLICY = "policy"
"""Stem of the files that hold a unit's weights."""

IDENTITY = ("recipe_hash", "battery_hash")
"""Manifest entries that must agree for a study to be continued."""

REQUIRED = ("name", *IDENTITY, "seeds", "arms")
"""Entries that every manifest has: the recipe's name, the hashes, the list of seeds, settings by arm."""

FORMAT = 3
"""What the records are called and mean, as the manifest's `records_format`. 1, which had no such entry, called penalty
counts doses, and its arms had `replay` where they have `adversarial_share` now; 2 had no theory in its manifest."""


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
        """Its folder, relative to the study's: `aligned/seed-0`, `cells/penalised/seed-0`."""
        return f"aligned/seed-{self.seed}" if self.arm == ALIGNED else f"cells/{self.arm}/seed-{self.seed}"


class Named(Protocol):
    """Any unit of work: its records are the folder of that name."""

    @property
    def name(self) -> str:
        """The folder, relative to the study's."""


class Store(Folder):
    """The folder of a study. Many processes may each write units of their own; one at a time drives the study.

    Its records are written as those of a `Folder`, and may lie in a folder of the study's (`arms/...`). What is said of
    sending and fetching is nothing for a study that is kept here alone; else it raises `DiskError` if the place cannot
    be reached, and `KerfError` if another study, or another version of a unit, is there.

    Args:
        root: The folder. Nothing is read, written or fetched until asked for.
    """

    names = re.compile(f"({NAME.pattern}/)?{NAME.pattern}")

    def __init__(self, root: str | Path) -> None:
        super().__init__(Path(root))

    @classmethod
    def kept_at(cls, root: str | Path, address: str | None) -> Self:
        """The store in `root`, which is made and kept at `address`, too, from now on; None: as it is kept already."""
        if address is not None:
            mark(Path(root), address)
        return cls(root)

    @cached_property
    def address(self) -> str | None:
        """Where else the study is kept; None if nowhere."""
        return address_of(self.path)

    @cached_property
    def remote(self) -> Remote | NoRemote:
        """That place, for what keeps files in the study's folder; see there for what is raised."""
        return NoRemote() if self.address is None else Remote(self.path.absolute(), self.address)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the record `name` and send it."""
        super().write_bytes(name, data)
        self.remote.push_file(name)

    def wrote(self, name: str) -> None:
        """Say that the record `name` may have changed by other hands than this store's, so that it is sent."""
        if (self.path / name).exists():
            self.remote.push_file(name)

    def read_bytes(self, name: str) -> bytes:
        """What the record `name` holds, fetched if it is missing here."""
        if not (self.path / name).exists():
            self.remote.pull_file(name)
        return (self.path / name).read_bytes()

    def manifest(self) -> dict[str, Any]:
        """What `study.json` holds; raises `KerfError` if this is no study's folder."""
        path = self.path / "study.json"
        if not path.is_file():
            raise KerfError(f"{self.path} holds no study: expected {path}, written by `kerf run --out`")
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
                f"{path}: expected records of format {FORMAT}, got {written}, whose names mean other things; read them "
                f"by the Kerf that wrote them ({made_by}), or run the study again in another folder"
            )
        return manifest

    @contextmanager
    def unit(self, unit: Named) -> Iterator[Folder]:
        """A fresh folder to write `unit` into; published and sent when the block ends, gone if the block raises.

        Adds a line `{"unit", "started", "seconds", "cpu_seconds"}` to `timing.jsonl`: seconds since the epoch, then
        what passed, and what this process spent on all cores, between entering and publication.

        Raises:
            KerfError: if the unit is finished already, or the disk does not let us write.
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
        """Have those of `units` here that are finished somewhere."""
        for unit in units:
            self.remote.pull_unit(unit.name)

    def delivered(self, unit: Named, verify: bool = False) -> bool:
        """Whether `unit` is finished, as `finished`; if the process that did it died before it could send it, it is
        sent now."""
        if not self.finished(unit, verify):
            return False
        self.remote.push_unit(unit.name)
        return True

    @contextmanager
    def session(self, entry: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Work on the study as a whole: when the block ends, whatever was not sent is.

        `entry`, if there is one, goes to `timing.jsonl` before that, with `started` and `seconds` of the block.
        """
        started = time.time()
        yield
        if entry is not None:
            self.append_timing({**entry, "started": started, "seconds": time.time() - started})
        self.remote.push()

    def finished(self, unit: Named, verify: bool = False) -> bool:
        """Whether `unit` is finished. `verify` also compares the SHA-256 of every file.

        Raises:
            KerfError: if its folder is there but is not as it was published.
        """
        folder = self.path / unit.name
        if not folder.exists():
            return False
        wrong = damage(folder, verify)
        if wrong is not None:
            raise KerfError(f"{folder} is damaged: {wrong}; move it away and give the same command again to redo it")
        return True

    def read_json(self, unit: Named, name: str) -> Any:
        """What `<name>.json` of a finished unit holds."""
        return json.loads((self.path / unit.name / f"{name}.json").read_bytes())

    def digest(self, unit: Named) -> str:
        """SHA-256 of the unit's `done.json`: two units with equal digests hold the same bytes."""
        return hashlib.sha256((self.path / unit.name / "done.json").read_bytes()).hexdigest()

    def units(self, verify: bool = False) -> list[Unit]:
        """All finished units, the aligned seeds and the cells, sorted."""
        found = []
        for path in [*self.path.glob("aligned/seed-*"), *self.path.glob("cells/*/seed-*")]:
            seed = path.name.removeprefix("seed-")
            if seed.isdecimal():
                found.append(Unit(ALIGNED if path.parent.name == ALIGNED else path.parent.name, int(seed)))
        return sorted(unit for unit in found if self.finished(unit, verify))

    def attacks(self) -> list[Path]:
        """The folders of all finished attacks on agents of the study, sorted."""
        return sorted(done.parent for done in self.path.glob("attacks/*/seed-*/*/*/done.json"))

    def append_timing(self, entry: Mapping[str, Any]) -> None:
        """Add one line to `timing.jsonl`; whole lines stay whole when several processes write."""
        with disk.as_disk_error(self.path):
            disk.append_line(self.path / "timing.jsonl", json.dumps(entry, sort_keys=True).encode())

    def timing(self) -> list[dict[str, Any]]:
        """The lines of `timing.jsonl`, oldest first; a line torn by a full disk is left out."""
        path = self.path / "timing.jsonl"
        entries = []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue  # torn: wall times are no record, and the units they describe are checked by themselves
        return entries


def open_records(root: str | Path, units: bool = True) -> Store:
    """Open a study to read it: what is missing here is fetched, if it is kept elsewhere, too.

    Args:
        root: The folder, which need not exist.
        units: Whether all finished units are fetched, and not only the records beside them.

    Raises:
        KerfError: if the place is of another study than the folder, or something there is damaged.
    """
    store = Store(root)
    if units:
        store.remote.pull()
    else:
        store.remote.pull_records()
    return store


@contextmanager
def open_study(root: str | Path, manifest: Mapping[str, Any]) -> Iterator[Store]:
    """Create or continue the study in `root`, and hold it: no other process can open it meanwhile.

    What is missing here is fetched, and what is missing elsewhere is sent, before the block begins.

    An existing `study.json` is kept as it is. Where other entries than the hashes differ from `manifest` (versions,
    revision of the code), a line `{"continued_with": {...}}` in `timing.jsonl` tells so.

    Args:
        root: The folder; created with its parents.
        manifest: What `study.json` holds, with at least the entries `REQUIRED`.

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
    """Refuse a folder that holds files but no study, or another study.

    Args:
        store: The folder, which need not exist.
        wanted: The manifest of what is to go there, or the part of it that is known: `name` and some of `IDENTITY`.

    Raises:
        KerfError: with what is there and what to do.
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
                f"{wanted[key]} in what was asked for ({wanted['name']}); give --out another folder"
            )
