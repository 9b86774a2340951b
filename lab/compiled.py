"""Compiled functions: numba, imported at the first call, with a cache keyed by all sources that they depend on.

numba keys its cache by a function's own source file, but constants and callees live in other files. Here the cache
folder is named by a digest of all of `lab` and of the function's own package, so that no kernel outlives a change to
what it was compiled from. It lies in `NUMBA_CACHE_DIR`, beside the code, or in the temporary folder, whichever is the
first that can be written.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, cached_property, update_wrapper
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

LAB = Path(__file__).parent

_making = Lock()

_uncompiled: ContextVar[bool] = ContextVar("uncompiled", default=False)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Call kernels as plain Python for a while, in this thread: slow, but without numba and without compiling."""
    import numpy as np

    token = _uncompiled.set(True)
    try:
        with np.errstate(all="ignore"):  # compiled, they wrap and divide without a word
            yield
    finally:
        _uncompiled.reset(token)


@cache
def sources_digest(package: Path = LAB) -> str:
    """SHA-256 (hex) of the sources of `lab` and `package`, read at the first call."""
    sha = hashlib.sha256()
    for folder in dict.fromkeys((LAB, package)):
        for path in sorted(folder.rglob("*.py")):
            sha.update(str(path.relative_to(folder)).encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()


def cache_home() -> Path | None:
    """Folder of compiled kernels; None where no such folder can be written."""
    asked = os.environ.get("NUMBA_CACHE_DIR")
    for folder in (*([Path(asked)] if asked else ()), LAB / "__pycache__"):
        if _can_be_written(folder):
            return folder
    return own_folder("kernels")


def kernel_folder(digest: str) -> Path | None:
    """Folder of the kernels that were compiled from sources of this `sources_digest`; None as for `cache_home`."""
    home = cache_home()
    return None if home is None else home / _folder_name(digest)


def _folder_name(digest: str) -> str:
    sha = hashlib.sha256(f"{version('numba')} {digest}".encode())
    return f"compiled-{sha.hexdigest()[:16]}"


def own_folder(name: str) -> Path | None:
    """A folder called `name` that this user alone can write; None where there can be none."""
    try:
        top = Path(tempfile.gettempdir()) / f"kerf-{os.getuid()}"
        top.mkdir(mode=0o700, exist_ok=True)
        found = top.lstat()
        # What lies in it may be code: none is taken from what somebody else may have written.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return None
        (top / name).mkdir(exist_ok=True)
    except OSError:  # no temporary folder can be written, or something else is in its place
        return None
    return top / name if os.access(top / name, os.W_OK | os.X_OK) else None


NO_CACHE = (
    "compiled kernels are not kept: neither the folder of the code nor a temporary folder can be written, so every "
    "process compiles its own; set NUMBA_CACHE_DIR to a folder that can"
)
"""What is told where there is no `cache_home`."""


class Kernel:
    """A function that numba compiles when it is first called: importing numba takes a second, and few commands need it.

    With `NUMBA_DISABLE_JIT=1`, and within `uncompiled`, the function itself is called.

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
        return (self.py_func if _uncompiled.get() else self._compiled)(*args)

    @cached_property
    def _compiled(self) -> Callable[..., Any]:
        import numba
        from numba.core import config

        options = {"nogil": True, "error_model": "numpy", "fastmath": self._allowed}
        kernel: Callable[..., Any]
        with _making:  # threads: the folder is a global setting of numba's
            home = _cache_home_or_warning()
            if home is None:
                kernel = numba.njit(**options)(self.py_func)
                return kernel
            before = config.CACHE_DIR
            config.CACHE_DIR = str(home / _folder_name(self._digest))
            try:
                kernel = numba.njit(cache=True, **options)(self.py_func)
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


@cache
def _cache_home_or_warning() -> Path | None:
    """`cache_home` as it is when the first kernel is compiled."""
    home = cache_home()
    if home is None:
        warnings.warn(NO_CACHE, RuntimeWarning, stacklevel=2)
    return home


def _can_be_written(folder: Path) -> bool:
    """Whether files can be made in a folder, which need not be there yet."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _package(function: Callable[..., Any]) -> Path:
    """The folder of the outermost regular package that a function is in; that of `lab` for a file that stands alone."""
    parts = function.__module__.split(".")
    for length in range(1, len(parts) + 1):  # `kerf` itself is a namespace, which has no file
        module = sys.modules.get(".".join(parts[:length]))
        file = Path(getattr(module, "__file__", None) or "")
        if file.name == "__init__.py":
            return file.parent
    return LAB
