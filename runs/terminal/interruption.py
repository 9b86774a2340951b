"""Interruption of commands by signals: they end with a one-sentence message and the exit code of the signal.

Batch systems and containers send SIGTERM when the time limit is reached, a terminal that is closed sends SIGHUP, and
Ctrl-C sends SIGINT.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import click

from kerf.lab.errors import Interrupted
from kerf.runs.terminal.streams import finish

GOES_ON = "the records so far are kept; run the same command again to continue"
"""Message for every command that can be interrupted."""


SOON = 0.05
"""Seconds after which an interruption that was lost comes again."""

_LOST: set[int] = set()
"""Signals whose interruption was lost, and which come again."""


@contextlib.contextmanager
def no_interruption_lost() -> Iterator[None]:
    """Within, a signal comes again whose interruption was raised where nothing can propagate it.

    That is so in functions that C code calls back, as the compiler does, and in finalisers: Python reports and drops
    what is raised there (`sys.unraisablehook`), and the command would go on.
    """
    before = sys.unraisablehook

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            before(what)
            return
        number = what.exc_value.number if isinstance(what.exc_value, Interrupted) else signal.SIGINT
        _LOST.add(number)
        again = threading.Timer(SOON, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = before


def goes_on_if_interrupted(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that SIGINT, SIGTERM and SIGHUP end it with a message and exit code 128 + signal."""

    @functools.wraps(command)
    def interruptible(**asked: object) -> None:
        with _interruption():
            command(**asked)

    return interruptible


@contextlib.contextmanager
def _interruption() -> Iterator[None]:
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        first = not came or number in _LOST
        _LOST.discard(number)
        came.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if first:  # further signals would interrupt the handling of the first
            raise Interrupted(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # keep signals ignored, as under `nohup`
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        _end(came[0] if came else signal.SIGINT)
    except BaseException:
        if not came:
            raise
        _end(came[0])  # the cleanup failed too, e.g. since a closed terminal cannot be written to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int) -> NoReturn:
    with contextlib.suppress(OSError):
        click.echo(f"stopped by {signal.Signals(number).name}: {GOES_ON}", err=True)
    finish()
    raise SystemExit(128 + number) from None
