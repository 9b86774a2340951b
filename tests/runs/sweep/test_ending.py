"""Endings of sweeps, from made-up records: short, whole at any width, and honest about what is not known."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.runs.records.store import FORMAT, Store
from kerf.runs.report.ending import MOST_LINES
from kerf.runs.report.table import to_text
from kerf.runs.sweep import findings
from kerf.runs.sweep.ending import sweep_ending
from kerf.runs.sweep.outcome import Outcome
from kerf.runs.sweep.spec import SweepSpec
from kerf.runs.sweep.write import write_report
from tests.runs.sweep import test_figures
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.test_figures import grid, outcome

NUMBER = re.compile(r"[+-]?\d+\.\d+")


@pytest.fixture
def ended(tmp_path: Path) -> Callable[..., Store]:
    """Writes the records of a finished sweep."""

    def ended(spec: SweepSpec, outcomes: list[Outcome], gate: float = 0.9) -> Store:
        store = Store(tmp_path / "swept")
        store.path.mkdir()
        again = findings.front(spec, outcomes) if spec.held_out else []
        write_report(store, spec, outcomes, again)
        world = {"world": "dilemma_overlap", "gate": {"value": gate, "competence": gate, "fooled": gate}}
        facts = {"name": "made-up", "recipe_hash": "", "battery_hash": "", "seeds": [0], "arms": {}, "recipe": world}
        store.write_json("study", {"records_format": FORMAT, "sweep": {}, **facts})
        return store

    return ended


def threshold(tmp_path: Path, care: float = -0.8) -> tuple[SweepSpec, list[Outcome]]:
    spec = asked(recipe(tmp_path), "threshold", "strength=0:1", limit="care=-0.3")
    return spec, grid(spec, lambda strength, _: care * strength)


def dose(tmp_path: Path) -> tuple[SweepSpec, list[Outcome]]:
    spec = asked(recipe(tmp_path), "dose", "strength=0:1:0.1", "penalty=0,4,16", limit="care=-0.3")
    return spec, grid(spec, lambda strength, penalty: -0.8 * strength * penalty / 16)


def pareto(tmp_path: Path) -> tuple[SweepSpec, list[Outcome]]:
    spec = asked(recipe(tmp_path), "pareto", "strength=0:1", "penalty=1:16:log", held_out=0)
    means = [(n / 20, -(n**2) / 400, -n / 30, 0.0, 0.0) for n in range(20)]
    settings = [{"strength": n / 20, "arms.penalised.penalty": 1 + n / 2} for n in range(20)]
    paths = [axis.path for axis in spec.over]
    made = [dict(zip(paths, given.values(), strict=True)) for given in settings]
    return spec, [outcome(n, made[n], means[n], sd=1e-4) for n in range(20)]


@pytest.mark.parametrize("make", [threshold, dose, pareto])
def test_an_ending_has_at_most_thirty_lines_of_any_width(make, ended, tmp_path):
    store = ended(*make(tmp_path), gate=0.0)
    whole = None
    for width in (60, 80, 100, 140):
        lines = sweep_ending(store, width)
        assert len(lines) <= MOST_LINES
        commands = [line for line in lines if line.split()[:1] in (["look"], ["tables"], ["mlflow"])]
        assert len(commands) == 3
        assert max(len(line) for line in lines if line not in commands) <= width
        text = "\n".join(lines)
        assert "nan" not in text
        assert "█" in text
        assert "its figures mean nothing" in " ".join(text.split())
        if make is threshold:
            whole = whole or sorted(NUMBER.findall(text))
            assert sorted(NUMBER.findall(text)) == whole


def test_a_threshold_is_asked_answered_drawn_and_doubted(ended, tmp_path):
    spec, outcomes = threshold(tmp_path)
    lines = sweep_ending(ended(spec, outcomes), 100)
    text = "\n".join(lines)
    assert lines[0] == "made-up: at which strength has care lost 0.3 in penalised?", "and no warning above it"
    assert "- care has lost 0.3 by strength 0.4, and not at 0.2 yet" in text
    assert "Not known: where between strength 0.2 and 0.4;" in text
    bars = [line.count("█") for line in lines if line.startswith("strength ")]
    assert bars == sorted(bars)
    assert (len(bars), bars[-1]) == (6, 20)


def test_one_seed_is_told_and_prints_no_nan(ended, tmp_path, monkeypatch):
    monkeypatch.setattr(test_figures, "SEEDS", 1)
    spec, outcomes = threshold(tmp_path, care=-0.1)
    store = ended(spec, outcomes)
    text = " ".join(" ".join(sweep_ending(store, 80)).split())
    assert text.startswith("Warning: 1 seed: no interval can be given")
    assert "Not known: whether it is reached beyond strength 1 (a wider --over); an interval of it" in text
    assert "nan" not in text
    assert "nan" not in (store.path / "table.txt").read_text()
    assert "[no interval]" in (store.path / "table.txt").read_text()


def test_a_front_shows_both_of_its_ends(ended, tmp_path):
    spec, outcomes = pareto(tmp_path)
    store = ended(spec, outcomes)
    lines = sweep_ending(store, 100)
    assert lines[0].startswith("made-up: which strength and penalty of penalised suppresses the most")
    for end in (outcomes[0], outcomes[-1]):
        shown = next(
            line for line in lines if line.startswith(f"strength {end.trial.settings[spec.over[0].path]:.3g},")
        )
        for metric in (ROBUSTNESS, COLLATERAL):
            assert f"{end.effects[metric].interval.mean:.2f}".lstrip("-") in shown
    assert "how the front does on seeds that did not select it (--held-out)" in " ".join(" ".join(lines).split())
    assert to_text("\n".join(lines), 100)
