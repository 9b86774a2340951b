"""Standard streams of a command that cannot be written: closed pipes, full disks, terminals that are gone."""

from __future__ import annotations

import os
import sys


def finish(probe: bool = False) -> dict[str, OSError]:
    """Flush stdout and stderr; what cannot be written is discarded, so that Python does not report it at exit.

    Args:
        probe: Whether to write a line break to each, too, until one cannot be written: where streams are not buffered,
            nothing is left of what could not.

    Returns:
        The errors by stream, `stdout` or `stderr`.
    """
    errors: dict[str, OSError] = {}
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before this process began
            continue
        try:
            if probe and not errors:
                stream.write("\n")
            stream.flush()
        except OSError as error:
            errors[name] = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
            stream.flush()
    return errors
