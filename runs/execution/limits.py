"""Cores and memory that this process may use, which decide how many workers there are unless somebody says.

What counts is what the machine has, the affinity, the limits of control groups, and what a batch system gave the job.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")

GIVEN = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NCPUS", "NCPUS", "LSB_DJOB_NUMPROC", "NSLOTS")
"""Environment variables by which Slurm, PBS, LSF and Grid Engine say how many cores a job has on this machine."""

WORKER_BYTES = 3 * 2**28
"""Memory that a worker needs; the command and the process that workers are forked from take as much between them."""

UNLIMITED = 2**60
"""Bytes from which on a limit of version 1 means that there is none."""


def affinity() -> int:
    """How many cores the scheduler may give this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Allowance:
    """How many workers there may be at a time.

    Attributes:
        workers: At least 1.
        why: What decides, in words; empty if it is the number of the machine's cores.
    """

    workers: int
    why: str = ""


def cores(environment: Mapping[str, str] = os.environ, groups: Path = GROUPS, own: Path = OWN_GROUP) -> Allowance:
    """How many cores this process may keep busy: the least that anybody leaves it.

    Args:
        environment: Variables in which a batch system says what the job was given.
        groups: Where the control groups are mounted.
        own: The file that names those of this process.
    """
    found = [(os.cpu_count() or 1, ""), (affinity(), "the affinity of this process")]
    limit = core_limit(groups, own)
    if limit is not None:
        found.append((max(1, int(limit)), f"a control group's limit of {limit:g} cores"))
    for name in GIVEN:
        said = environment.get(name, "")
        if said.isdecimal() and int(said) > 0:
            found.append((int(said), f"{name}={said}"))
    return Allowance(*min(found, key=lambda pair: pair[0]))  # of equals the first


def allowance(environment: Mapping[str, str] = os.environ, groups: Path = GROUPS, own: Path = OWN_GROUP) -> Allowance:
    """How many workers there are unless somebody says: one a core, and no more than memory holds; as `cores`."""
    by_cores, limit = cores(environment, groups, own), memory_limit(groups, own)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size, whose = machine, "this machine's"
    if limit is not None and limit[0] < machine:
        size, whose = limit[0], "a control group's limit of"
    fitting = max(1, size // WORKER_BYTES - 1)
    if fitting >= by_cores.workers:
        return by_cores
    return Allowance(fitting, f"{whose} {size / 2**30:.3g} GiB of memory, of which each takes {WORKER_BYTES / 2**30:g}")


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
