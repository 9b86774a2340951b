"""Two machines that share no disk, and work on one study all the same: it is kept in S3."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from kerf.runs.execution import pool
from kerf.runs.execution.pool import Failure, Pool, Work
from kerf.runs.execution.processes import end_marked
from kerf.runs.execution.study_units import train
from kerf.runs.execution.training_log import Progress
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.folder import publish_whole
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.study import DONE, prepare_study, run_study
from kerf.runs.sweep.driver import run_sweep
from kerf.runs.sweep.storage import JOURNAL
from tests.runs.execution.test_forked_workers import TOY
from tests.runs.records.test_remote import names
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.test_sweep import TINY
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
    log = disk.with_name("log")
    with log.open("w") as file:
        second = subprocess.Popen([*mount, *start], env=os.environ | {SECOND: str(disk)}, stdout=file, stderr=file)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        deadline = time.monotonic() + 600.0
        while len([node for node in ray.nodes() if node["Alive"]]) < 2:
            assert second.poll() is None and time.monotonic() < deadline, log.read_text()  # noqa: PT018
            time.sleep(0.1)
        yield Machines(disk, Path(f"/proc/{second.pid}/root{disk}"))
    finally:
        ray.shutdown()
        end_marked(SECOND, str(disk), grace=1.0)
        second.wait()
        cluster.shutdown()


def console() -> Console:
    return Console(file=io.StringIO(), width=140)


@contextmanager
def forking() -> Iterator[None]:
    """Here alone, on workers that are forked: they need no Ray, and are faster there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "will_fork", lambda: True)
        yield


def pool_run(
    recipe: Recipe, root: Path, work: Work[Unit], units: Sequence[Unit], tell: Callable[[str], None] = str
) -> list[Failure]:
    """Do units, one at a time; the worker, and its CPU with it, goes with the pool when this returns."""
    return Pool(recipe, root, 1, work, tell).run(units, lambda unit: [], lambda progress: None, lambda unit: [])


def done_on(disk: Path) -> set[str]:
    """The units of work that were done on a disk, and not fetched: those whose times were written there."""
    return {entry["unit"] for entry in Store(disk).timing() if "unit" in entry}


def test_what_one_machine_aligned_the_other_one_trains_and_attacks(
    machines: Machines, s3: str, write: Callable[..., str], tmp_path: Path
) -> None:
    arms = {"half": None, "yoked": {}}
    fresh = {"generators": ["scripted"], "strengths": [1], "budget": 64, "batch": 32}
    study = load_recipe(write(TOY | {"arms": arms, "fresh": fresh}), seeds=1)
    with forking():
        assert run_study(study, tmp_path / "here", None, 1, console()) == DONE
    here, second = machines.disk / "study", machines.second / "study"
    Store.kept_at(here, f"{s3}/study")
    aligned = [Unit(ALIGNED, 0)]
    prepare_study(study, here)
    with busy(other_node()):
        assert pool_run(study, here, train, aligned) == []
    said = console()
    with busy(this_node()):
        assert run_study(study, here, None, 1, said) == DONE, said.file.getvalue()
    expected = records(tmp_path / "here")
    assert records(here) == expected
    assert names(f"{s3}/study") == {*expected, "timing.jsonl"}
    assert done_on(here) == {unit.name for unit in aligned}
    done = {str(Path(name).parent) for name in expected if name.endswith("/done.json")}
    assert done_on(second) == done - done_on(here)
    assert {name.partition("/")[0] for name in done_on(second)} == {"cells", "attacks"}


def test_cells_of_a_sweep_on_another_machine_than_its_driver(machines: Machines, s3: str, tmp_path: Path) -> None:
    base = recipe(tmp_path, TINY)
    spec = asked(base, "dose", "strength=0,1")
    with forking():
        assert run_sweep(base, spec, tmp_path / "here", None, 1, console()) == DONE
    here, second = machines.disk / "sweep", machines.second / "sweep"
    Store.kept_at(here, f"{s3}/sweep")
    said = console()
    with busy(this_node()):
        assert run_sweep(base, spec, here, None, 1, said) == DONE, said.file.getvalue()
    assert set(records(here)) == set(records(tmp_path / "here"))
    assert names(f"{s3}/sweep") == {*records(here), "timing.jsonl", JOURNAL}
    assert done_on(here) == set()
    assert {unit.name for unit in Store(here).units(verify=True)} == done_on(second)


def dies_unsent(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[Progress]:
    with publish_whole(store.path / unit.name, unit.name) as folder:
        folder.write_text("a.txt", unit.name)
    yield Progress(unit, 1, 1, 1, 1.0)
    os._exit(1)


def test_what_a_dead_worker_had_published_and_not_sent_is_sent_by_the_next_one(machines: Machines, s3: str) -> None:
    here, unit, told = machines.disk / "unsent", Unit(ALIGNED, 0), list[str]()
    Store.kept_at(here, f"{s3}/unsent")
    with busy(this_node()):
        assert pool_run(load_recipe("smoke"), here, dies_unsent, [unit], told.append) == []
    assert [line.partition(":")[0] for line in told] == [unit.name], "it died once, and was not done again"
    assert Store(here).finished(unit, verify=True)
    assert names(f"{s3}/unsent") == {f"{unit.name}/a.txt", f"{unit.name}/done.json"}


def sends_nothing(recipe: Recipe, unit: Unit, store: Store, num_threads: int) -> Iterator[Progress]:
    with publish_whole(store.path / unit.name, unit.name) as folder:
        folder.write_text("a.txt", unit.name)
    yield Progress(unit, 1, 1, 1, 1.0)


def test_what_is_done_and_cannot_be_fetched_is_a_failure_that_says_so(machines: Machines, s3: str) -> None:
    here, unit = machines.disk / "nowhere", Unit(ALIGNED, 0)
    Store.kept_at(here, f"{s3}/nowhere")
    with busy(this_node()):
        (failure,) = pool_run(load_recipe("smoke"), here, sends_nothing, [unit])
    assert failure.unit == unit
    assert failure.why == f"its worker has finished it, but it is not at {s3}/nowhere"


def this_node() -> str:
    """The id of the first machine's node."""
    return ray.get_runtime_context().get_node_id()


def other_node() -> str:
    """The id of the second machine's node."""
    (found,) = (node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != this_node())
    return str(found)


class Busy:
    """Takes a machine's CPU, so that all else runs on the other one."""

    def ready(self) -> bool:
        return True


@contextmanager
def busy(node: str) -> Iterator[None]:
    """Keeps the only CPU of a node from others."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    actor = ray.remote(num_cpus=1, scheduling_strategy=there)(Busy).remote()
    ray.get(actor.ready.remote())
    try:
        yield
    finally:
        ray.kill(actor)
