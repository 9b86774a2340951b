"""numba with a cache that knows what the compiled code depends on.

numba keys its cache by a function's own source file, but constants and callees live in other files. Here the cache
folder is named by a digest of all of `lab`, so that no kernel outlives a change to what it was compiled from.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config

LAB = Path(__file__).parent


@cache
def cache_folder() -> Path:
    """Where this version of the code keeps its compiled kernels: beside the code, else in the user's cache."""
    sha = hashlib.sha256(numba.__version__.encode())
    for path in sorted(LAB.rglob("*.py")):
        sha.update(str(path.relative_to(LAB)).encode())
        sha.update(path.read_bytes())
    home = LAB / "__pycache__" if os.access(LAB, os.W_OK) else Path.home() / ".cache" / "kerf"
    return home / f"compiled-{sha.hexdigest()[:16]}"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit` with that cache; with `NUMBA_DISABLE_JIT=1` the function itself.

    It lets other threads run meanwhile, and divides as numpy does: a check for zero would keep loops from being
    vectorised.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        kernel: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
    return kernel
