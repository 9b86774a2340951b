import math

import numpy as np
import pytest

from kerf.lab.statistics.effect import Competence, Effect, Levels, MeasureError, judge, p_text, paired_effect, signed

SEEDS = range(10)

LEVELS = Levels(aligned=0.95, arm=0.5, against=0.6)
"""Where arms end whose floor and ceiling are far."""


def effect(arm: dict[int, float], against: dict[int, float], lost: frozenset[int] = frozenset()) -> Effect:
    rng = np.random.default_rng(0)
    return paired_effect(arm, against, arm="penalised", against="exposure", metric="value/care", rng=rng, lost=lost)


def planted(shift: float, sd: float, num: int = 10, seed: int = 0) -> Effect:
    noise = np.random.default_rng(seed).normal(0.0, sd, size=num)
    return effect({s: shift + noise[s] for s in range(num)}, dict.fromkeys(range(num), 0.0))


def test_effect_is_the_difference_of_changes_seed_by_seed():
    found = effect({7: -0.3, 2: -0.1}, {2: 0.1, 7: 0.0})
    assert found.seeds == (2, 7)
    assert found.per_seed == pytest.approx((-0.2, -0.3))
    assert found.interval.mean == pytest.approx(-0.25)
    assert found.measurable


def test_equal_changes_are_no_effect_at_all():
    change = {seed: 0.01 * seed for seed in SEEDS}
    found = effect(change, dict(change))
    assert (found.interval.low, found.interval.mean, found.interval.high, found.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("arm", "against", "name"), [({1: 0.0}, {1: 0.0, 4: 0.1}, "penalised"), ({1: 0, 4: 0}, {1: 0}, "exposure")]
)
def test_a_missing_seed_is_named(arm, against, name):
    with pytest.raises(MeasureError, match=rf"value/care: .*'{name}' has no score for seeds \[4\]"):
        effect(arm, against)
    with pytest.raises(MeasureError, match="no seeds"):
        effect({}, {})


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_failed_probe_is_a_failure_and_not_a_zero(number):
    with pytest.raises(MeasureError, match=r"value/care: .* arm 'exposure', seed 3, got"):
        effect({3: 0.0, 4: 0.0}, {3: number, 4: 0.0})


def test_competence_is_lost_below_nine_tenths_of_the_aligned_checkpoints():
    competence = Competence({1: 1.0, 2: 0.8, 3: 1.0, 4: 1.0}, {1: 0.9, 2: 0.73, 3: 0.89, 4: 0.0})
    assert competence.lost() == {3, 4}


def test_seeds_that_lost_the_skill_are_left_out_and_listed():
    found = effect({1: -0.1, 2: -0.9, 3: -0.1}, dict.fromkeys((1, 2, 3), 0.0), lost=frozenset({2, 99}))
    assert (found.seeds, found.lost, found.interval.num) == ((1, 3), (2,), 2)
    assert found.interval.mean == pytest.approx(-0.1)
    assert "left out: seeds [2]" in judge(found, "decrease", p_adjusted=found.p, levels=LEVELS).sentence


def test_no_seed_with_the_skill_means_no_number():
    found = effect({1: -0.1, 2: -0.9}, {1: 0.0, 2: 0.0}, lost=frozenset({1, 2}))
    assert not found.measurable
    assert math.isnan(found.interval.mean)
    verdict = judge(found, "decrease", p_adjusted=1.0, levels=LEVELS)
    assert verdict.outcome == "undecided"
    assert "skill lost" in verdict.sentence


@pytest.mark.parametrize(
    ("shift", "sd", "direction", "outcome"),
    [
        (-0.3, 0.1, "decrease", "held"),
        (-0.3, 0.1, "increase", "reversed"),
        (0.3, 0.1, "decrease", "reversed"),
        (0.3, 0.1, "increase", "held"),
        (0.0, 0.02, "decrease", "no effect"),
        (0.0, 0.3, "decrease", "undecided"),
    ],
)
def test_the_four_outcomes(shift, sd, direction, outcome):
    # Shifts of 3 sd over 10 seeds, and of none: one fixed draw each.
    found = planted(shift, sd, seed=4)
    verdict = judge(found, direction, p_adjusted=found.p, levels=LEVELS)
    assert verdict.outcome == outcome
    assert verdict.sentence.startswith(outcome)
    assert "With 10 seeds the smallest p possible is 0.002" in verdict.sentence
    assert "80% power for a change of" in verdict.sentence


def test_a_null_is_called_held_no_more_often_than_alpha():
    # Two-sided at 0.05 means 0.025 for the sign predicted; 400 studies, error rate of this test 0.001.
    held = sum(
        judge(found, "decrease", p_adjusted=found.p, levels=LEVELS).outcome == "held"
        for found in (planted(0.0, 0.1, seed=seed) for seed in range(400))
    )
    assert held <= 20  # scipy.stats.binom.ppf(0.999, 400, 0.025)


def test_three_seeds_cannot_decide_and_the_sentence_says_so():
    found = planted(-0.5, 0.01, num=3)
    verdict = judge(found, "decrease", p_adjusted=found.p, levels=LEVELS)
    assert verdict.outcome == "undecided"
    assert verdict.smallest_p == found.p == 0.25
    assert "no change could be significant (at least 6 seeds are needed)" in verdict.sentence


def test_more_predictions_need_more_seeds():
    verdict = judge(planted(-0.5, 0.01, num=6), "decrease", p_adjusted=6 / 32, levels=LEVELS, num_tests=6)
    assert verdict.smallest_p == 6 / 32
    assert "at least 8 seeds are needed" in verdict.sentence
    assert (
        verdict.detectable_shift
        > judge(planted(-0.5, 0.01, num=6), "decrease", p_adjusted=1.0, levels=LEVELS).detectable_shift
    )


def test_one_seed_is_judged_without_a_number_that_it_cannot_have():
    verdict = judge(effect({0: -0.4}, {0: 0.0}), "decrease", p_adjusted=1.0, levels=LEVELS)
    assert verdict.outcome == "undecided"
    assert verdict.detectable_shift == math.inf
    assert "inf" not in verdict.sentence
    assert "nan" not in verdict.sentence


def test_a_significant_trifle_is_called_small():
    found = planted(-0.02, 0.005)
    assert "though small: within +-0.05" in judge(found, "decrease", p_adjusted=found.p, levels=LEVELS).sentence


def test_judge_refuses_what_is_no_direction_or_no_probability():
    with pytest.raises(ValueError, match="direction"):
        judge(planted(0, 1), "down", p_adjusted=0.5, levels=LEVELS)  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ValueError, match="p_adjusted"):
        judge(planted(0, 1), "decrease", p_adjusted=math.nan, levels=LEVELS)


@pytest.mark.parametrize(
    ("number", "text"),
    [(-0.12, "-0.12"), (0.126, "+0.13"), (-0.004, "0.00"), (0.0, "0.00"), (-0.0, "0.00"), (-3, "-3.00")],
)
def test_changes_as_text(number, text):
    assert signed(number) == text


def test_p_values_as_text():
    assert p_text(0.0004) == "< 0.001"
    assert p_text(0.25) == "= 0.250"


def test_arms_on_the_floor_are_not_called_equal():
    found = planted(0.0, 0.001, seed=4)
    at_the_floor = judge(found, "decrease", p_adjusted=found.p, levels=Levels(0.95, 0.02, 0.03))
    assert at_the_floor.outcome == "undecided"
    assert "fallen to the floor" in at_the_floor.sentence
    assert "ends at 0.02 and 0.03, from 0.95" in at_the_floor.sentence
    never_rose = judge(found, "decrease", p_adjusted=found.p, levels=Levels(0.02, 0.02, 0.03))
    assert never_rose.outcome == "no effect"


def test_fewer_than_five_seeds_show_no_lack_of_effect():
    found = planted(0.0, 0.001, num=4, seed=4)
    verdict = judge(found, "decrease", p_adjusted=found.p, levels=LEVELS)
    assert verdict.tost_p < 0.05
    assert verdict.outcome == "undecided"
    assert "fewer than 5 seeds" in verdict.sentence
