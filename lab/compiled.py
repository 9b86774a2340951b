"""numba with a cache that knows what the compiled code depends on.

numba keys its cache by a function's own source file, but constants and callees live in other files. Here the cache
folder is named by a digest of all of `lab` and of the function's own package, so that no kernel outlives a change to
what it was compiled from.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config

LAB = Path(__file__).parent


@cache
def cache_folder(package: Path = LAB) -> Path:
    """Where this version of `lab` and `package` keeps its compiled kernels: beside the code, or in the user's cache."""
    sha = hashlib.sha256(numba.__version__.encode())
    for folder in dict.fromkeys((LAB, package)):
        for path in sorted(folder.rglob("*.py")):
            sha.update(str(path.relative_to(folder)).encode())
            sha.update(path.read_bytes())
    home = LAB / "__pycache__" if os.access(LAB, os.W_OK) else Path.home() / ".cache" / "kerf"
    return home / f"compiled-{sha.hexdigest()[:16]}"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit` with that cache; with `NUMBA_DISABLE_JIT=1` the function itself.

    It lets other threads run meanwhile, and divides as numpy does: a check for zero would keep loops from being
    vectorised.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder(_package(function)))
    try:
        kernel: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
    return kernel


def _package(function: Callable[..., Any]) -> Path:
    """The folder of the package that a function is in; that of `lab` for one in a file that stands alone."""
    top = sys.modules.get(function.__module__.partition(".")[0])
    file = Path(getattr(top, "__file__", None) or "")
    return file.parent if file.name == "__init__.py" else LAB
