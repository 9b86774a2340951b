"""`kerf bench train`: what it writes, and that the training path keeps its distance from the stock one."""

from __future__ import annotations

import io
import json
from importlib.metadata import version

import pytest
from click.testing import CliRunner
from rich.console import Console

from runs.bench.timing import Stopwatch
from runs.bench.train import CONTENDERS, PARTS, Sizes, train
from runs.cli import main

TINY = Sizes(
    num_scenarios=128, num_envs=16, minibatch_size=512, num_epochs=1, repetitions=3, kernel_batches=2, iterations=2
)


def spread_is_sound(spread: dict[str, float]) -> bool:
    return set(spread) == {"median", "low", "high"} and 0 < spread["low"] <= spread["median"] <= spread["high"]


@pytest.mark.slow
def test_the_benchmark_writes_what_it_prints(tmp_path):
    shown = io.StringIO()
    train(tmp_path / "bench.json", Console(file=shown, width=140), TINY)
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert set(figures) == {"benchmark", "sizes", "machine", "ratio", *CONTENDERS}
    assert figures["sizes"]["num_scenarios"] == TINY.num_scenarios
    machine = figures["machine"]
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["versions"]["kerf-lab"] == version("kerf-lab")
    for name in CONTENDERS:
        rate = figures[name]["steps_per_second"]
        assert spread_is_sound(rate)
        assert figures[name]["label"] in shown.getvalue()
        assert f"{rate['median']:,.0f} [{rate['low']:,.0f}, {rate['high']:,.0f}]" in shown.getvalue()
    for name in CONTENDERS[1:]:
        shares = figures[name]["time"]
        assert tuple(shares) == PARTS
        assert all(0 < share < 1 for share in shares.values())
    kernel, kerf, *stock = (figures[name]["steps_per_second"] for name in CONTENDERS)
    assert kernel["low"] > kerf["high"]
    for name, rate in zip(("stock", "stock_wide"), stock, strict=True):
        assert kerf["low"] > rate["high"], "the slowest of ours beats the fastest of theirs"
        assert spread_is_sound(figures["ratio"][name])
        assert figures["ratio"][name]["low"] > 1


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    result = CliRunner().invoke(main, ["bench", "train", "--json", str(tmp_path / "nowhere" / "bench.json")])
    assert result.exit_code == 2
    assert "nowhere is no folder" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_stopwatch_counts_what_it_watches_and_changes_nothing_else():
    class Worker:
        def work(self, number: int, *, twice: bool) -> int:
            return number * (2 if twice else 1)

    worker = Worker()
    stopwatch = Stopwatch().watch("work", worker, "work")
    assert worker.work(3, twice=True) == 6
    assert Worker().work(3, twice=False) == 3
    first = stopwatch.read()["work"]
    assert first > 0
    assert stopwatch.read() == {"work": 0.0}
