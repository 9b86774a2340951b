"""A study on several nodes, real raylets on loopback: what is lost with a node or a worker is done again elsewhere."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from kerf.runs.recipe.files import load_recipe
from kerf.runs.study import DONE, run_study
from tests.runs.test_study import records

RECIPE = load_recipe("smoke", seeds=3, sets=["iterations=6"])


def study(out: Path, **options: float) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=140)
    code = run_study(RECIPE, out, None, 3, console, **options)
    return code, console.file.getvalue()


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    """The study as one machine does it, by workers that are forked: before there is a Ray."""
    assert study(tmp_path / "calm")[0] == DONE
    return tmp_path / "calm"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes of one CPU each."""
    options = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=options)
    for _ in range(2):
        found.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def workers() -> list[psutil.Process]:
    """The processes that are at work on a unit."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("ray::_Worker.run"):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.slow
def test_a_node_and_a_worker_lost_in_the_middle_cost_no_record(calm: Path, cluster: Cluster, tmp_path: Path) -> None:
    out, lost = tmp_path / "stormy", list[str]()

    def storm() -> None:
        deadline = time.monotonic() + 600.0
        while not any(out.glob("cells/*/seed-*/done.json")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        raylet = cluster.list_all_nodes()[-1].all_processes["raylet"][0].process.pid
        there = {child.pid for child in psutil.Process(raylet).children(recursive=True)}
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        lost.append("node")
        while time.monotonic() < deadline:
            elsewhere = [process for process in workers() if process.pid not in there]
            if elsewhere:
                elsewhere[0].kill()
                lost.append("worker")
                return
            time.sleep(0.02)

    weather = threading.Thread(target=storm)
    weather.start()
    code, printed = study(out, checkpoint_every=0.0)
    weather.join()
    assert lost == ["node", "worker"]
    assert code == DONE, printed
    assert "its worker died" in printed  # the other one may have been idle
    assert records(out) == records(calm)
