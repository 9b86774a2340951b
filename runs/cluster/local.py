"""A Ray cluster of several simulated nodes on this machine's loopback address, with a token, to try things on."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from kerf.lab.errors import KerfError
from kerf.runs.execution.processes import CLUSTER_MARK, end_marked, marked
from kerf.runs.records import atomic_io as disk
from kerf.runs.submit.job import Jobs

DESCRIPTION = "cluster.json"
TOKEN = "token"
PATIENCE = 180.0
"""Seconds that a cluster may take to come up; about 7 a node on two busy cores."""

_NOT_INHERITED = ("RAY_AUTH_TOKEN", "RAY_ADDRESS", "KERF_RAY", "KERF_JOB")


@dataclass(frozen=True)
class LocalCluster:
    """A local cluster that is up.

    Attributes:
        address: Where its head takes jobs, as http://host:port.
        gcs: host:port at which a driver joins it.
        nodes: How many.
        cpus: Of each node.
        scratch: Ray's own folder, gone when the cluster goes.
    """

    address: str
    gcs: str
    nodes: int
    cpus: int
    scratch: str

    @property
    def token_file(self) -> Path:
        """The file that holds its token, which only this user may read."""
        return cluster_folder() / TOKEN


def cluster_folder() -> Path:
    """Where the description of the local cluster is kept: beside the jobs."""
    return Jobs().root / "cluster"


def local_cluster() -> LocalCluster | None:
    """The local cluster, or None if none is up."""
    try:
        described = json.loads((cluster_folder() / DESCRIPTION).read_bytes())
    except FileNotFoundError:
        return None
    return LocalCluster(**described)


def up(num_nodes: int, cpus: int) -> LocalCluster:
    """Start a local cluster, in processes of its own that outlive this one.

    Args:
        num_nodes: Simulated nodes, the head among them.
        cpus: What each says that it has; work is given out by it.

    Raises:
        KerfError: if one is up already, or it does not come up.
    """
    folder = cluster_folder()
    if marked(CLUSTER_MARK, str(folder)):
        raise KerfError("a local cluster is up already: end it with kerf cluster down")
    with disk.as_disk_error(folder):
        shutil.rmtree(folder, ignore_errors=True)  # of one whose processes are gone
        folder.mkdir(parents=True)
        descriptor = os.open(folder / TOKEN, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    scratch = tempfile.mkdtemp(prefix="kerf-", dir="/tmp")  # sockets need short paths
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _NOT_INHERITED},
        CLUSTER_MARK: str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / TOKEN),
        # Ray's folder within, which it opens to everybody; and the address of this cluster, which Ray's jobs look for
        # there: in the usual place they would find any cluster of this machine.
        "RAY_TMPDIR": scratch,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray turns a loopback address into the machine's outer one
    }
    with (folder / "log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "kerf.runs.cluster.keeper", str(folder), str(num_nodes), str(cpus)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment,
        )  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while (found := local_cluster()) is None:
        if keeper.poll() is not None or time.monotonic() > deadline:
            end_marked(CLUSTER_MARK, str(folder))
            shutil.rmtree(scratch, ignore_errors=True)
            raise KerfError(f"the local cluster did not come up in {PATIENCE:g} s or ended: see {folder / 'log'}")
        time.sleep(0.2)
    return found


def down() -> int:
    """End the local cluster, with all that runs on it; returns how many processes there were.

    Raises:
        KerfError: if none is up.
    """
    folder, found = cluster_folder(), local_cluster()
    if found is None and not marked(CLUSTER_MARK, str(folder)):
        raise KerfError("no local cluster is up: kerf cluster up starts one")
    ended = end_marked(CLUSTER_MARK, str(folder))
    if found is not None:
        shutil.rmtree(found.scratch, ignore_errors=True)
    shutil.rmtree(folder)
    return ended
