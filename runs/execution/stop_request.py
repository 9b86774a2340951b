"""SIGTERM in a worker that was forked: it leaves a checkpoint after the iteration that it is in, and ends.

Where nothing keeps checkpoints it ends at once. Batch systems send the signal to all processes of a job, and the driver
to its workers when it gets it alone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 128 + int(signal.SIGTERM)
"""Exit code of a worker that was told to end."""

_told = _kept = _keeps = False


def listen() -> None:
    """End at SIGTERM from now on, as said above."""
    signal.signal(signal.SIGTERM, _stop)


def stopping() -> bool:
    """Whether a checkpoint is asked for: whoever asks leaves one if so."""
    global _kept
    _kept = _told
    return _told


def kept() -> bool:
    """Whether the checkpoint was left, so that this process may end."""
    return _kept


@contextmanager
def keeping_checkpoints() -> Iterator[None]:
    """Meanwhile SIGTERM waits for a checkpoint, or for the end of this."""
    global _keeps
    _keeps = True
    try:
        yield
    finally:
        _keeps = False
        if _told and not _kept:  # published: there is nothing left to keep
            os._exit(STOPPED)


def _stop(number: int, frame: FrameType | None) -> None:
    global _told
    _told = True
    if not _keeps:
        os._exit(STOPPED)
