"""Building blocks of the conformance checks: expectations with a message, and a watch on global random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray


def expect(holds: Any, sentence: str) -> None:
    """Raise `AssertionError` with `sentence` unless `holds`; `python -O` leaves this in, unlike an `assert`."""
    if not holds:
        raise AssertionError(sentence)


def expect_same(one: NDArray[Any], other: NDArray[Any], what: str) -> None:
    """Raise `AssertionError` unless the arrays have equal bytes; names the first index that differs."""
    expect(
        (one.shape, one.dtype) == (other.shape, other.dtype),
        f"{what}: {one.dtype} {one.shape} and {other.dtype} {other.shape}",
    )
    if one.tobytes() != other.tobytes():
        differs = np.argwhere(~((one == other) | ((one != one) & (other != other))))
        at = tuple(differs[0].tolist()) if len(differs) else ()
        raise AssertionError(f"{what}: first differs at {at}, {one[at]!r} and {other[at]!r}")


def expect_raises(kind: type[Exception], words: str, action: Callable[[], object], what: str) -> None:
    """Raise `AssertionError` unless `action` raises a `kind` whose message contains `words`."""
    try:
        action()
    except kind as error:
        expect(words in str(error), f"{what}: the error must say {words!r}, got {str(error)!r}")
    except Exception as error:
        raise AssertionError(f"{what}: must raise {kind.__name__}, got {error!r}") from error
    else:
        raise AssertionError(f"{what}: must raise {kind.__name__}, and nothing was raised")


@contextmanager
def global_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators of numpy and `random` for a while.

    Raises:
        AssertionError: if one was drawn from or seeded meanwhile.
    """
    kept = np.random.get_state(), random.getstate()  # noqa: NPY002  # the very thing that must not matter
    try:
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = _state()
        yield
        expect(_state() == before, "random numbers were drawn from a global generator, not from the one passed in")
    finally:
        np.random.set_state(kept[0])  # noqa: NPY002
        random.setstate(kept[1])


def _state() -> tuple[Any, ...]:
    name, words, place, *rest = np.random.get_state()  # noqa: NPY002
    return name, np.asarray(words).tobytes(), place, *rest, random.getstate()
