"""One thread, as workers have: sums repeat, and two processes of tests do not wait for each other's threads."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
