"""Local Ray cluster: several simulated nodes on this machine's loopback address, with a token, for trying things
out."""

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
"""Time-out for starting a cluster, in seconds; a node takes about 7 on two busy cores."""

_NOT_INHERITED = ("RAY_AUTH_TOKEN", "RAY_ADDRESS", "KERF_RAY", "KERF_JOB")


@dataclass(frozen=True)
class LocalCluster:
    """A running local cluster.

    Attributes:
        address: Address at which its head accepts jobs, as http://host:port.
        gcs: host:port for drivers to connect to.
        nodes: Number of nodes.
        cpus: CPUs of each node.
        scratch: Ray's own folder, removed with the cluster.
    """

    address: str
    gcs: str
    nodes: int
    cpus: int
    scratch: str

    @property
    def token_file(self) -> Path:
        """File with its token, readable by this user only."""
        return cluster_folder() / TOKEN


def cluster_folder() -> Path:
    """Folder of the local cluster's description, beside the jobs."""
    return Jobs().root / "cluster"


def local_cluster() -> LocalCluster | None:
    """The local cluster, or None if none is running."""
    try:
        described = json.loads((cluster_folder() / DESCRIPTION).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return LocalCluster(**described)


def up(num_nodes: int, cpus: int) -> LocalCluster:
    """Start a local cluster in processes that outlive this one.

    Args:
        num_nodes: Number of simulated nodes, including the head.
        cpus: CPUs that each node declares; work is scheduled by them.

    Raises:
        KerfError: if one is running already, or it does not start.
    """
    folder = cluster_folder()
    if marked(CLUSTER_MARK, str(folder)):
        raise KerfError("a local cluster is up already: end it with kerf cluster down")
    with disk.as_disk_error(folder):
        shutil.rmtree(folder, ignore_errors=True)  # left by a cluster whose processes are gone
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
        # Ray makes its folder accessible to all users, so that folder goes into this private one. Ray's jobs also look
        # for the cluster's address there; in the default folder they would find any cluster of this machine.
        "RAY_TMPDIR": scratch,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else Ray replaces a loopback address by the machine's external one
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
    """Stop the local cluster with everything running on it; returns the number of processes that it had.

    Raises:
        KerfError: if none is running.
    """
    folder, found = cluster_folder(), local_cluster()
    if found is None and not marked(CLUSTER_MARK, str(folder)):
        raise KerfError("no local cluster is up: kerf cluster up starts one")
    ended = end_marked(CLUSTER_MARK, str(folder))
    if found is not None:
        shutil.rmtree(found.scratch, ignore_errors=True)
    shutil.rmtree(folder)
    return ended
