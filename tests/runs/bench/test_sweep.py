"""`kerf bench sweep`: the driver of a sweep costs little, and what is printed is what was measured."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from kerf.runs.bench.sweep import sweep_cost


@pytest.mark.slow
def test_the_driver_stays_within_its_share(tmp_path):
    shown = io.StringIO()
    within = sweep_cost(tmp_path / "cost.json", Console(file=shown, width=140), (("tpe", 30),), num_seeds=4)
    (row,) = json.loads((tmp_path / "cost.json").read_text())["rows"]
    assert within == (row["share"] <= 0.05)
    assert within
    assert row["cpu_seconds"] > 0
    assert f"{row['share']:.1%}" in shown.getvalue()
