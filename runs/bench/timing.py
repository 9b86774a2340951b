"""Common parts of the benchmarks: stopwatches, contenders, facts about the machine, and output of figures."""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.text import Text

from kerf.lab.errors import KerfError
from kerf.lab.torch_threads import one_thread
from kerf.runs.records import atomic_io as disk
from kerf.runs.records.provenance import processor, versions

REST = "rest"
"""Name of the part for the time outside of all timed parts."""


class Stopwatch:
    """Adds up the time spent in given methods of objects, whose behaviour is unchanged; `clock` reads seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}

    def watch(self, part: str, owner: Any, method: str) -> Self:
        """Count further calls of `owner.method` as `part`."""
        inner = getattr(owner, method)
        self._seconds[part] = 0.0

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = self._clock()
            try:
                return inner(*args, **kwargs)
            finally:
                self._seconds[part] += self._clock() - began

        setattr(owner, method, timed)
        return self

    def read(self) -> dict[str, float]:
        """Seconds by part since the last read; resets to zero."""
        seconds, self._seconds = self._seconds, dict.fromkeys(self._seconds, 0.0)
        return seconds


@dataclass(frozen=True)
class Contender:
    """A program that is timed.

    Attributes:
        label: Description for people.
        num_steps: Environment steps of one `run`.
        run: Runs it.
        stopwatch: Times its parts.
    """

    label: str
    num_steps: int
    run: Callable[[], Any]
    stopwatch: Stopwatch

    def measure(self) -> tuple[float, dict[str, float]]:
        """Steps per second of one run, and the share of time in each part; the remainder is `rest`."""
        self.stopwatch.read()
        began = time.perf_counter()
        self.run()
        total = time.perf_counter() - began
        shares = {part: seconds / total for part, seconds in self.stopwatch.read().items()}
        return self.num_steps / total, shares | {REST: 1.0 - sum(shares.values())} if shares else {}


@contextmanager
def one_quiet_thread() -> Iterator[None]:
    """Limit torch to one thread, and silence RLlib's usage messages and what it says of its own old parts."""
    loggers = [logging.getLogger(name) for name in ("ray.rllib", "ray._common.deprecation")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with one_thread():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def machine() -> dict[str, Any]:
    """Facts about the machine that the figures depend on."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
    }


def spread(numbers: Sequence[float]) -> dict[str, float]:
    """Median and range of repeated measurements."""
    return {"median": statistics.median(numbers), "low": min(numbers), "high": max(numbers)}


def refuse_unwritable(json_file: Path | None) -> None:
    """Raise `KerfError` if `json_file` is not writable; called before anything is measured."""
    if json_file is None:
        return
    try:
        os.lstat(json_file)
    except (FileNotFoundError, NotADirectoryError):
        pass  # the folder is looked at below
    except OSError as error:  # its name is too long
        raise KerfError(f"--json {json_file}: {error.strerror}; name another file") from error
    if not (json_file.parent.is_dir() and os.access(json_file.parent, os.W_OK)):
        raise KerfError(f"--json {json_file}: {json_file.parent} is no folder that you can write to; name another one")


def write_figures(json_file: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures to `json_file` if it is given."""
    if json_file is not None:
        with disk.as_disk_error(json_file):
            disk.write(json_file, json.dumps(figures, indent=2, allow_nan=False).encode() + b"\n")


def spread_text(spread: Mapping[str, float], form: str) -> Text:
    return Text(f"{spread['median']:{form}} [{spread['low']:{form}}, {spread['high']:{form}}]")
