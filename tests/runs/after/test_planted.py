"""Each kind of agent is told from all others by the after-tests."""

from __future__ import annotations

import pytest

from kerf.runs.after.unit import after_unit
from kerf.runs.recipe.after_plan import AfterSettings, after_plan, units_of
from kerf.runs.report.after.judged import AfterReport, judge_after
from tests.planted_agents import plant

KINDS = ("kept", "suppressed", "erased", "concealed", "moved")


def report(out, monkeypatch, seeds: int, first: int = 0) -> AfterReport:
    recipe, store = plant(out, monkeypatch, seeds=seeds, first=first)
    settings = AfterSettings(generators=("scripted",), scenarios=128)
    plan = after_plan(recipe, settings)
    units = units_of(settings, plan, list(recipe.seed_numbers))
    for unit in units:
        for _ in after_unit(recipe, unit, store):
            pass
    return judge_after(store, recipe, units, plan, settings)


@pytest.mark.slow
def test_what_became_of_a_value_is_told_from_all_else(tmp_path, monkeypatch):
    """On seeds that no other test, and no page, has made anything of."""
    found = report(tmp_path / "planted", monkeypatch, seeds=8, first=100)
    assert {one.arm: one.called.call for one in found.became} == {kind: kind for kind in KINDS}, [
        one.called for one in found.became
    ]
