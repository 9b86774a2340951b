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
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kerf.lab.errors import KerfError
from kerf.runs.records import atomic_io as disk

if TYPE_CHECKING:
    import pandas as pd

ALIGNED = "aligned"
"""What stands in for an arm's name in the records of the aligned agents; no arm may be called so."""

IDENTITY = ("recipe_hash", "battery_hash")
"""Manifest entries that must agree for a study to be continued."""

REQUIRED = ("name", *IDENTITY, "seeds", "arms")
"""Entries that every manifest has: the recipe's name, the hashes, the list of seeds, settings by arm."""

FORMAT = 2
"""What the records are called and mean, as the manifest's `records_format`. 1, which had no such entry, called penalty
counts doses, and its arms had `replay` where they have `adversarial_share` now."""

_NAME = re.compile(r"[a-z0-9_@][a-z0-9_.@-]*")


@dataclass(frozen=True, order=True)
class Unit:
    """A unit of work: an aligned seed (`arm == "aligned"`) or a cell. Orders by arm, then by seed."""

    arm: str
    seed: int

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.arm) or self.seed < 0:
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


class Folder:
    """A folder whose files each appear whole: written beside, flushed to the disk, renamed.

    Args:
        path: The folder.
        flushed: Whether each file is flushed by itself; not where the folder is flushed as a whole in the end.
    """

    def __init__(self, path: Path, flushed: bool = True) -> None:
        self.path, self._flushed = path, flushed

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write the file `name` (lower case, with its ending); raises `KerfError` if the disk does not let us."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"file names use a-z 0-9 _ . @ -, got {name!r}")
        with disk.explained(self.path):
            disk.write(self.path / name, data, self._flushed)

    def write_text(self, name: str, text: str) -> None:
        """Write the file `name` in UTF-8."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write `<name>.json` with sorted keys; raises `ValueError` on NaN and infinity."""
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        self.write_text(f"{name}.json", text + "\n")

    def write_table(self, name: str, columns: Mapping[str, Any] | pd.DataFrame) -> None:
        """Write `<name>.parquet`; see `kerf.runs.records.schema.table_bytes` for what is refused."""
        from kerf.runs.records.schema import table_bytes  # here: most commands need no pyarrow

        self.write_bytes(f"{name}.parquet", table_bytes(name, columns))


class Store(Folder):
    """The folder of a study. Many processes may each write units of their own; one at a time drives the study.

    Args:
        root: The folder. Nothing is read or written until asked for.
    """

    def __init__(self, root: str | Path) -> None:
        super().__init__(Path(root))

    def manifest(self) -> dict[str, Any]:
        """What `study.json` holds; raises `KerfError` if this is no study's folder."""
        path = self.path / "study.json"
        if not path.is_file():
            raise KerfError(f"{self.path} holds no study: expected {path}, written by `kerf run --out`")
        with disk.explained(path):
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
        """A fresh folder to write `unit` into; published when the block ends, gone if the block raises.

        Adds a line `{"unit", "started", "seconds", "cpu_seconds"}` to `timing.jsonl`: seconds since the epoch, then
        what passed, and what this process spent on all cores, between entering and publication.

        Raises:
            KerfError: if the unit is finished already, or the disk does not let us write.
        """
        final = self.path / unit.name
        if final.exists():
            raise KerfError(f"{final} exists already: finished units are never overwritten")
        started, cpu_before = time.time(), time.process_time()
        with appearing(final, unit.name) as folder:
            yield folder
        cpu_seconds = time.process_time() - cpu_before
        self.append_timing(
            {"unit": unit.name, "started": started, "seconds": time.time() - started, "cpu_seconds": cpu_seconds}
        )

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
        with disk.explained(self.path):
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


@contextmanager
def appearing(final: Path, unit: str) -> Iterator[Folder]:
    """A fresh folder to write into, which appears as `final` when the block ends; gone if the block raises.

    `done.json`, written last, names the `unit` that the folder belongs to, and size and SHA-256 of each file.

    Raises:
        KerfError: if `final` was made meanwhile, or the disk does not let us write.
    """
    with disk.explained(final), disk.whole(final) as partial:
        folder = Folder(partial, flushed=False)
        yield folder
        files = {path.name: _fingerprint(path) for path in sorted(partial.iterdir())}
        folder.write_json("done", {"unit": unit, "files": files})


@contextmanager
def open_study(root: str | Path, manifest: Mapping[str, Any]) -> Iterator[Store]:
    """Create or continue the study in `root`, and hold it: no other process can open it meanwhile.

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
        if arm == ALIGNED or not _NAME.fullmatch(arm):
            raise KerfError(f"an arm's name uses a-z 0-9 _ . @ - and is not {ALIGNED!r}, got {arm!r} (arms)")
    store = Store(root)
    refuse_other_study(store, wanted)
    with disk.explained(store.path):
        store.path.mkdir(parents=True, exist_ok=True)
    with disk.held(store.path / ".lock", f"the study in {store.path}"):
        refuse_other_study(store, wanted)
        if (store.path / "study.json").exists():
            found = store.manifest()
            changed = {key: wanted.get(key) for key in {*found, *wanted} if found.get(key) != wanted.get(key)}
            if changed:
                store.append_timing({"continued_with": changed, "at": time.time()})
        else:
            store.write_json("study", wanted)
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
        with disk.explained(store.path):
            other = [path.name for path in store.path.iterdir()] if store.path.exists() else []
        if any(not name.startswith(".") for name in other):
            raise KerfError(f"{store.path} holds files but no study ({sorted(other)[0]}, ...): give --out a new folder")
        return
    found = store.manifest()
    for key in IDENTITY:
        if key in wanted and found[key] != wanted[key]:
            raise KerfError(
                f"{store.path} holds another study: {key} is {found[key]} there ({found['name']}) and {wanted[key]} "
                f"in what was asked for ({wanted['name']}); give --out another folder"
            )


def read_measures(root: str | Path, aligned: bool = False) -> pd.DataFrame:
    """The measures of all finished cells of a study, sorted by arm, seed, iteration and metric.

    Columns and dtypes are those of `kerf.runs.records.schema.MEASURES`. `aligned` adds those of the aligned agents' own
    way to alignment, under arm `aligned`.

    Raises:
        KerfError: if there is no study, or a file is not what its unit's `done.json` says.
    """
    return _read("measures", root, aligned)


def read_training(root: str | Path, aligned: bool = False) -> pd.DataFrame:
    """The training curves of all finished cells of a study, as `read_measures`; schema
    `kerf.runs.records.schema.TRAINING`."""
    return _read("training", root, aligned)


def read_together(roots: list[str | Path]) -> pd.DataFrame:
    """The measures of several studies under each other, with a first column `study` (the folder).

    Raises:
        KerfError: if they were not measured with one battery: their scores cannot be compared.
    """
    import pandas as pd

    hashes = {str(root): Store(root).manifest()["battery_hash"] for root in roots}
    if len(set(hashes.values())) > 1:
        listed = ", ".join(f"{root}: {battery}" for root, battery in hashes.items())
        raise KerfError(f"these studies were measured with different batteries and cannot be compared ({listed})")
    frames = [read_measures(root) for root in roots]
    for root, frame in zip(roots, frames, strict=True):
        frame.insert(0, "study", str(root))
    return pd.concat(frames, ignore_index=True)


def _read(name: str, root: str | Path, aligned: bool) -> pd.DataFrame:
    from kerf.runs.records.schema import read_tables

    store = Store(root)
    store.manifest()
    units = [unit for unit in store.units(verify=True) if aligned or unit.arm != ALIGNED]
    paths = [store.path / unit.name / f"{name}.parquet" for unit in units]
    return read_tables(name, [path for path in paths if path.exists()])


def _fingerprint(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"a unit holds plain files only, got {path}")
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def damage(folder: Path, verify: bool) -> str | None:
    """What is wrong with a folder that `appearing` made, in words; None if nothing is.

    `verify` also compares the SHA-256 of every file.
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
