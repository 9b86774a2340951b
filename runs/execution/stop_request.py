"""SIGTERM handling of a forked worker: it writes a checkpoint after the present iteration, then ends.

If no checkpoints are being kept it ends at once. Batch systems send SIGTERM to all processes of a job; the driver sends
it to its workers if only the driver receives it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 128 + int(signal.SIGTERM)
"""Exit code of a worker that ends because of SIGTERM."""

_requested = _kept = _keeps = False


def listen() -> None:
    """Install the SIGTERM handler."""
    signal.signal(signal.SIGTERM, _stop)


def stopping() -> bool:
    """Whether SIGTERM was received. A caller that gets True must write a checkpoint."""
    global _kept
    _kept = _requested
    return _requested


def kept() -> bool:
    """Whether the checkpoint is written, so that this process can end."""
    return _kept


@contextmanager
def keeping_checkpoints() -> Iterator[None]:
    """Delay the effect of SIGTERM in the block until a checkpoint is written or the block ends."""
    global _keeps
    _keeps = True
    try:
        yield
    finally:
        _keeps = False
        if _requested and not _kept:  # the block has ended: no checkpoint is needed any more
            os._exit(STOPPED)


def _stop(number: int, frame: FrameType | None) -> None:
    global _requested
    _requested = True
    if not _keeps:
        os._exit(STOPPED)
