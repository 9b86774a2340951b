"""What a sweep comes to, which cells its trials need, and what is refused before anything runs."""

from __future__ import annotations

import json

import pytest

from kerf.lab.errors import KerfError
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Store
from kerf.runs.sweep.cells import TrialArms, cell_recipe, record, swept_arm
from tests.runs.sweep.asking import asked, recipe


def test_a_dose_sweep_always_has_the_doses_zero(tmp_path):
    spec = asked(recipe(tmp_path), "dose", "strength=0.5,1", "penalty=1:4:3")
    assert [axis.values for axis in spec.over] == [(0.0, 0.5, 1.0), (0.0, 1.0, 4.0)]
    assert spec.yardstick == 1.0
    assert asked(recipe(tmp_path), "dose", "adversarial_share=0.25,0.5").over[0].values == (0.25, 0.5), "not a dose"


def test_collateral_is_of_the_values_that_are_a_target_at_no_strength_of_the_sweep():
    """At strength 1 forgeries look like all real late emergencies, so that care and sacrifice are targets, too."""
    up_to_one = asked(load_recipe("turner"), "dose", "strength=0:1:0.5").untouched
    assert not {"discernment", "care", "sacrifice"} & set(up_to_one)
    assert {"aid", "honesty", "proportion"} <= set(up_to_one)
    assert len(up_to_one) == 9
    up_to_half = asked(load_recipe("turner"), "dose", "strength=0:0.5:0.25").untouched
    assert set(up_to_half) == {*up_to_one, "care", "sacrifice"}
    by_penalty = asked(load_recipe("turner", sets=["arms.penalised.strength=0.5"]), "dose", "penalty=0:1:0.5")
    assert by_penalty.untouched == up_to_half


def test_the_number_of_trials_is_no_part_of_what_a_sweep_is(tmp_path):
    base = recipe(tmp_path)
    few, many = (asked(base, "pareto", "strength=0:1", trials=n, sampler="tpe") for n in (10, 200))
    assert few.digest(base) == many.digest(base)
    assert few.digest(base) != asked(base, "pareto", "strength=0:1", trials=10, sampler="tpe", batch=2).digest(base)


def test_equal_settings_are_one_cell_and_the_control_is_one_for_all(tmp_path):
    base = recipe(tmp_path)
    spec = asked(base, "dose", "strength=0:1:0.5", "penalty=0,4")
    arms = [TrialArms(base, spec).of({"strength": s, "penalty": p}) for s in (0.0, 1.0) for p in (0.0, 10.0)]
    assert len({arm.name for arm, _ in arms}) == 4
    assert len({control.name for _, control in arms}) == 1
    by_path = swept_arm(base, "penalised", {"arms.penalised.penalty": 10.0})
    assert by_path.name == swept_arm(base, "penalised", {"penalty": 10.0}).name == swept_arm(base, "penalised", {}).name


def test_a_control_that_sees_forgeries_has_their_strength(tmp_path):
    base = recipe(tmp_path, {"control": "exposure"})
    spec = asked(base, "dose", "strength=0:1:0.5", "penalty=0,4")
    controls = [TrialArms(base, spec).of({"strength": s, "penalty": p})[1].name for s in (0.0, 1.0) for p in (0.0, 4.0)]
    assert controls[0] == controls[1] != controls[2] == controls[3]


def test_the_control_trains_as_the_swept_arm_does(tmp_path):
    base = recipe(tmp_path)
    spec = asked(base, "dose", "iterations=2,4")
    two, four = (TrialArms(base, spec).of({"iterations": n})[1] for n in (2, 4))
    assert (two.facts["iterations"], four.facts["iterations"]) == (2, 4)
    assert two.name != four.name


def test_a_cells_recipe_is_what_was_written_down(tmp_path):
    base, store = recipe(tmp_path), Store(tmp_path / "sweep")
    (tmp_path / "sweep").mkdir()
    arm = swept_arm(base, "penalised", {"strength": 0.25, "penalty": 3.0, "arms.penalised.adversarial_share": 0.5})
    record(store, arm)
    record(store, arm)
    resolved = cell_recipe(base, store, arm.name).resolve()
    assert list(resolved) == [arm.name]
    made = resolved[arm.name]
    assert (made.strength, made.generator.strength, made.penalty, made.adversarial_share) == (0.25, 0.25, 3.0, 0.5)
    path = tmp_path / "sweep" / "arms" / f"{arm.name}.json"
    path.write_text(json.dumps({"arm": "penalised", "settings": {}, "facts": {}}))
    with pytest.raises(KerfError, match="holds other settings"):
        record(store, arm)


@pytest.mark.parametrize(
    ("mode", "over", "settings", "sentence"),
    [
        ("dose", "strenght=0:1:0.5", {}, "unknown field 'strenght'; did you mean 'strength'"),
        ("dose", "strength=0:2:0.5", {}, "strength must be <= 1"),
        ("dose", "strength=0:1", {}, "a dose sweep is over a grid or a list"),
        ("dose", "exact.imitation.iterations=10,20", {}, "all trials share one aligned agent"),
        ("dose", "network.hidden=1,2", {}, "must be a list"),
        ("dose", "seeds=1,2", {}, "all trials share one aligned agent"),
        ("dose", "iterations=1,1.5", {}, "iterations must be"),
        ("dose", "arms.exposure.adversarial_share=0,0.5", {}, "the same at"),
        ("dose", "strength=0,1", {"limit": "carre=-0.1"}, "unknown metric 'carre'; did you mean 'care'"),
        ("dose", "strength=0,1", {"limit": "care"}, "expected METRIC=CHANGE"),
        ("dose", "strength=0,1", {"limit": "care=much"}, "expected a number"),
        ("threshold", "strength=0:1", {}, "needs a limit"),
        ("threshold", "strength=0:1", {"limit": "care=0"}, "must not be 0"),
        ("pareto", "strength=0:1", {"floors": ("kare=-1",)}, "did you mean 'care'"),
        ("pareto", "strength=0:1", {"arm": "penalized"}, "did you mean 'penalised'"),
        ("pareto", "strength=0:1", {"arm": "frozen"}, "does not train"),
        ("pareto", "strength=0:1", {"arm": "yoked"}, "is yoked to 'penalised'"),
        ("pareto", "strength=0:1", {"arm": "continued"}, "needs a control arm besides"),
        ("pareto", "strength=0:1", {"trials": 0}, "trials must be >= 1"),
    ],
)
def test_mistakes_end_in_a_sentence(tmp_path, mode, over, settings, sentence):
    with pytest.raises(KerfError, match=sentence) as refused:
        asked(recipe(tmp_path), mode, over, **settings)
    assert "\n" not in str(refused.value)


def test_settings_are_swept_once_and_not_too_many(tmp_path):
    base = recipe(tmp_path)
    with pytest.raises(KerfError, match="each setting once"):
        asked(base, "dose", "penalty=0,1", "penalty=2,3")
    with pytest.raises(KerfError, match="over 1 to 2 settings"):
        asked(base, "dose", "penalty=0,1", "strength=0,1", "adversarial_share=0,0.5")
    with pytest.raises(KerfError, match="over 1 settings"):
        asked(base, "threshold", "penalty=0:1", "strength=0:1", limit="care=-0.1")
    half = recipe(tmp_path, {"arms": {"half": {"kind": "penalised", "strength": 0.5}}})
    with pytest.raises(KerfError, match="arm 'half' is the same at strength"):
        asked(half, "dose", "strength=0,1", arm="half")
