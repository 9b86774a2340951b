"""Provenance of records: revision of the code, versions of what it is built on, processor."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

VERSIONED = ("kerf-lab", "ray", "torch", "gymnasium", "numpy", "numba", "scipy", "pyarrow")

BUILT_REVISION = Path("runs", "revision.txt")
"""Where an installed copy keeps the revision that it was built from, if whoever built it wrote that down."""

INSTRUCTIONS = ("avx512f", "avx2", "asimd")
"""Vector instructions by which numerical libraries choose their code, widest first."""

_CPUINFO = Path("/proc/cpuinfo")


def provenance() -> dict[str, Any]:
    """The entries of `study.json` that say what made it."""
    return {**code(), "python": platform.python_version(), "processor": processor()}


def code() -> dict[str, Any]:
    """Which code trains: records that two versions of it made between them would be nobody's."""
    return {"versions": versions(), "revision": revision(Path(__file__).resolve().parents[2])}


def versions() -> dict[str, str]:
    """The installed version of each package that the records or their speed depend on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's name and widest vector instructions, as far as this system tells: `AMD EPYC 7B13 (avx2)`.

    Records are the same bytes on processors of one kind. On others the same libraries add in another order, and
    training makes other agents of that.
    """
    if not cpuinfo.is_file():
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    said = {key.strip().lower(): value.strip() for key, _, value in pairs}
    flags = set(said.get("flags", said.get("features", "")).split())
    widest = next((name for name in INSTRUCTIONS if name in flags), "")
    return said.get("model name", platform.machine()) + (f" ({widest})" if widest else "")


def revision(checkout: Path) -> str | None:
    """The git revision of `checkout`, with `+changed-` and a digest of the changes if tracked files differ from it.

    If that folder is no checkout, even if it lies within one: what was written into the copy when it was built, as the
    Dockerfile does, or None. An installed copy must not be taken for a revision of the project that it is used in.
    """

    def git(*words: str) -> str:
        # Whoever runs this code trusts its checkout, also where it is another user's, as in containers.
        command = ["git", "-c", "safe.directory=*", *words]
        done = subprocess.run(
            command, cwd=checkout, capture_output=True, text=True, check=True, timeout=10, errors="replace"
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == checkout.resolve():
            said = git("describe", "--always", "--abbrev=40", "--dirty=+changed", "--match=")
            if said.endswith("+changed"):
                said += f"-{hashlib.sha256(git('diff', '--binary', 'HEAD').encode()).hexdigest()[:8]}"
            return said
    except (OSError, subprocess.SubprocessError):
        pass  # installed without its history, or there is no git
    built = checkout / BUILT_REVISION
    return built.read_text().strip() if built.is_file() else None
