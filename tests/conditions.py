"""Runs of `kerf` under unusual conditions: each in a fork of one process that has imported what commands need.

A fork begins in a folder of its own, with the streams, variables and limits of its case, calls the command line as
the installed script does, and ends as Python ends, so that what fails only when a stream is flushed is seen, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

LIMIT = 900.0
"""Seconds after which a case is ended, and counts as one that is still at work."""

AT_ONCE = 3
"""Cases at a time."""

_PROGRAM = """
import gc, importlib, json, os, resource, signal, sys, time

request = json.load(sys.stdin)
for module in request["modules"]:
    importlib.import_module(module)
gc.freeze()
waiting, running, done = list(enumerate(request["cases"])), {}, {}
case = None
while waiting or running:
    while waiting and len(running) < request["at_once"]:
        number, begun = waiting.pop(0)
        pid = os.fork()
        if pid == 0:
            case = begun
            break
        now = time.monotonic()
        running[pid] = number, now + begun["limit"], now + begun["signal_after"], begun["signal"]
    if case:
        break
    pid, status = os.waitpid(-1, os.WNOHANG)
    if pid in running:
        number, end, *_ = running.pop(pid)
        seconds = time.monotonic() - end + request["cases"][number]["limit"]
        done[number] = os.waitstatus_to_exitcode(status), seconds
    elif pid == 0:
        for pid, (number, end, at, number_of_signal) in list(running.items()):
            if time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
            elif number_of_signal and time.monotonic() > at:
                os.kill(pid, number_of_signal)
                running[pid] = number, end, at, 0
        time.sleep(0.005)
if not case:
    with open(request["answer"], "w") as file:
        json.dump([done[number] for number in range(len(done))], file)
    os._exit(0)

os.setpgid(0, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.update({name: value for name, value in case["variables"].items() if value is not None})
for name, value in case["variables"].items():
    if value is None:
        os.environ.pop(name, None)
os.chdir(case["cwd"])
if case["gone"]:
    os.rmdir(case["cwd"])
if case["file_bytes"] is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (case["file_bytes"],) * 2)
for number, name in enumerate(("stdin", "stdout", "stderr")):
    how = case["streams"][name]
    if how is None:
        os.close(number)
        setattr(sys, name, None)
    elif how == "broken pipe":
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, number)
        os.close(write)
    else:
        opened = os.open(how, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
        os.close(opened)
if not case["buffered"]:
    sys.stdout.reconfigure(write_through=True)
sys.argv = ["kerf", *case["words"]]
sys.orig_argv = list(sys.argv)
from kerf.runs.__main__ import start
start()
"""


@dataclass(frozen=True)
class Case:
    """A command under a condition.

    Attributes:
        words: The arguments of `kerf`.
        condition: What is unusual.
        cwd: Working folder.
        variables: Environment variables; None: unset.
        streams: Files that stdin, stdout and stderr are; None: closed; `broken pipe`: a pipe that nobody reads.
        gone: Whether the working folder, which must be empty, is removed.
        file_bytes: The most bytes that a file may have, as where the disk is full; None: no limit.
        signal: Number of a signal that is sent to the command; 0: none.
        signal_after: Seconds after which it is sent.
        buffered: Whether what it prints is buffered, as Python does unless it is told otherwise.
        limit: Seconds after which it is ended.
    """

    words: Sequence[str]
    condition: str
    cwd: str
    variables: Mapping[str, str | None] = field(default_factory=dict)
    streams: Mapping[str, str | None] = field(default_factory=dict)
    gone: bool = False
    file_bytes: int | None = None
    signal: int = 0
    signal_after: float = 0.0
    buffered: bool = True
    limit: float = LIMIT


@dataclass(frozen=True)
class Ended:
    """What became of a case.

    Attributes:
        case: The case.
        code: Exit code; negative: the signal that ended it.
        seconds: How long it took.
        stdout, stderr: What it wrote, where these were files.
    """

    case: Case
    code: int
    seconds: float
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"kerf {' '.join(self.case.words)} [{self.case.condition}] -> {self.code}: {self.stderr[-1500:]}"


def without_privileges() -> list[str]:
    """Words before a command by which permissions bind it, too, if this process is root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise RuntimeError("setpriv (util-linux) is needed where tests are run by root, whom no permission binds")
    capabilities = "-dac_override,-dac_read_search"
    return [setpriv, f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A real file system of so many megabytes at `folder`, which is made; skips the test where nobody may mount one."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nobody may mount a disk here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(filler: Path) -> None:
    """Take all room that is left on the disk of `filler`, to the last block."""
    with filler.open("ab", buffering=0) as file:
        for size in (2**20, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def run_cases(cases: Sequence[Case], modules: Sequence[str], scratch: Path) -> list[Ended]:
    """Run all cases; `modules` are imported before the first, `scratch` is a folder for what they print."""
    scratch.mkdir(parents=True)
    asked = []
    for number, case in enumerate(cases):
        usual = {"stdin": "/dev/null", "stdout": f"{scratch}/{number}.out", "stderr": f"{scratch}/{number}.err"}
        asked.append({**asdict(case), "streams": {**usual, **case.streams}})
    request = {"modules": list(modules), "cases": asked, "at_once": AT_ONCE, "answer": str(scratch / "answer")}
    done = subprocess.run(
        [*without_privileges(), sys.executable, "-P", "-c", _PROGRAM],
        input=json.dumps(request), text=True, capture_output=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr)

    def printed(number: int, name: str) -> str:
        path = scratch / f"{number}.{name}"
        return path.read_text(errors="replace") if path.exists() else ""

    ends = json.loads((scratch / "answer").read_text())
    return [
        Ended(case, *end, printed(number, "out"), printed(number, "err"))
        for number, (case, end) in enumerate(zip(cases, ends, strict=True))
    ]
