"""Sockets where the temporary folder has a long path, as in batch jobs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kerf.lab.errors import KerfError
from kerf.runs.execution.local_ray import SOCKET
from kerf.runs.execution.socket_folder import LONGEST, socket_folder

RAY = """
import ray
from kerf.runs.execution.local_ray import local_ray

with local_ray(1):
    print(ray.get(ray.remote(lambda: 7).remote()))
"""


def long_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    return folder


def test_what_is_too_long_is_replaced_for_as_long_as_it_is_used(tmp_path):
    with socket_folder(str(long_folder(tmp_path)), len(SOCKET)) as folder:
        assert folder is not None
        path = f"{folder}{SOCKET}"
        Path(path).parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as there:
            there.bind(path)
    assert not folder.exists()


def test_the_longest_that_will_do_is_left_as_it_is():
    base = "/tmp/" + "x" * (LONGEST - len(SOCKET) - len("/tmp/"))
    with socket_folder(base, len(SOCKET)) as folder:
        assert folder is None, "Ray would make it"
    with socket_folder(base + "x", len(SOCKET)) as folder:
        assert folder is not None


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_what_cannot_be_written_is_replaced_too(tmp_path):
    tmp_path.chmod(0o500)
    with socket_folder(str(tmp_path), 1) as folder:
        assert folder is not None


def test_where_there_is_no_other_place_a_sentence_says_so(tmp_path):
    long = str(long_folder(tmp_path))
    with (
        pytest.raises(KerfError, match=f"{long} is not writable or longer than 39 bytes.*set TMPDIR to a short path"),
        socket_folder(long, len(SOCKET), short=("/proc",)),
    ):
        pass


@pytest.mark.slow
def test_ray_starts_there(tmp_path):
    words, there = [sys.executable, "-c", RAY], {**os.environ, "TMPDIR": str(long_folder(tmp_path))}
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, env=there)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
