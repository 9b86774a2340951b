"""Cores and memory that this process may use: what the machine has, its affinity, and the limits of control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")

UNLIMITED = 2**60
"""Bytes from which on a limit of version 1 means that there is none."""


def affinity() -> int:
    """How many cores the scheduler may give this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_limit(groups: Path = GROUPS, own: Path = OWN_GROUP) -> float | None:
    """Cores' worth of time that control groups (version 1 or 2) leave this process; None: no limit.

    Args:
        groups: Where the control groups are mounted.
        own: The file that names those of this process.
    """
    limits = []
    for folder in _folders(groups, own, "cpu"):
        quota, period = [*_numbers(folder / "cpu.max"), None, None][:2]
        if quota is None:
            (quota,) = _numbers(folder / "cpu.cfs_quota_us") or (None,)
            (period,) = _numbers(folder / "cpu.cfs_period_us") or (None,)
        if quota is not None and period and quota > 0:
            limits.append(quota / period)
    return min(limits, default=None)


def memory_limit(groups: Path = GROUPS, own: Path = OWN_GROUP) -> tuple[int, int] | None:
    """Bytes that control groups leave this process, and those in use of them, of the tightest one; None: no limit.

    Args:
        groups: Where the control groups are mounted.
        own: The file that names those of this process.
    """
    found = []
    for folder in _folders(groups, own, "memory"):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            (limit,) = _numbers(folder / most) or (None,)
            if limit is not None and limit < UNLIMITED:
                found.append((limit, (_numbers(folder / used) or [0])[0]))
    return min(found, key=lambda pair: pair[0] - pair[1], default=None)


def _folders(groups: Path, own: Path, controller: str) -> Iterator[Path]:
    """The groups that hold this process, from the innermost up: a limit of any of them counts."""
    lines = own.read_text().splitlines() if own.is_file() else ()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = groups / controller if controllers else groups
        inner = Path(path.lstrip("/"))
        yield from (top / part for part in (inner, *inner.parents))  # the last parent is `.`: the top itself


def _numbers(file: Path) -> list[int]:
    """The numbers of a limit's file; none where there is no such file, or it says `max`."""
    try:
        words = file.read_text().split()
    except OSError:  # not there, or not ours to read
        return []
    return [int(word) for word in words] if words and words[0] != "max" else []
