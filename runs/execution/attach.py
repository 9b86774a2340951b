"""Connection to a Ray cluster, used instead of a private Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from kerf.lab.errors import KerfError
from kerf.runs.recipe.model import Recipe


@contextmanager
def attach(address: str | None, recipes: Sequence[Recipe], workers: int | None) -> Iterator[int | None]:
    """Connect to the Ray cluster at `address` for the duration of the block; None does nothing.

    Args:
        address: `auto` for the cluster that this job belongs to (`RAY_ADDRESS`), or `host:port` of its GCS.
        recipes: The recipes to be run there.
        workers: Requested number of units at a time; None: not given.

    Yields:
        The number of units at a time: as requested, or as many as the cluster has CPUs for.

    Raises:
        KerfError: if no cluster answers, it refuses the connection, a node has other code, or it has too few CPUs.
    """
    if address is None:
        yield workers
        return
    # Ray's own `auto` finds any cluster on this machine; here it means the cluster of this job.
    found = os.environ.get("RAY_ADDRESS") if address == "auto" else address
    if not found:
        raise KerfError("--ray auto: expected to be within a Ray job, where RAY_ADDRESS is set; give host:port instead")
    import ray

    from kerf.runs.execution.local_ray import LOOPBACK, on_loopback, own_handler
    from kerf.runs.execution.ray_job import refuse_nodes_with_other_code, start
    from kerf.runs.execution.study_units import cpus_needed

    try:
        with own_handler(), on_loopback() if found.startswith(f"{LOOPBACK}:") else nullcontext():
            start(address=found, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise KerfError(
            f"--ray {address}: no Ray cluster lets us in at {found} ({str(error).splitlines()[0]}); its token is "
            "expected in RAY_AUTH_TOKEN, or in the file that RAY_AUTH_TOKEN_PATH names, with RAY_AUTH_MODE=token"
        ) from error
    try:
        refuse_nodes_with_other_code()
        has = int(ray.cluster_resources().get("CPU", 0))
        one = max(cpus_needed(recipe, 1) for recipe in recipes)
        if one * (workers or 1) > has:  # with fewer CPUs they would deadlock
            raise KerfError(
                f"--ray {address}: {workers or 1} at a time need {one * (workers or 1)} CPUs, the cluster has {has}; "
                "give --workers a smaller number, or the cluster more nodes"
            )
        yield workers or has // one
    finally:
        ray.shutdown()
