"""Report of `kerf doctor`, for bug reports: versions, machine, paths and servers, and problems with them.

Nothing heavy is imported, and nothing is started except a process that imports Ray.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kerf.lab.compiled import NO_CACHE, cache_home
from kerf.lab.errors import KerfError
from kerf.runs.execution.compile_ahead import is_compiled
from kerf.runs.execution.forked_workers import will_fork
from kerf.runs.execution.limits import affinity, allowance, core_limit, memory_limit
from kerf.runs.execution.preflight import ROOM, check_room, nearest
from kerf.runs.records.provenance import digest, processor, revision
from kerf.runs.records.redaction import without_password
from kerf.runs.terminal.console import shell
from kerf.runs.tracking.reach import reach

DISTRIBUTION = "kerf-lab"

SHOWN = ("ray", "torch", "numba", "mlflow", "optuna")
"""Packages whose versions are shown; all requirements of Kerf are checked."""

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the package: a checkout, or a folder of installed packages."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_DISABLE_JIT")
"""Environment variables that affect numerical libraries."""

RAY_PATIENCE = 20.0
"""Maximum seconds for an import of Ray; one second is usual."""

WIDTH = 14
"""Width of the first column, in characters."""


@dataclass(frozen=True)
class Findings:
    """Result of the examination.

    Attributes:
        lines: Pairs of name and value.
        problems: Problems, a sentence each.
    """

    lines: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        shown = [*self.lines, *(("problem", problem) for problem in self.problems)]
        if not self.problems:
            shown.append(("problems", "none"))
        return "\n".join(f"{what:<{WIDTH}}{text}" for what, text in shown)


def examine(out: Path, uri: str, kernels: Path | None = None, distribution: str = DISTRIBUTION) -> Findings:
    """Examine this installation.

    Args:
        out: Output folder of studies.
        uri: MLflow tracking URI.
        kernels: Folder of the cache of compiled kernels; None: the one in use.
        distribution: Distribution whose requirements are checked.
    """
    ray_told = _import_ray()  # takes a second, in parallel to the rest
    problems = [*_room(out), *outside(distribution)]
    cache, unwritable = _cache(kernels or cache_home())
    problems += unwritable
    known = revision(PACKAGE)
    mlflow = without_password(uri), reach(uri)
    why_not = ray_told()
    if why_not:
        again = shell("pip", "install", "--force-reinstall", _pinned("ray", distribution))
        problems.append(f"Ray cannot be imported: {why_not}; install it again (`{again}`)")
    lines = (
        ("kerf", f"{_version(distribution)}, {f'revision {known}' if known else 'revision unknown'}"),
        ("python", f"{platform.python_version()} ({platform.platform()})"),
        ("code", f"digest {digest()}"),
        ("packages", ", ".join(f"{name} {_version(name)}" for name in SHOWN)),
        ("processor", processor()),
        ("cores", _cores()),
        ("threads", ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ) or "not limited"),
        ("memory", _memory()),
        ("disk", _disk(out)),
        (
            "workers",
            f"{_workers()}; "
            + ("forked; Ray only for recipes that need it" if will_fork() else "on Ray: they cannot be forked here"),
        ),
        ("ray", f"{_version('ray')}, {'cannot' if why_not else 'can'} be imported"),
        ("mlflow", f"{mlflow[0]} {mlflow[1]}"),
        ("out", str(out.absolute())),
        ("package", str(PACKAGE)),
        ("kernel cache", cache),
    )
    return Findings(lines, tuple(problems))


def outside(distribution: str = DISTRIBUTION) -> list[str]:
    """Return a sentence for each package that is missing or not of a version that `distribution` requires.

    Requirements of extras are not checked.
    """
    try:
        required = [Requirement(text) for text in requires(distribution) or ()]
    except PackageNotFoundError:
        return [
            f"{distribution} is not installed, so its requirements are unknown: run `pip install -e .` in its sources"
        ]
    problems = []
    python = metadata(distribution)["Requires-Python"]
    if python and platform.python_version() not in SpecifierSet(python, prereleases=True):
        problems.append(f"Python is {platform.python_version()}, expected {python}: install Kerf with another Python")
    for asked in required:
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        found = _version(asked.name)
        if not asked.specifier.contains(found, prereleases=True):
            install = shell("pip", "install", _wanted(asked))
            problems.append(f"{asked.name} is {found}, expected {asked.specifier}: `{install}`")
    return problems


def _pinned(name: str, distribution: str) -> str:
    """What `distribution` requires of the package `name`, as pip takes it."""
    try:
        required = [Requirement(text) for text in requires(distribution) or ()]
    except PackageNotFoundError:
        required = []
    return next((_wanted(asked) for asked in required if asked.name == name), name)


def _wanted(asked: Requirement) -> str:
    extras = f"[{','.join(sorted(asked.extras))}]" if asked.extras else ""
    return f"{asked.name}{extras}{asked.specifier}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _import_ray() -> Callable[[], str]:
    """Start a process that imports Ray; return a function that waits for it and returns the error, or an empty text."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "import ray"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "RAY_ENABLE_AUTO_CONNECT": "0"},
    )

    def why_not() -> str:
        try:
            _, errors = process.communicate(timeout=RAY_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"it takes more than {RAY_PATIENCE:g} s"
        if process.returncode == 0:
            return ""
        return next(iter(errors.strip().splitlines()[-1:]), f"exit code {process.returncode}")

    return why_not


def _room(out: Path) -> list[str]:
    try:
        check_room(out)
    except KerfError as error:
        return [str(error)]
    return []


def _cache(folder: Path | None) -> tuple[str, list[str]]:
    """Return the kernel cache as shown, and problems with it. Leaves no files behind."""
    if folder is None:
        return "none", [NO_CACHE]
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)):
            compiled = "compiled" if is_compiled() else "not compiled yet"
            return f"{folder} (writable; kernels of training {compiled})", []
    except (OSError, KerfError) as error:
        why = getattr(error, "strerror", None) or error
        sentence = f"{folder} cannot be written ({why}), so kernels cannot be compiled: make it or its parent writable"
        return f"{folder} (not writable)", [sentence]


def _cores() -> str:
    limit = core_limit()
    allowed = "no limit by control groups" if limit is None else f"{limit:g} by control groups"
    return f"{affinity()} of {os.cpu_count()} ({allowed})"


def _workers() -> str:
    found = allowance()
    return f"{found.workers} in parallel for {found.why or 'as many cores'}"


def _memory() -> str:
    machine = psutil.virtual_memory()
    free, total, where = machine.available, machine.total, ""
    group = memory_limit()
    if group is not None and group[0] - group[1] < free:
        free, total, where = group[0] - group[1], group[0], " (a control group's limit)"
    return f"{_gib(free)} free of {_gib(total)}{where}"


def _disk(out: Path) -> str:
    try:
        return f"{_gib(shutil.disk_usage(nearest(out)).free)} free for out, at least {ROOM // 2**20} MiB are needed"
    except (OSError, KerfError):
        return "unknown for out"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
