"""Outputs as their commands printed them, kept beside this file with what made them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kerf.runs.records.provenance import processor, revision
from kerf.runs.records.store import Store
from kerf.runs.report.conclusion import conclude
from kerf.runs.report.ending import ending

ENDING_WIDTH = 100
"""Characters of a line of a kept ending."""
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REVISION = str(revision(ROOT))
"""The revision before anything is kept, which changes the tree."""
MISSES = {"kerf reproduce": 1, "kerf run robust-to-method --preset quick": 3}
"""Command -> an exit code by which it says that not all came out, or that seeds failed the gate, with output that is
kept all the same."""


def printed(command: str, *more: str) -> str:
    """Run what a user would type, and return what it prints."""
    program, *words = command.split()
    start = [sys.executable, "-m", "kerf.runs"] if program == "kerf" else [sys.executable]
    done = subprocess.run([*start, *words, *more], check=False, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, MISSES.get(command, 0)):
        done.check_returncode()
    return "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines()) + "\n"


def run(command: str, out: Path) -> None:
    """Run a study or a sweep; `command` is what a user would type."""
    printed(command, "--no-mlflow", "--out", str(out))


def digest(out: Path) -> str:
    """SHA-256 over the digests of all units of a study: what its figures were read from."""
    store = Store(out)
    return hashlib.sha256("\n".join(store.digest(unit) for unit in store.units()).encode()).hexdigest()


def origin(out: Path | None = None) -> dict[str, str]:
    """Day, revision and processor of what is made now, or of the study in `out`, with the digest of its records."""
    today = {"made": datetime.now(UTC).date().isoformat()}
    if out is None:
        return {**today, "processor": processor(), "revision": REVISION}
    manifest = json.loads((out / "study.json").read_text())
    return {**today, **{key: manifest[key] for key in ("processor", "revision")}, "records": digest(out)}


def keep(name: str, command: str, text: str, out: Path | None = None, suffix: str = ".txt") -> None:
    """Keep what a command printed, and in `digests.json` what made it."""
    made = origin(out)
    (HERE / f"{name}{suffix}").write_text(text)
    kept = json.loads((HERE / "digests.json").read_text())
    kept[name] = {"file": f"{name}{suffix}", "command": command, **made}
    write("digests", kept)


def write(name: str, found: Mapping[str, Any]) -> None:
    """Write `<name>.json` beside this file."""
    (HERE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def printed_of(analysis: str, out: Path, *options: str) -> str:
    """Run `kerf ANALYSIS` on the study in `out`; what it wrote to its text file."""
    printed(f"kerf {analysis} {out}", *options)
    return trimmed(out / f"{analysis}.txt")


def trimmed(file: Path) -> str:
    """The text of a file, without blanks at the ends of lines."""
    return "".join(f"{line.rstrip()}\n" for line in file.read_text().splitlines())


def ending_of(name: str, command: str, out: Path, default: str = "OUT") -> None:
    """Keep what the study in `out` ended with; `default`: the folder that its last lines name."""
    lines = ending(conclude(Store(out)), Path(default), ENDING_WIDTH)
    keep(name, command, "\n".join(line.rstrip() for line in lines) + "\n", out)
