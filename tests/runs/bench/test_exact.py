"""The benchmark of exact answers, at a small size."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from kerf.runs.bench.exact import LIMITS, MEMORY_LIMIT, Sizes, exact, measure

SMALL = Sizes(scenarios=16, situations=3, repetitions=3)


@pytest.fixture(scope="module")
def figures():
    return measure(SMALL)


@pytest.mark.slow
def test_each_row_is_within_its_limit(figures):
    """The first row is at full size; the others are a sixteenth and a twentieth of it, so these limits are loose."""
    assert [row["limit"] for row in figures["rows"]] == list(LIMITS.values())
    for row in figures["rows"]:
        assert 0.0 < row["seconds"] <= row["limit"], row["what"]
    assert figures["memory_gib"] <= MEMORY_LIMIT


@pytest.mark.slow
def test_what_is_printed_is_what_is_written(tmp_path):
    console = Console(width=140, record=True, quiet=False, file=(tmp_path / "printed").open("w"))
    exact(tmp_path / "bench.json", console, SMALL)
    written = json.loads((tmp_path / "bench.json").read_text())
    text = console.export_text()
    for row in written["rows"]:
        assert row["what"] in text
        assert f"{row['seconds']:.3f}" in text
