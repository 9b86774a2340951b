"""Limits on cores and memory for this process, which determine the default number of workers.

They are taken from the machine, the CPU affinity, control groups (cgroups) and the allocation of a batch system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")

GIVEN = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NCPUS", "NCPUS", "LSB_DJOB_NUMPROC", "NSLOTS")
"""Environment variables in which Slurm, PBS, LSF and Grid Engine give the cores of a job on this machine."""

WORKER_BYTES = 3 * 2**28
"""Memory of a worker, in bytes; the command and the fork server together take as much again."""

UNLIMITED = 2**60
"""Limits of cgroup version 1 from this number of bytes on mean that there is no limit."""


def affinity() -> int:
    """Return the number of cores in the CPU affinity of this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Allowance:
    """A number of workers, and its reason.

    Attributes:
        workers: Maximum number of workers at a time, at least 1.
        why: The limit that determines it, in words; empty if it is the number of cores of the machine.
    """

    workers: int
    why: str = ""


def cores(environment: Mapping[str, str] = os.environ, groups: Path = GROUPS, own: Path = OWN_GROUP) -> Allowance:
    """Return how many cores this process may use: the smallest of all limits.

    Args:
        environment: Environment variables, which may hold the allocation of a batch system.
        groups: Mount point of the control groups.
        own: File that names the control groups of this process.
    """
    found = [(os.cpu_count() or 1, ""), (affinity(), "the affinity of this process")]
    limit = core_limit(groups, own)
    if limit is not None:
        found.append((max(1, int(limit)), f"a control group's limit of {limit:g} cores"))
    for name in GIVEN:
        text = environment.get(name, "")
        if text.isdecimal() and int(text) > 0:
            found.append((int(text), f"{name}={text}"))
    return Allowance(*min(found, key=lambda pair: pair[0]))  # the first of equal ones


def allowance(environment: Mapping[str, str] = os.environ, groups: Path = GROUPS, own: Path = OWN_GROUP) -> Allowance:
    """Return the default number of workers: one per core, limited by memory. Arguments as of `cores`."""
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
    """Return the CPU limit of this process's control groups (version 1 or 2), in cores; None: no limit.

    Args:
        groups: Mount point of the control groups.
        own: File that names the control groups of this process.
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
    """Return limit and usage, in bytes, of the control group with the least free memory; None: no limit.

    Args:
        groups: Mount point of the control groups.
        own: File that names the control groups of this process.
    """
    found = []
    for folder in _folders(groups, own, "memory"):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            (limit,) = _numbers(folder / most) or (None,)
            if limit is not None and limit < UNLIMITED:
                found.append((limit, (_numbers(folder / used) or [0])[0]))
    return min(found, key=lambda pair: pair[0] - pair[1], default=None)


def _folders(groups: Path, own: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process, innermost first; the limits of all of them apply."""
    lines = own.read_text().splitlines() if own.is_file() else ()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = groups / controller if controllers else groups
        inner = Path(path.lstrip("/"))
        yield from (top / part for part in (inner, *inner.parents))  # the last parent is `.`, the top folder itself


def _numbers(file: Path) -> list[int]:
    """Read the numbers in a file of a control group; empty if the file is missing or says `max`."""
    try:
        words = file.read_text().split()
    except OSError:  # missing or not readable
        return []
    return [int(word) for word in words] if words and words[0] != "max" else []
