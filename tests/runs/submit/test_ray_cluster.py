"""A local cluster of simulated nodes, and jobs on it: real Ray Jobs with a token. In the order of the file."""

from __future__ import annotations

import ipaddress
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from kerf.runs.cluster.local import LocalCluster, cluster_folder, local_cluster
from kerf.runs.execution.processes import CLUSTER_MARK, JOB_MARK, marked
from kerf.runs.records.store import Store
from kerf.runs.submit.job import Jobs
from tests.runs.submit.calls import SMALL, files_that_hold, kerf, refused, wait_for

pytestmark = pytest.mark.slow

NODES = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module", autouse=True)
def cluster(place: Path) -> Iterator[LocalCluster]:
    """The cluster that all tests use; ended whatever they find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        kerf("cluster", "up", "--nodes", str(NODES), "--cpus", "1")
        found = local_cluster()
        assert found is not None
        yield found
        if local_cluster() is not None:
            kerf("cluster", "down")


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.fixture(scope="module")
def token(cluster: LocalCluster) -> str:
    return cluster.token_file.read_text()


def our_processes() -> list[psutil.Process]:
    return marked(CLUSTER_MARK, str(cluster_folder()))


def test_it_is_up_once_and_listens_on_the_loopback_address_alone():
    assert "is up already" in refused("cluster", "up")
    processes = our_processes()
    assert sum(process.name() == "raylet" for process in processes) == NODES
    family = {process.pid for process in processes}
    listening = [
        ipaddress.ip_address(connection.laddr.ip)
        for connection in psutil.net_connections("tcp")
        if connection.pid in family and connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 2 * NODES, "Ray's servers are seen at all"
    for address in listening:
        assert (getattr(address, "ipv4_mapped", None) or address).is_loopback, f"{address} can be reached from outside"


def test_its_token_is_this_users_alone_and_nobody_is_let_in_without(cluster, token):
    assert len(token) == 64
    assert stat.S_IMODE(cluster.token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(cluster.scratch).stat().st_mode) == 0o700
    for said, expected in ((None, 401), ("x" * 64, 403), (token, 200)):
        headers = {} if said is None else {"Authorization": f"Bearer {said}"}
        assert requests.get(f"{cluster.address}/api/jobs/", headers=headers, timeout=10).status_code == expected
    request = {"entrypoint": "touch intruded", "submission_id": "intruder"}
    assert requests.post(f"{cluster.address}/api/jobs/", json=request, timeout=10).status_code == 401


def test_a_client_without_the_token_is_refused(cluster, monkeypatch):
    elsewhere = ["submit", "smoke", "--to", "ray", "--address", cluster.address.replace("127.0.0.1", "localhost")]
    assert "there is no token for http://localhost" in refused(*elsewhere)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "refuses access: it requires a token" in refused(*elsewhere)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 64)
    assert "refuses access: it requires another token" in refused(*elsewhere)
    assert "no Ray head answers at http://127.0.0.1:9" in refused(*elsewhere[:-1], "http://127.0.0.1:9")
    for wrong in ("auto", "ray://127.0.0.1:10001", "127.0.0.1:8265"):
        assert "must be a head's http address" in refused(*elsewhere[:-1], wrong)
    assert Jobs().ids() == []


def test_a_job_runs_on_it_with_the_records_of_kerf_run(place):
    dry = kerf("submit", "smoke", "--to", "ray", *SMALL, "--out", "there", "--dry-run")
    job_id = kerf("submit", "smoke", "--to", "ray", *SMALL, "--out", "there").split()[0]
    request = json.loads(dry.split("\n", 1)[1])
    assert request == json.loads((Jobs().folder(job_id) / "sent-1" / "request.json").read_text())
    assert request["submission_id"] == f"{job_id}-1"
    log = kerf("logs", "-f", job_id)
    assert "[  4/4]" in log
    assert f"{job_id}  ray  done" in kerf("status", job_id), log
    assert "4 units of work on 3 workers" in log, "one a CPU of the cluster"
    assert kerf("logs", job_id) == log
    kerf("run", "smoke", *SMALL, "--out", "here", "--no-mlflow")
    here, there = Store("here"), Store("there")
    assert len(here.units()) == 4
    assert {unit: here.digest(unit) for unit in here.units()} == {unit: there.digest(unit) for unit in there.units()}
    for name in ("effects.parquet", "primaries.json", "table.txt"):
        assert (place / "here" / name).read_bytes() == (place / "there" / name).read_bytes()


def test_a_job_is_stopped_without_a_trace_and_resumed(place):
    long = ["--set", "align.imitation.iterations=100000", "--out", "again", "--no-mlflow"]
    job_id = kerf("submit", "smoke", "--to", "ray", *SMALL, *long).split()[0]
    folder = str(Jobs().folder(job_id))
    wait_for(lambda: any("_Worker" in " ".join(process.cmdline()) for process in marked(JOB_MARK, folder)), 600)
    assert "running" in kerf("status", job_id)
    assert kerf("stop", job_id) == f"{job_id} stopped\n"
    assert marked(JOB_MARK, folder) == []
    assert f"{job_id}  ray  stopped" in kerf("status", job_id)
    assert len(our_processes()) > NODES, "the cluster itself is still there"
    assert "(attempt 2)" in kerf("resume", job_id)
    assert "stop it first" in refused("resume", job_id)


def test_no_token_is_written_anywhere(place, cluster, token):
    assert files_that_hold(place, token) == [cluster.token_file]
    assert (place / "out" / "mlflow.db").is_file(), "MLflow was looked at, too"
    assert files_that_hold(Path(cluster.scratch), token) == [], "Ray's own logs"
    for process in our_processes():
        assert not any(token in word for word in process.cmdline())


def test_when_it_goes_down_no_process_and_no_file_of_it_is_left(cluster):
    (running,) = [job_id for job_id in Jobs().ids() if "  done" not in kerf("status", job_id)]
    before = our_processes()
    assert "is stopped" in kerf("cluster", "down")
    assert our_processes() == []
    left = [one for one in before if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]  # of this process
    assert left == []
    assert not os.path.exists(cluster.scratch)
    assert not cluster_folder().exists()
    assert "lost (its local cluster is stopped)" in kerf("status", running)
    assert "no local cluster is up" in refused("cluster", "down")
    assert "no local cluster is up" in refused("submit", "smoke", "--to", "ray")
