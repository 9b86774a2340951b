"""Pace of something slow: what is being done, how much of it is done, and about how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console

EVERY = 15.0
"""Seconds between two lines, where the output is not a terminal."""


def time_left(share: float, seconds: float) -> str:
    """The time that the rest takes if `share` of it took `seconds`, as `about 1.5 min left`; empty without a share."""
    if not 0.0 < share < 1.0 or seconds <= 0.0:
        return ""
    left = seconds / share * (1.0 - share)
    return f"about {left:.0f} s left" if left < 60 else f"about {left / 60:.1f} min left"


class Pace:
    """Says how far something has come: in one line that changes on a terminal, elsewhere in a line now and then.

    Use as a context manager. The first report after `EVERY` seconds of silence is printed, and the beginning of each
    step.

    Args:
        console: Console to print to.
        num_steps: Steps that will be begun.
        clock: Seconds, as `time.monotonic` gives them.
        begun: Steps that were begun before.
    """

    def __init__(
        self, console: Console, num_steps: int, clock: Callable[[], float] = time.monotonic, begun: int = 0
    ) -> None:
        self._console, self._num_steps, self._clock = console, num_steps, clock
        self._status = console.status("") if console.is_terminal else None
        self._step, self._what = begun, ""
        self._began = self._said = clock()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def begin(self, what: str) -> None:
        """Begin the next step and say what it is."""
        self._step, self._what, self._began = self._step + 1, what, self._clock()
        self._say(f"[{self._step}/{self._num_steps}] {what}")

    def reached(self, share: float) -> None:
        """Report the share of the present step that is done, in [0, 1]."""
        now = self._clock()
        if self._status is None and now - self._said < EVERY:
            return
        left = time_left(share, now - self._began)
        self._say(f"[{self._step}/{self._num_steps}] {self._what}: {share:.0%} done{f', {left}' if left else ''}")

    def _say(self, line: str) -> None:
        from rich.markup import escape

        from kerf.runs.terminal.console import say

        self._said = self._clock()
        if self._status is not None:
            self._status.update(escape(line))
        else:
            say(self._console, line)
