"""Command group of `kerf`: turns errors of the user and of the system into one sentence and an exit code."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import IO, Any

import click

from kerf.lab.errors import KerfError
from kerf.runs.terminal.home import settle_home
from kerf.runs.terminal.interruption import no_interruption_lost
from kerf.runs.terminal.streams import finish

FAILED = 1
"""Exit code if something could not be done."""

REFUSED = 2
"""Exit code for an error of the user, such as a wrong argument."""


class Refusal(click.ClickException):
    """A `KerfError` as shown on the command line: one sentence."""

    exit_code = REFUSED

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"kerf: {self.format_message()}", file=file, err=True)


class Failure(Refusal):
    """A file that cannot be read or written, as shown on the command line: one sentence."""

    exit_code = FAILED


class Commands(click.Group):
    """Command group that turns errors of the user and of the system into a sentence. Other exceptions are bugs.

    Exit codes are 2 after a `KerfError`, and 1 after an `OSError` that names a file or if the output cannot be written.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _refuse_lost_folder()
            settle_home()
            return super().invoke(ctx)
        except KerfError as error:
            raise Refusal(str(error)) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise Failure(f"{os.fsdecode(error.filename)}: {error.strerror}") from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        code: Any = 0
        try:
            with no_interruption_lost():
                return super().main(*args, **kwargs)
        except SystemExit as end:
            code = end.code
        except OSError as error:
            code = FAILED
            if isinstance(error.__context__, click.ClickException):  # its sentence could not be written
                code = error.__context__.exit_code
            elif error.filename is not None or not (errors := finish(probe=True)):
                raise
            else:
                _say_unwritable(errors)
        _say_unwritable(errors := finish())
        raise SystemExit(code or (FAILED if errors else code))


def _refuse_lost_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise KerfError(f"the working folder is gone ({error.strerror}): change to one that is there") from error


def _say_unwritable(errors: Mapping[str, OSError]) -> None:
    """Say why stdout could not be written; nothing if its reader has had enough and closed the pipe."""
    error = errors.get("stdout")
    if error is not None and not isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):
            click.echo(f"kerf: stdout cannot be written: {error.strerror}", err=True)
