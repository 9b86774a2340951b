"""Two machines that share no disk, and work on one study all the same: it is kept in S3."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from runs.log import Progress
from runs.pool import Pool
from runs.recipe import Recipe
from runs.recipe_file import load_recipe
from runs.remote import mark
from runs.store import ALIGNED, Store, Unit
from runs.study import DONE, run_study
from runs.submit.processes import end_marked
from runs.sweep.drive import run_sweep
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.test_sweep import TINY
from tests.runs.test_remote import names
from tests.runs.test_study import records

SECOND = "KERF_TEST_SECOND_MACHINE"
"""Environment variable by which the second machine's processes are found."""

STORE_BYTES = 80 * 2**20

pytestmark = pytest.mark.slow


@dataclass
class Machines:
    """This one and another one.

    Attributes:
        disk: A folder that each of them has a disk of its own for.
        second: What is in the second one's `disk`, seen from here.
    """

    disk: Path
    second: Path


@pytest.fixture(scope="module")
def machines(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A Ray of two nodes of one CPU each; the second one's processes see a tmpfs of their own in place of `disk`."""
    disk = tmp_path_factory.mktemp("machines") / "disk"
    disk.mkdir()
    mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', str(disk)]
    try:
        tried = subprocess.run([*mount, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if tried.returncode:
        pytest.skip(f"nobody may mount a disk here: {tried.stderr.strip()}")
    cluster = Cluster(
        head_node_args={"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False},
        initialize_head=True,
    )
    start = [str(Path(sys.executable).with_name("ray")), "start", "--block", f"--address={cluster.address}"]
    start += [
        "--num-cpus=1",
        f"--object-store-memory={STORE_BYTES}",
        f"--node-ip-address={cluster.head_node.node_ip_address}",
    ]
    second = subprocess.Popen(
        [*mount, *start],
        env=os.environ | {SECOND: str(disk)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        while len([node for node in ray.nodes() if node["Alive"]]) < 2:
            assert second.poll() is None, second.communicate()[0]
        yield Machines(disk, Path(f"/proc/{second.pid}/root{disk}"))
    finally:
        ray.shutdown()
        end_marked(SECOND, str(disk), grace=1.0)
        second.communicate()
        cluster.shutdown()


def console() -> Console:
    return Console(file=io.StringIO(), width=140)


def done_on(disk: Path) -> set[str]:
    """The units of work that were done on a disk, and not fetched: those whose times were written there."""
    return {entry["unit"] for entry in Store(disk).timing() if "unit" in entry}


def test_a_study_and_its_attacks(machines: Machines, s3: str, tmp_path: Path) -> None:
    sets = ("arms={frozen: null, yoked: {}}", "iterations=2", "measure_every=2")
    fresh = "fresh={generators: [scripted, uniform], strengths: [1], budget: 64, batch: 32}"
    asked_for = load_recipe("smoke", seeds=2, sets=[*sets, fresh])
    assert run_study(asked_for, tmp_path / "here", None, 1, console()) == DONE
    here, second = machines.disk / "study", machines.second / "study"
    mark(here, f"{s3}/study")
    said = console()
    assert run_study(asked_for, here, None, 2, said) == DONE, said.file.getvalue()
    expected = records(tmp_path / "here")
    assert {name: digest for name, digest in records(here).items() if name != ".remote"} == expected
    assert names(f"{s3}/study") == {*expected, "timing.jsonl"}
    assert not done_on(here) & done_on(second)
    assert {name.split("/")[0] for name in done_on(second)} == {"aligned", "cells", "attacks"}


def test_a_sweep(machines: Machines, s3: str, tmp_path: Path) -> None:
    base = recipe(tmp_path, TINY)
    spec = asked(base, "dose", "strength=0:1:0.25")
    assert run_sweep(base, spec, tmp_path / "here", None, 1, console()) == DONE
    here, second = machines.disk / "sweep", machines.second / "sweep"
    mark(here, f"{s3}/sweep")
    said = console()
    assert run_sweep(base, spec, here, None, 2, said) == DONE, said.file.getvalue()
    assert names(f"{s3}/sweep") >= set(records(tmp_path / "here")) - {"trials.journal"}
    assert not done_on(here) & done_on(second)
    assert any(name.startswith("cells/") for name in done_on(second))


def dies_unsent(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[Progress]:
    with store.unit(unit) as folder:
        folder.write_text("a.txt", unit.name)
    yield Progress(unit, 1, 1, 1, 1.0)
    os._exit(1)


def test_what_a_dead_worker_had_published_and_not_sent_is_sent_by_the_next_one(machines: Machines, s3: str) -> None:
    here, unit, told = machines.disk / "unsent", Unit(ALIGNED, 0), list[str]()
    mark(here, f"{s3}/unsent")
    this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    busy = ray.remote(num_cpus=1, scheduling_strategy=this_node)(Busy).remote()
    try:
        assert ray.get(busy.ready.remote())
        pool = Pool(load_recipe("smoke"), here, 1, dies_unsent, told.append)
        assert pool.run([unit], lambda unit: [], lambda progress: None, lambda unit: []) == []
    finally:
        ray.kill(busy)
    assert [line.partition(":")[0] for line in told] == [unit.name], "it died once, and was not done again"
    assert Store(here).finished(unit, verify=True)
    assert names(f"{s3}/unsent") == {f"{unit.name}/a.txt", f"{unit.name}/done.json"}


class Busy:
    """Takes this machine's CPU, so that all else runs on the other one."""

    def ready(self) -> bool:
        return True
