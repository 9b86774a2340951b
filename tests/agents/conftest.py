"""One private Ray for the tests of the training path."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray
import torch


@pytest.fixture(scope="package")
def cluster() -> Iterator[None]:
    """A private Ray with five logical CPUs: two env runners or two learners, and a main process."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    torch.set_num_threads(1)
    ray.init(address="local", num_cpus=5, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
    yield
    ray.shutdown()
