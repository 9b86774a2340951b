"""`kerf bench generators`: what is printed is what was measured, and whoever takes too much is named."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from kerf.generators.base import GeneratorSettings
from kerf.generators.natural import Natural
from kerf.generators.registry import BUILT_IN, known_generators
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World
from kerf.runs.bench import generators as bench
from kerf.runs.cli import main

TINY = bench.Sizes(batches=(64, 128), imitating=2, filling=1, repetitions=2, iterations=1)


class Sluggish(Natural):
    """A plug-in that takes its time over every `ask`."""

    def __init__(self, world: World, settings: GeneratorSettings) -> None:
        super().__init__(world, settings)

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        return super()._ask(n, rng)


@pytest.fixture
def figures_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str, int]:
    """Of a check at a tiny size with `Sluggish` among the plug-ins: figures, what was printed, exit code."""
    monkeypatch.setitem(BUILT_IN, "sluggish", f"{__name__}:Sluggish")
    shown = io.StringIO()
    code = bench.generators(tmp_path / "bench.json", Console(file=shown, width=140), check=True, sizes=TINY)
    return json.loads((tmp_path / "bench.json").read_text()), shown.getvalue(), code


@pytest.mark.slow
def test_all_are_measured_and_the_one_that_dawdles_is_named(figures_of_a_run):
    figures, text, code = figures_of_a_run
    assert code == bench.BROKEN
    kinds = {*known_generators(), "sluggish", bench.LATENT}
    assert [row["num_scenarios"] for row in figures["rows"]] == [64] * len(kinds) + [128] * len(kinds)
    for size in TINY.batches:
        rows = {row["what"]: row for row in figures["rows"] if row["num_scenarios"] == size}
        assert set(rows) == kinds
        slow = rows["sluggish"]
        assert slow["broken"]
        assert slow["seconds"]["low"] >= 0.2
        assert f"Above its bound: sluggish at {size} scenarios, {slow['share']['median']:.0%} of training" in text
        for row in rows.values():
            seconds, share = row["seconds"], row["share"]
            assert row["broken"] == (share["median"] > row["bound"])
            assert row["broken"] == (f"Above its bound: {row['what']} at {size} scenarios" in text)
            assert share["low"] <= share["median"] <= share["high"]
            assert f"{1e3 * seconds['median']:.1f} [{1e3 * seconds['low']:.1f}, {1e3 * seconds['high']:.1f}]" in text
            if row["what"] != bench.LATENT:  # what that adds is a difference, and noise here
                assert seconds["low"] > 0.0
                assert share["low"] <= seconds["high"] / row["iteration"]["low"]
        assert rows["learned"]["bound"] == rows[bench.LATENT]["bound"] == 0.6
        assert slow["bound"] == rows["mutation"]["bound"] == bench.BOUND


def test_a_share_is_that_of_natural_training_and_of_training_without_the_adversary_inside():
    timed = {
        "natural": [(1.0, 0.01), (2.0, 0.01), (1.0, 0.01)],
        "replay": [(9.0, 0.1), (9.0, 0.4), (9.0, 0.1)],
        "learned": [(9.0, 0.5), (9.0, 0.5), (9.0, 0.5)],
        f"without {bench.LATENT}": [(4.0, 0.01), (2.0, 0.01), (4.0, 0.01)],
        bench.LATENT: [(5.0, 0.01), (4.0, 0.01), (7.0, 0.01)],
    }
    rows = {row["what"]: row for row in bench._rows(timed)}
    found = {what: (row["share"], row["broken"]) for what, row in rows.items()}
    assert found == {
        "natural": ({"median": 0.01, "low": 0.005, "high": 0.01}, False),
        "replay": ({"median": 0.1, "low": 0.1, "high": 0.2}, False),
        "learned": ({"median": 0.5, "low": 0.25, "high": 0.5}, False),
        bench.LATENT: ({"median": 0.75, "low": 0.25, "high": 1.0}, True),
    }
    slower = [row for row in bench._rows(timed | {"replay": timed["learned"]}) if row["broken"]]
    assert {row["what"] for row in slower} == {"replay", bench.LATENT}


def test_the_first_batch_is_what_the_main_study_asks_for():
    asked = bench.load_recipe(bench.RECIPE).training.num_scenarios
    assert bench.FULL.batches == (asked, 1024)
    assert bench.CHECK.batches == (asked,)


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    result = CliRunner().invoke(main, ["bench", "generators", "--json", str(tmp_path / "nowhere" / "bench.json")])
    assert result.exit_code == 2
    assert "nowhere is no folder" in result.output
