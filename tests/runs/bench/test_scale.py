"""`kerf bench scale`: what is printed is what was measured, and a broken bound is named."""

from __future__ import annotations

import io
import json
import time
from functools import partial

import numpy as np
import pytest
from rich.console import Console

from kerf.runs.bench.scale import CHECK, FULL, Axis, Sizes, measured, scale, tell

TINY = Sizes(
    scenarios=(64, 128, 256),
    arms=(1, 2, 3),
    seeds=(1, 2, 3),
    values=(1, 7, 14),
    family=(8, 16, 32),
    runners=(1, 2),
    hidden=(16, 64, 128),
    batch=128,
    repetitions=2,
    patience=0.0,
)


@pytest.mark.slow
def test_every_row_is_measured_and_what_is_printed_is_what_is_written(tmp_path):
    shown = io.StringIO()
    code = scale(tmp_path / "scale.json", Console(file=shown, width=140), check=True, sizes=TINY)
    written = json.loads((tmp_path / "scale.json").read_text())
    assert code == any(row["too_fast"] for row in written["rows"])
    assert len(written["rows"]) == 7
    text = shown.getvalue()
    for row in written["rows"]:
        assert row["what"] in text
        seconds = np.array(row["seconds"])
        assert seconds.shape == (2, len(row["sizes"]))
        assert (seconds > 0).all()
        assert row["sizes"] == sorted(row["sizes"])
        assert f"{row['exponent']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" in text
        assert f"{row['bound']:g} + {row['tolerance']:.2f}" in text


def quadratic(number: int) -> None:
    end = time.thread_time() + 4e-5 * number**2
    while time.thread_time() < end:
        pass


def linear(number: int) -> None:
    quadratic(number**0.5)


def test_a_row_that_grows_with_the_square_is_named_and_one_that_grows_linearly_is_not(tmp_path):
    rng, sizes = np.random.default_rng(0), (8, 16, 32, 64)
    quick = Sizes(repetitions=3, patience=10.0)
    rows = [
        measured(Axis(run.__name__, sizes, [partial(run, number) for number in sizes]), quick, rng)
        for run in (quadratic, linear)
    ]
    assert rows[0]["low"] > 1.5
    shown = io.StringIO()
    figures = {"rows": rows, "machine": {"cpu": "one", "load": 0.0, "cores": 2}}
    assert tell(figures, tmp_path / "scale.json", Console(file=shown, width=140)) == ["quadratic"]
    assert "grows faster than its bound: quadratic" in shown.getvalue()
    assert [row["too_fast"] for row in json.loads((tmp_path / "scale.json").read_text())["rows"]] == [True, False]


def test_all_ranges_are_geometric():
    for sizes in (FULL, CHECK):
        for name in ("scenarios", "arms", "seeds", "family", "runners", "hidden"):
            steps = np.diff(np.log2(getattr(sizes, name)))
            assert (steps == 1).all(), name
            assert len(steps) >= 3 or name == "runners"
