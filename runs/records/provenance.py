"""Provenance of records: revision of the code, package versions, processor."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError

PACKAGES = ("lab", "generators", "agents", "runs")
"""The packages within `kerf`."""

VERSIONED = ("kerf-lab", "ray", "torch", "gymnasium", "numpy", "numba", "scipy", "pyarrow")

BUILT_REVISION = Path("runs", "revision.txt")
"""File in an installed copy with the revision that it was built from, if that was recorded."""

INSTRUCTIONS = ("avx512f", "avx2", "asimd")
"""Vector instruction sets that numerical libraries select code by, widest first."""

_CPUINFO = Path("/proc/cpuinfo")


def provenance() -> dict[str, Any]:
    """Return the provenance entries of `study.json`."""
    return {**code(), "python": platform.python_version(), "processor": processor()}


def code() -> dict[str, Any]:
    """Identify the code that trains, so that the records of a unit are not made by two versions of it."""
    return {"versions": versions(), "revision": _own_revision(), "digest": digest()}


@functools.cache
def digest() -> str:
    """Return the SHA-256 of all Python files of the Kerf that this process imports; computed once per process.

    It names the code also where there is no git history, as in an installed copy.
    """
    summed = hashlib.sha256()
    for package in PACKAGES:
        # a namespace package is not in one place: each part is looked for where it would be imported from
        spec = importlib.util.find_spec(f"kerf.{package}")
        for folder in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(folder).rglob("*.py")):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                summed.update(f"{package}/{path.relative_to(folder).as_posix()} {content}\n".encode())
    return summed.hexdigest()


def this_code() -> dict[str, str]:
    """Describe the Kerf that this process imports, in plain values: digest, and a text for messages."""
    known = _own_revision()
    named = f"revision {known}" if known else "no known revision"
    where = f"{Path(__file__).resolve().parents[2]} on {platform.node() or 'this machine'}"
    version = importlib.metadata.version("kerf-lab")
    return {"digest": digest(), "text": f"{where} ({version}, {named}, digest {digest()[:12]})"}


def refuse_other_code(driver: Mapping[str, str]) -> None:
    """Check that this process imports the same Kerf as its driver; the folder may differ.

    Args:
        driver: What `this_code` returned there.

    Raises:
        KerfError: if not; names both.
    """
    if driver["digest"] != digest():
        raise KerfError(
            f"a worker imports another Kerf than its driver: {this_code()['text']} instead of {driver['text']}; "
            "records would not be of one code: install the same Kerf for both"
        )


@functools.cache
def _own_revision() -> str | None:
    return revision(Path(__file__).resolve().parents[2])


def versions() -> dict[str, str]:
    """Return the installed version of each package that the records or their speed depend on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Return name and widest vector instructions of the processor, as far as known: `AMD EPYC 7B13 (avx2)`.

    Records are bytewise equal on processors of the same kind. On others, numerical libraries may sum in another order,
    so that training gives other agents.
    """
    if not cpuinfo.is_file():
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    flags = set(fields.get("flags", fields.get("features", "")).split())
    widest = next((name for name in INSTRUCTIONS if name in flags), "")
    return fields.get("model name", platform.machine()) + (f" ({widest})" if widest else "")


def revision(checkout: Path) -> str | None:
    """Return the git revision of `checkout`, with `+changed-` and a digest of the changes if tracked files differ.

    If the folder is not the root of a checkout: the revision recorded in the copy when it was built, as the Dockerfile
    does, or None. An installed copy inside the checkout of another project must not get that project's revision.
    """

    def git(*words: str) -> str:
        # The checkout is trusted even if it belongs to another user, as in containers.
        command = ["git", "-c", "safe.directory=*", *words]
        done = subprocess.run(
            command, cwd=checkout, capture_output=True, text=True, check=True, timeout=10, errors="replace"
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() == checkout.resolve():
            version = git("describe", "--always", "--abbrev=40", "--dirty=+changed", "--match=")
            if version.endswith("+changed"):
                version += f"-{hashlib.sha256(git('diff', '--binary', 'HEAD').encode()).hexdigest()[:8]}"
            return version
    except (OSError, subprocess.SubprocessError):
        pass  # no history, or git is not installed
    built = checkout / BUILT_REVISION
    return built.read_text().strip() if built.is_file() else None
