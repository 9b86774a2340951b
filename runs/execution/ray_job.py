"""Ray job of a driver: connects to Ray such that workers import what their driver does, whatever the working folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray.exceptions import RayTaskError
from ray.job_config import JobConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kerf.lab.errors import KerfError
from kerf.runs.records.provenance import refuse_other_code, this_code


class _Job(JobConfig):  # type: ignore[misc]  # Ray is untyped
    """Ray's settings of a job, with a path of our own.

    Ray puts the driver's working folder and the folder of its script first in the path of all workers. There they would
    import packages that the driver does not: another clone of Kerf, or the user's own `agents`.
    """

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__()
        self._path = [entry or os.getcwd() for entry in path]

    def _get_proto_job_config(self) -> Any:
        described = super()._get_proto_job_config()
        # workers insert one after another at the beginning of their path
        described.py_driver_sys_path[:] = self._path[::-1]
        return described


def start(path: Sequence[str] = (), **options: Any) -> None:
    """Call `ray.init` with these options.

    Args:
        path: Folders that come first in the path of all workers.
        options: Options of `ray.init`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _not_by_uv():
        ray.init(job_config=_Job(path), **options)


def refuse_nodes_with_other_code() -> None:
    """Check that all nodes that can work import the same Kerf as this process; also env runners and learners go there.

    Nodes that join later are not checked here; each worker that does units checks its own.

    Raises:
        KerfError: if one does not; names both.
    """
    check = ray.remote(num_cpus=0, max_retries=0)(refuse_other_code)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    there = [check.options(scheduling_strategy=place).remote(this_code()) for place in places]
    try:
        ray.get(there)
    except RayTaskError as error:
        if isinstance(error.cause, KerfError):
            raise KerfError(str(error.cause)) from error
        raise KerfError(
            f"a node of the cluster cannot import the Kerf of {this_code()['text']} ({error.cause}): install it there"
        ) from error


@contextmanager
def _not_by_uv() -> Iterator[None]:
    """Keep Ray from packing the working folder and starting workers by uv if the command runs under `uv run`."""
    by_uv = ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    try:
        yield
    finally:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = by_uv
