"""Peer process of a benchmark: trains on command and reports the time that it took.

`python -m kerf.runs.bench.peer_side MODULE SIZES` limits itself to `cores` cores, imports MODULE, calls its
`build(sizes) -> Work`, trains once to compile and warm up, and writes one JSON object per line to standard output:
first `ready` with `num_steps` and `versions`, then for each line `run` that it reads `seconds` and `score`. It ends
when its standard input closes. All other output goes to standard error.

Imports only the standard library, because the cores must be set before jax or torch start their threads.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Protocol

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
"""Environment variables that set the number of threads of libraries; `NPROC` is XLA's."""


class Work(Protocol):
    """The task of a peer.

    Attributes:
        num_steps: Environment steps that one `run` plays and learns from.
        packages: Distributions whose versions the figures depend on.
    """

    num_steps: int
    packages: tuple[str, ...]

    def run(self) -> None:
        """Train on `num_steps` more steps; returns when all computation has finished."""

    def score(self) -> float:
        """Current score of the agent; rises if training works. Not timed."""


def take_cores(count: int) -> None:
    """Limit this process, and all threads that it will start, to the first `count` of its cores.

    Raises:
        ValueError: if it has fewer.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(allowed):
        raise ValueError(f"cores: expected a number from 1 to {len(allowed)}, got {count}")
    os.sched_setaffinity(0, allowed[:count])
    os.environ.update(dict.fromkeys(THREADS, str(count)))


def serve(module: str, sizes: Mapping[str, Any]) -> None:
    """Build the work of `module` at these sizes, and follow commands on standard input until it closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print; standard output is reserved for the protocol
    sys.stdout = sys.stderr  # unbuffered, so that output survives a crash

    def answer(**facts: Any) -> None:
        answers.write(json.dumps(facts, allow_nan=False) + "\n")
        answers.flush()

    take_cores(sizes["cores"])
    work: Work = importlib.import_module(module).build(sizes)
    work.run()
    answer(ready=True, num_steps=work.num_steps, versions={name: version(name) for name in work.packages})
    for line in sys.stdin:
        if line.strip() != "run":
            raise ValueError(f"expected the line 'run', got {line!r}")
        began = time.perf_counter()
        work.run()
        seconds = time.perf_counter() - began
        answer(seconds=seconds, score=work.score())


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
