"""Compiled functions: numba, imported at the first call, with a cache keyed by all sources that they depend on.

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
from functools import cache, cached_property, update_wrapper
from pathlib import Path
from threading import Lock
from typing import Any

LAB = Path(__file__).parent

_making = Lock()


@cache
def sources_digest(package: Path = LAB) -> str:
    """SHA-256 (hex) of the sources of `lab` and `package`, read at the first call."""
    sha = hashlib.sha256()
    for folder in dict.fromkeys((LAB, package)):
        for path in sorted(folder.rglob("*.py")):
            sha.update(str(path.relative_to(folder)).encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()


def cache_home() -> Path:
    """Folder of compiled kernels: beside `lab`, or in the user's cache if that is read-only."""
    return LAB / "__pycache__" if os.access(LAB, os.W_OK) else Path.home() / ".cache" / "kerf"


class Kernel:
    """A function that numba compiles when it is first called: importing numba takes a second, and few commands need it.

    With `NUMBA_DISABLE_JIT=1` the function itself is called.

    Args:
        function: In the subset of Python that numba compiles.
        fuses: Whether multiply-add may be fused, that is rounded once, where the processor can do that.

    Attributes:
        py_func: The function, uncompiled.
    """

    def __init__(self, function: Callable[..., Any], fuses: bool = False) -> None:
        update_wrapper(self, function)
        self.py_func = function
        self._allowed = {"contract"} if fuses else set()
        # Now, while the sources are those that were imported: they may be edited before the first call.
        self._digest = sources_digest(_package(function))

    def __call__(self, *args: Any) -> Any:
        return self._compiled(*args)

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        import numba
        from numba.core import config

        sha = hashlib.sha256(f"{numba.__version__} {self._digest}".encode())
        with _making:  # threads: the folder is a global setting of numba's
            before = config.CACHE_DIR
            config.CACHE_DIR = str(cache_home() / f"compiled-{sha.hexdigest()[:16]}")
            try:
                options = {"nogil": True, "error_model": "numpy", "fastmath": self._allowed}
                kernel: Callable[..., Any] = numba.njit(cache=True, **options)(self.py_func)
            finally:
                config.CACHE_DIR = before
        return kernel

    @property
    def _numba_type_(self) -> Any:
        """The type by which numba resolves calls of this kernel in another."""
        import numba

        return numba.typeof(self._compiled)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit` with that cache.

    It releases the GIL, and divides as numpy does: a check for zero would keep loops from being vectorised.
    """
    return Kernel(function)


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """`compiled` with fused multiply-add, for polynomials: faster and no less exact, but not the same bytes on a
    processor without it."""
    return Kernel(function, fuses=True)


def _package(function: Callable[..., Any]) -> Path:
    """The folder of the outermost regular package that a function is in; that of `lab` for a file that stands alone."""
    parts = function.__module__.split(".")
    for length in range(1, len(parts) + 1):  # `kerf` itself is a namespace, which has no file
        module = sys.modules.get(".".join(parts[:length]))
        file = Path(getattr(module, "__file__", None) or "")
        if file.name == "__init__.py":
            return file.parent
    return LAB
