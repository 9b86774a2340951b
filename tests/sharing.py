"""Results that are expensive to make and that many tests only read: made once, whichever process needs them first."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock


@dataclass(frozen=True)
class Shared:
    """A folder that all processes of one pytest run see. What is in it is read-only: a test that writes takes a copy.

    Attributes:
        folder: Where results lie, each in a folder of its own.
    """

    folder: Path

    def make(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder `name`, filled by `make(folder)` unless another test or process has done that already.

        A `make` that raises leaves nothing; the next test that asks tries it again, and fails likewise.
        """
        done, doing = self.folder / name, self.folder / f".{name}"
        with FileLock(self.folder / f"{name}.lock"):
            if not done.exists():
                doing.mkdir()
                try:
                    make(doing)
                except BaseException:
                    os.rename(doing, self.folder / f".{name}-failed-{os.getpid()}-{len(os.listdir(self.folder))}")
                    raise
                os.rename(doing, done)
        return done
