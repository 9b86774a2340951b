"""A folder of its own for every test that submits, and no tokens or addresses of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

NOT_OURS = (
    "KERF_JOBS", "KERF_RAY", "MLFLOW_TRACKING_URI", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _without_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NOT_OURS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working folder meanwhile."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
