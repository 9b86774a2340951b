"""Commands that are interrupted: a sentence and the exit code of the signal, whatever is unwound meanwhile.

Schedulers of batch systems and containers send SIGTERM when time is up, a terminal that closes sends SIGHUP, and Ctrl-C
SIGINT.
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

GOES_ON = "the records so far are kept, and the same command goes on"
"""What is said of every command that can be interrupted."""


def goes_on_if_interrupted(command: Callable[..., None]) -> Callable[..., None]:
    """A command that ends with one sentence and 128 + signal at SIGINT, SIGTERM and SIGHUP."""

    @functools.wraps(command)
    def interruptible(**asked: object) -> None:
        with _interruption():
            command(**asked)

    return interruptible


@contextlib.contextmanager
def _interruption() -> Iterator[None]:
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        first = not came
        came.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if first:  # the others would only keep the first from what it has to do
            raise Interrupted(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        _end(came[0] if came else signal.SIGINT)
    except BaseException:
        if not came:
            raise
        _end(came[0])  # what could not be ended properly: a terminal that is gone cannot be written
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int) -> NoReturn:
    with contextlib.suppress(OSError):
        click.echo(f"stopped by {signal.Signals(number).name}: {GOES_ON}", err=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads it, which Python would complain of as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise SystemExit(128 + number) from None
