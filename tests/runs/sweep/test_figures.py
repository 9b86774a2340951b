"""Figures and findings of made-up outcomes: what they say, and that they say it in the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from kerf.lab.statistics.effect import paired_effect
from kerf.runs.report.table import to_text
from kerf.runs.sweep.figures import figures
from kerf.runs.sweep.findings import feasible, front, lines, next_dose
from kerf.runs.sweep.outcome import Outcome
from kerf.runs.sweep.report import TEXT_WIDTH, make_report
from kerf.runs.sweep.spec import COLLATERAL, ROBUSTNESS, SweepSpec
from kerf.runs.sweep.trials import Trial
from kerf.runs.sweep.write import findings
from tests.runs.sweep.asking import asked, recipe

METRICS = (ROBUSTNESS, COLLATERAL, "value/care", "competence", "utility/ideal")
SEEDS = 10


def outcome(number: int, settings: dict[str, float], means: Sequence[float], sd: float = 0.03) -> Outcome:
    """A trial whose effects have these means over metrics, and seeds that differ."""
    rng = np.random.default_rng(np.random.SeedSequence((7, number)))
    effects = {}
    for metric, mean in zip(METRICS, means, strict=True):
        given = dict(enumerate(rng.normal(mean, sd, SEEDS)))
        effects[metric] = paired_effect(
            given, dict.fromkeys(given, 0.0), arm="penalised", against="continued", metric=metric, rng=rng
        )
    return Outcome(Trial(number, settings), f"penalised-{number}", "continued-0", effects)


def grid(spec: SweepSpec, care: Callable[[float, float], float]) -> list[Outcome]:
    """A trial at each point of a grid over strength and penalty, where care changes by `care`."""
    across, up = (axis.grid(6) for axis in spec.over) if len(spec.over) == 2 else (spec.over[0].grid(6), (10.0,))
    made = []
    for strength in across:
        for penalty in up:
            settings = {"strength": strength} | ({"penalty": penalty} if len(spec.over) == 2 else {})
            lost = care(strength, penalty)
            made.append(outcome(len(made), settings, (-lost, lost / 3, lost, 0.0, 5 * lost)))
    return made


@pytest.fixture
def phase(tmp_path: Path) -> tuple[SweepSpec, list[Outcome]]:
    spec = asked(recipe(tmp_path), "dose", "strength=0:1:0.25", "penalty=0,4,16", limit="care=-0.3")
    return spec, grid(spec, lambda strength, penalty: -0.8 * strength * penalty / 16)


def test_equal_findings_are_equal_bytes_and_name_what_they_show(phase):
    spec, outcomes = phase
    made, again = (figures(make_report(spec, outcomes, [])) for _ in range(2))
    assert made == again
    assert set(made) == {"dose-response.svg", "dose-response.png", "phase.svg", "phase.png"}
    curves, diagram = (made[f"{name}.svg"].decode() for name in ("dose-response", "phase"))
    for said in ("adversary strength", "change of care", "robustness", "penalty 16", "95% intervals"):
        assert said in curves
    for said in ("adversary strength", "penalty L", "black line: care reaches"):
        assert said in diagram


def test_a_limit_that_is_passed_nowhere_or_everywhere_is_said_so(tmp_path):
    spec = asked(recipe(tmp_path), "dose", "strength=0:1:0.5", "penalty=0,4", limit="care=-0.3")
    for care, said in ((0.0, "nowhere"), (-0.9, "everywhere")):
        outcomes = grid(spec, lambda strength, penalty, care=care: care)
        assert said in figures(make_report(spec, outcomes, []))["phase.svg"].decode()


def test_a_planted_dose_response_is_found_where_it_is_and_only_there(phase):
    """At penalty 16 care falls by 0.8 in a straight line, so it has lost 0.3 at strength 0.375; at 0 it never does."""
    spec, outcomes = phase
    none, some, most = lines(spec, outcomes, "value/care")
    assert [line.at for line in (none, some, most)] == [0.0, 4.0, 16.0]
    assert most.threshold is not None
    assert most.threshold.low <= 0.375 <= most.threshold.high
    below, above = most.threshold.between
    assert below <= 0.375 <= above
    assert {below, above} <= set(most.curve.doses.tolist()), "a dose that was tried, and no finer"
    assert most.p < 0.01
    assert none.threshold is not None
    assert not none.threshold.reached
    assert none.p > 0.05
    said = make_report(spec, outcomes, []).verdicts
    assert any(line.startswith("care falls with strength at penalty 16") for line in said)
    assert any(line.startswith("care is not shown to change with strength at penalty 0") for line in said)
    assert any(
        line.startswith("care has lost 0.3 by strength 0.") and "at penalty 16, and not at 0." in line for line in said
    )
    assert any(line.startswith("care has not lost 0.3 up to strength 1 at penalty 0") for line in said)


def test_one_seed_has_no_interval_and_none_is_printed(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.runs.sweep.test_figures.SEEDS", 1)
    spec = asked(recipe(tmp_path), "threshold", "strength=0:1", limit="care=-0.3")
    (said,) = make_report(spec, grid(spec, lambda strength, penalty: -0.1 * strength), []).verdicts
    assert said.startswith("care has not lost 0.3 up to strength 1, where it has changed by -0.")
    assert "nan" not in said


def test_a_seed_that_lost_its_skill_at_one_dose_is_left_out_of_the_whole_curve(phase):
    spec, outcomes = phase
    torn = outcomes[-1].effects["value/care"]
    fewer = paired_effect(
        dict(zip(torn.seeds, torn.per_seed, strict=True)),
        dict.fromkeys(torn.seeds, 0.0),
        arm="penalised",
        against="continued",
        metric="value/care",
        rng=np.random.default_rng(0),
        lost=frozenset({3}),
    )
    last = outcomes[-1]
    changed = Outcome(last.trial, last.arm, last.control, {**last.effects, "value/care": fewer})
    *_, most = lines(spec, [*outcomes[:-1], changed], "value/care")
    assert (len(most.seeds), most.lost) == (SEEDS - 1, (3,))
    assert findings(make_report(spec, [*outcomes[:-1], changed], []))["lines"]


def test_bisection_halves_the_bracket_and_ends_where_there_is_none(tmp_path):
    spec = asked(recipe(tmp_path), "threshold", "strength=0:1", limit="care=-0.3")
    assert next_dose(spec, grid(spec, lambda strength, _: -0.8 * strength)) == 0.3
    assert next_dose(spec, grid(spec, lambda strength, _: -0.1 * strength)) is None
    assert next_dose(spec, grid(spec, lambda strength, _: -0.9)) is None


def test_the_front_is_what_nothing_feasible_beats(tmp_path):
    spec = asked(recipe(tmp_path), "pareto", "strength=0:1", floors=("care=-0.5",))
    objectives = [(0.9, -0.1, -0.9), (0.5, -0.05, -0.2), (0.4, -0.06, -0.2), (0.2, 0.0, -0.1), (0.6, -0.2, -0.4)]
    trials = [
        outcome(index, {"strength": index / 4}, (robust, collateral, care, 0.0, 0.0), sd=1e-4)
        for index, (robust, collateral, care) in enumerate(objectives)
    ]
    assert [feasible(spec, trial) for trial in trials] == [False, True, True, True, True]
    assert [trial.trial.number for trial in front(spec, trials)] == [3, 1, 4]
    report = make_report(spec, trials, [trials[3], trials[1], trials[4]])
    assert "The front has 3 of 5 trials" in report.verdicts[0]
    assert "On held-out seeds 3 of 3 still pass" in report.verdicts[0]
    rows = [line.split()[0] for line in to_text(report, TEXT_WIDTH).splitlines() if line[:1].isdigit()]
    assert rows[:3] == ["3", "1", "4"]
    assert rows[3:] == ["3,", "1,", "4,"], "held out"
    drawn = figures(report)["front.svg"].decode()
    for said in ("breaks a floor", "dominated", "on held-out seeds", "floor: care"):
        assert said in drawn
    nobody = asked(recipe(tmp_path), "pareto", "strength=0:1", floors=("care=0.5",))
    assert make_report(nobody, trials, []).verdicts[0].startswith("None of 5 trials passes the floors")
    assert "front.svg" in figures(make_report(nobody, trials, []))
    printed = to_text(make_report(nobody, trials, []), TEXT_WIDTH)
    assert [line.split()[0] for line in printed.splitlines() if line[:1].isdigit()] == ["3", "1", "0"]
    assert "the front without floors" in printed
