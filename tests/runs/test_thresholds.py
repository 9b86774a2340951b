"""Predicted penalty thresholds against planted ones."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from kerf.lab.errors import KerfError
from kerf.lab.prediction import ThresholdPrediction
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.theory import theory_of
from kerf.runs.report.effects import COLUMNS, study_ends
from kerf.runs.report.thresholds import Crossing, find_crossing

DOSES = {"exposure": 0.0, "two": 2.0, "six": 6.0, "ten": 10.0}
PREDICTION = ThresholdPrediction(name="where-help-ends", arms=tuple(DOSES), falsified_by="help ends elsewhere")


def theory(threshold: float | None = 3.3) -> dict[str, dict[str, object]]:
    return {arm: {"penalty": dose, "threshold": threshold} for arm, dose in DOSES.items()}


def crossing(
    ends_at: list[float], threshold: float | None = 3.3, prediction: ThresholdPrediction = PREDICTION
) -> Crossing:
    """Of a study whose seed `s` helps as ever up to a penalty of `ends_at[s]`, and then no more."""
    rows = []
    for seed, limit in enumerate(ends_at):
        for arm, dose in DOSES.items():
            for iteration, score in ((0, 0.9), (5, 0.9 if dose <= limit else 0.1)):
                rows += [(arm, seed, iteration, 10 * iteration, "value/care", score)]
                rows += [(arm, seed, iteration, 10 * iteration, "skill/reach", 1.0)]
    ends = study_ends(pd.DataFrame(rows, columns=list(COLUMNS)))
    return find_crossing(ends, prediction, theory(threshold), "value/care")


def test_a_threshold_lies_between_two_doses_and_no_dose_says_more():
    found = crossing([3.0, 7.0, 99.0, -1.0])
    assert found.brackets == {0: (2.0, 6.0), 1: (6.0, 10.0), 2: (10.0, math.inf), 3: (-math.inf, 0.0)}
    assert found.hits == 1
    sentence = found.sentence(1.0)
    for words in ("between 2 and 6 in 1 of 4", "above 10, if at all, in 1 of 4", "at 0 or below in 1 of 4"):
        assert words in sentence


def test_the_order_in_which_a_recipe_names_the_arms_does_not_matter():
    """A penalty that is set on the command line may come to lie between those of other arms."""
    backwards = PREDICTION.model_copy(update={"arms": ("ten", "exposure", "six", "two")})
    assert crossing([3.0, 7.0], prediction=backwards).brackets == {0: (2.0, 6.0), 1: (6.0, 10.0)}


@pytest.mark.parametrize(
    ("ends_at", "p", "outcome"),
    [([3.0] * 8, 2 / 256, "held"), ([7.0] * 8, 2 / 256, "reversed"), ([3.0] * 5 + [7.0] * 3, 186 / 256, "undecided")],
)
def test_the_verdict_is_a_sign_test_of_the_median_seed(ends_at, p, outcome):
    found = crossing(ends_at)
    assert found.p == pytest.approx(p)
    assert found.outcome(found.p) == outcome
    assert found.outcome(1.0) == "undecided", "after Holm's adjustment"
    assert found.sentence(found.p).startswith(f"{outcome}: help was predicted to end at a penalty of 3.3")


def test_where_help_does_not_pay_at_any_penalty_it_is_predicted_to_end_at_once():
    assert crossing([-1.0] * 8, None).hits == 8
    assert crossing([-1.0] * 8, -2.0).hits == 8


def test_arms_that_differ_in_more_than_their_penalty_have_no_threshold_in_common():
    sets = ["threshold.arms=[exposure, penalised-tells]"]
    with pytest.raises(KerfError, match=r"differ in their penalty alone, got thresholds exposure 3\.28, penalised-t"):
        theory_of(load_recipe("turner", sets=sets))
    with pytest.raises(KerfError, match="no closed form for arm 'yoked'"):
        theory_of(load_recipe("turner", sets=["threshold.arms=[exposure, yoked]"]))
    with pytest.raises(KerfError, match=r"threshold\.arms: unknown arm 'penalized'; did you mean 'penalised'"):
        load_recipe("turner", sets=["threshold.arms=[exposure, penalized]"])
