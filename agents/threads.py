"""Thread pool for work that releases the GIL: matrix products and compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


def in_parallel(work: Sequence[Callable[[], T]], num_threads: int) -> list[T]:
    """Results of all `work`, in its order, computed on `num_threads` threads.

    They must not depend on the order of execution. torch must be limited to one thread.
    """
    if num_threads == 1 or len(work) == 1:
        return [do() for do in work]
    return list(_executor(num_threads).map(_do, work))


def _do(work: Callable[[], T]) -> T:
    return work()


@cache
def _executor(num_threads: int) -> ThreadPoolExecutor:
    """A pool for the whole process; idle threads cost nothing."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix="kerf")
