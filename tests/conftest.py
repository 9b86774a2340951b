"""What tests of all folders share: a Ray for those that need one, and studies that are trained once a run of pytest."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.sharing import Shared

HERE = Path(__file__).parent

LONGEST = (
    "runs/test_every_command.py", "runs/test_turner.py", "runs/bench/test_peers.py", "generators/test_weakness.py",
    "runs/records/test_no_shared_disk.py", "runs/submit/test_ray_cluster.py", "runs/sweep/test_storage.py",
    "runs/submit/test_jobs.py", "runs/attacks/test_attacks.py", "runs/test_oracles.py",
    "agents/test_remote.py",
    "runs/test_study.py", "runs/execution/test_scale_out.py", "runs/records/test_remote.py",
    "runs/execution/test_nodes.py", "runs/sweep/test_on_ray.py", "runs/execution/test_scaling.py",
    "runs/sweep/test_sweep.py", "runs/execution/test_whose_code.py", "runs/tracking/test_studies.py",
)  # fmt: skip
"""Files whose slow tests take longest. They come first: two processes that share out files then end together."""

SLOW_TIMEOUT = 3600
"""Seconds for a slow test, which a machine that does much else needs; a quick one has the 300 of pyproject.toml."""

RAY_CPUS = 6
"""Logical CPUs of the shared Ray: what the tests that ask most of it need at once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    rank = dict.fromkeys(slow, len(LONGEST)) | {HERE / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(LONGEST) + 1))  # stable: all others stay in their order


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Where results lie that are made once a run, for all of pytest-xdist's processes."""
    base = tmp_path_factory.getbasetemp()
    # a worker of pytest-xdist has a folder of its own within that of the run
    folder = (base.parent if base.name.startswith("popen-") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return Shared(folder)


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """A private Ray for the tests of a file. Studies, sweeps and attacks that run in this process then use it, where
    they would fork their workers; so it ends with the file."""
    import torch

    from kerf.runs.execution.local_ray import local_ray

    torch.set_num_threads(1)
    with local_ray(RAY_CPUS):
        yield


@pytest.fixture(scope="session")
def mlflow_tables(shared: Shared) -> bytes:
    """A database with MLflow's tables and no run: making one takes seconds, copying one does not."""
    from kerf.runs.tracking.database import settle

    return (shared.make("mlflow", lambda folder: settle(folder / "mlflow.db", pytest.fail)) / "mlflow.db").read_bytes()


@pytest.fixture(scope="session")
def smoke_study(shared: Shared) -> Path:
    """The built-in study `smoke` as it is, finished: two seeds, four arms. Read-only."""
    from kerf.runs.recipe.files import load_recipe
    from kerf.runs.study import DONE, run_study

    def make(out: Path) -> None:
        console = Console(file=io.StringIO(), width=140)
        assert run_study(load_recipe("smoke"), out, None, 2, console) == DONE, console.file.getvalue()

    return shared.make("smoke", make)
