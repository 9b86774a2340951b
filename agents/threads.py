"""Thread pool for work that releases the GIL: matrix products and compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


def in_parallel(work: Sequence[Callable[[], T]], num_threads: int) -> list[T]:
    """What each of `work` returns, in its order; done on so many threads, or one after another if that is one.

    What they compute must not depend on the order in which they run. torch must be on one thread itself.
    """
    if num_threads == 1 or len(work) == 1:
        return [do() for do in work]
    return list(_executor(num_threads).map(_do, work))


def _do(work: Callable[[], T]) -> T:
    return work()


@cache
def _executor(num_threads: int) -> ThreadPoolExecutor:
    """One for the whole process: its threads wait for work, which costs nothing."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix="kerf")
