"""What a command says, and its exit code, where a signal ends it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from kerf.runs.cli import main
from kerf.runs.terminal.interruption import GOES_ON

PROGRAM = """
import os, signal, sys, time
import click
from kerf.runs.terminal.interruption import goes_on_if_interrupted

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests with `&`

@click.command()
@goes_on_if_interrupted
def command():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(60)
    finally:
        if sys.argv[2:]:
            raise OSError(5, "as of a terminal that is gone")

command([])
"""


CALLED_BACK = """
import ctypes
from kerf.runs.terminal.interruption import no_interruption_lost

@ctypes.CFUNCTYPE(None)
def called_back():
    os.kill(os.getpid(), int(sys.argv[1]))

"""
WITHIN = """
with no_interruption_lost():
    command([])
"""


@pytest.mark.parametrize("more", [[], ["unwinding fails"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_in_one_sentence_and_its_exit_code(number, more):
    words = [sys.executable, "-c", PROGRAM, str(int(number)), *more]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + number, f"stopped by {number.name}: {GOES_ON}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_while_c_code_calls_back_is_not_lost(number):
    """As while numba compiles: Python drops what is raised in such a function."""
    program = PROGRAM.replace("os.kill(os.getpid(), int(sys.argv[1]))", "called_back()")
    program = program.replace("@click.command", CALLED_BACK + "@click.command").replace("command([])", WITHIN)
    done = subprocess.run([sys.executable, "-c", program, str(int(number))], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (128 + number, f"stopped by {number.name}: {GOES_ON}\n")


def test_what_is_ignored_stays_ignored():
    program = PROGRAM.replace("time.sleep(60)", "print('on')")
    program = program.replace("@click.command", "signal.signal(1, signal.SIG_IGN)\n@click.command")
    done = subprocess.run([sys.executable, "-c", program, "1"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "on\n"), "as under nohup"


def test_every_command_that_trains_or_searches_can_be_interrupted():
    sweep = main.commands["sweep"]
    commands = [main.commands[name] for name in ("run", "attack", "exact")]
    commands += [sweep.commands[name] for name in ("dose", "pareto", "threshold", "run")]  # type: ignore[attr-defined]
    for command in commands:
        assert command.callback.__code__.co_name == "interruptible", command.name  # type: ignore[union-attr]
