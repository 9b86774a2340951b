"""The process of a `kerf` command, also by `python -m kerf.runs`.

Ctrl-C raises `KeyboardInterrupt` while the command works. Before, while modules are imported, and afterwards, while
libraries clean up, it ends the process at once and silently.
"""

from __future__ import annotations

import signal

_IS_IGNORED = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as under `nohup`, or by a shell's `&`
if not _IS_IGNORED:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from kerf.runs.cli import main  # noqa: E402


def start() -> None:
    """Run the command line, and end the process."""
    if not _IS_IGNORED:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(prog_name="kerf")
    finally:
        if not _IS_IGNORED:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    start()
