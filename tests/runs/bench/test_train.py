"""`kerf bench train`: what it writes, its bounds, and that the training path keeps its distance from the others."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from kerf.runs.bench import learning, train
from kerf.runs.bench.contenders import Sizes
from kerf.runs.bench.limit import BareTorch
from kerf.runs.bench.timing import Stopwatch
from kerf.runs.cli import main
from kerf.runs.recipe.files import load_recipe

TINY = Sizes(
    num_scenarios=128, num_envs=16, minibatch_size=512, num_epochs=1, repetitions=3, kernel_batches=2, iterations=2
)


def spread_is_sound(spread: dict[str, float]) -> bool:
    return set(spread) == {"median", "low", "high"} and 0 < spread["low"] <= spread["median"] <= spread["high"]


@dataclass(frozen=True)
class Benched:
    """A benchmark that was run, at the smallest size.

    Attributes:
        printed: What it printed.
        written: What it wrote.
        measured: What was measured in it.
    """

    printed: str
    written: dict[str, Any]
    measured: dict[str, Any]


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Benched:
    file, shown, measured, measure = tmp_path_factory.mktemp("bench") / "bench.json", io.StringIO(), [], train.measure

    def kept(*asked: Any) -> dict[str, Any]:
        measured.append(measure(*asked))
        return measured[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "measure", kept)
        train.train(file, Console(file=shown, width=140), TINY)
    return Benched(shown.getvalue(), json.loads(file.read_text()), *measured)


@pytest.mark.slow
def test_the_benchmark_writes_what_it_prints(benched):
    figures, printed = benched.written, benched.printed
    assert set(figures) == {"benchmark", "sizes", "machine", "groups", "once"}
    assert figures["sizes"]["num_scenarios"] == TINY.num_scenarios
    machine = figures["machine"]
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["versions"]["kerf-lab"] == version("kerf-lab")
    (group,) = figures["groups"].values()
    contenders, ratios = group["contenders"], group["ratios"]
    assert set(contenders) - {"threads", "gpu"} == {
        *("kerf", "eager", "limit", "products", "stock", "stock_wide", "kernel")
    }
    assert set(ratios) == set(contenders) - {"kerf", "threads"}
    for row in contenders.values():
        rate = row["steps_per_second"]
        assert spread_is_sound(rate)
        assert row["label"] in printed
        assert f"{rate['median']:,.0f} [{rate['low']:,.0f}, {rate['high']:,.0f}]" in printed
    for name in ("kerf", "eager", "stock", "stock_wide"):
        shares = contenders[name]["time"]
        assert tuple(shares) == train.PARTS
        assert all(0 < share < 1 for share in shares.values())
    kerf, stock, wide, kernel = (
        contenders[name]["steps_per_second"] for name in ("kerf", "stock", "stock_wide", "kernel")
    )
    assert kernel["low"] > kerf["high"] > kerf["low"] > max(stock["high"], wide["high"])
    for name, ratio in ratios.items():
        assert spread_is_sound(ratio)
        pace = kerf["median"] / contenders[name]["steps_per_second"]["median"]
        assert ratio["median"] == pytest.approx(pace, rel=1.0), name
    for name, (label, _) in train.TARGETS.items():
        assert (label in printed) == (name in train.reached(figures))
    assert {"kernel", "kerf", "stock", "limit", "battery", "help"} == set(train.reached(figures))


@pytest.mark.slow
def test_a_ratio_out_of_its_bound_is_named_and_ends_in_exit_code_1(benched, monkeypatch):
    asked = []

    def measured(*what):
        asked.append(what[:-1])
        return benched.measured

    monkeypatch.setattr(train, "measure", measured)
    monkeypatch.setattr(train, "BOUNDS", {"stock": 1.0})
    kept = CliRunner().invoke(main, ["bench", "train", "--check"])
    assert asked == [(train.SMALL, None, 0)]
    assert kept.exit_code == 0
    assert "All ratios are within their bounds." in kept.output
    monkeypatch.setattr(train, "BOUNDS", {"stock": 1.0, "stock_wide": 1e4})
    broken = CliRunner().invoke(main, ["bench", "train", "--check"])
    assert broken.exit_code == 1
    assert "times stock RLlib PPO, 128 side by side, expected at least 10000" in broken.output
    assert "16 side by side, should" not in broken.output


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


def test_the_limit_really_does_all_products_and_activations():
    bare = BareTorch(num_rows=20, minibatch_size=8, num_epochs=1, widths=(5, 4, 3))
    bare.products_and_activations()
    hidden, out = bare._results
    last = bare._minibatches[-1]
    assert len(last) == 4, "the last minibatch is what is left over"
    expected = (last @ bare._weights[0].T).tanh()
    assert hidden[:4].allclose(expected, atol=1e-6)
    assert out[:4].allclose(expected @ bare._weights[1].T, atol=1e-6)
    pull = bare._pulls[1][:4]
    assert bare._gradients[1].allclose(pull.T @ expected, atol=1e-5)
    below = (pull @ bare._weights[1]) * (1 - expected**2)
    assert bare._gradients[0].allclose(below.T @ last, atol=1e-5)


@pytest.mark.slow
def test_agents_are_aligned_either_way_and_compared_by_seed():
    """At a size at which nobody passes: the figures are those of the whole of training."""
    recipe = load_recipe("smoke")
    learnt = [learning.learn(recipe, way, seed) for seed in range(2) for way in learning.WAYS]
    whole = sum(phase.iterations * phase.training.num_scenarios for _, phase in recipe.align.phases) * 24 / 1000
    assert all(agent.passed for agent in learnt), "the gate of this recipe lets everyone pass"
    assert all(0 < agent.steps <= whole for agent in learnt)
    assert all(0.1 < agent.memory < 4.0 and agent.seconds > 0 for agent in learnt)
    found = learning.figures(learnt)
    assert found["passed"] == {"written_out": 2, "autograd": 2}
    for name, row in found["rows"].items():
        assert row["written_out"] - row["autograd"] == pytest.approx(row["difference"]["mean"], abs=1e-9), name
    assert abs(found["rows"]["utility"]["difference"]["mean"]) < 0.5, "two ways to the same gradient"
    shown = io.StringIO()
    Console(file=shown, width=140).print(learning.table(found))
    assert "2 of 2" in shown.getvalue()
    for label in learning.FIGURES.values():
        assert label in shown.getvalue()
