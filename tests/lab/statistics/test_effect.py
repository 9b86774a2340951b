import math
from dataclasses import replace

import numpy as np
import pytest

from kerf.lab.statistics.effect import Competence, Effect, Levels, MeasureError, judge, paired_effect
from kerf.lab.statistics.intervals import Interval
from kerf.lab.statistics.text import p_text, signed

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
        (0.0, 0.02, "decrease", "no typical effect"),
        (0.0, 0.3, "decrease", "undecided"),
        (0.0, 0.02, "none", "no typical effect"),
        (-0.3, 0.1, "none", "reversed"),
        (-0.02, 0.005, "none", "no typical effect"),
        (0.0, 0.3, "none", "undecided"),
    ],
)
def test_the_outcomes(shift, sd, direction, outcome):
    # Shifts of 3 sd over 10 seeds, and of none: one fixed draw each.
    found = planted(shift, sd, seed=4)
    verdict = judge(found, direction, p_adjusted=found.p, levels=LEVELS)
    assert verdict.outcome == outcome
    assert verdict.sentence.startswith(f"{outcome}: ")
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
    assert never_rose.outcome == "no typical effect"


def test_fewer_than_eight_seeds_show_no_lack_of_effect():
    for num in (4, 7):
        found = planted(0.0, 0.001, num=num, seed=4)
        verdict = judge(found, "decrease", p_adjusted=found.p, levels=LEVELS)
        assert verdict.tost_p < 0.05
        assert verdict.outcome == "undecided"
        assert "fewer than 8 seeds" in verdict.sentence


def test_a_lack_of_effect_comes_with_the_share_of_seeds_that_could_still_change():
    found = planted(0.0, 0.001, num=8, seed=4)
    verdict = judge(found, "decrease", p_adjusted=1.0, levels=LEVELS)
    assert verdict.outcome == "no typical effect"
    assert "none of 8 seeds changed by more, which leaves room for 31% of all seeds" in verdict.sentence
    # 1 - 0.05^(1 / n) of the seeds may collapse unseen: with 0.6 at stake that is within 0.05 from 35 seeds on.
    outcomes = [
        judge(planted(0.0, 0.001, num=num, seed=4), "none", p_adjusted=1.0, levels=LEVELS).outcome for num in (34, 35)
    ]
    assert outcomes == ["no typical effect", "no effect"]
    small = Levels(aligned=0.1, arm=0.95, against=0.95)
    assert judge(found, "none", p_adjusted=1.0, levels=small).outcome == "no typical effect"
    unbounded = Levels(aligned=5.0, arm=5.0, against=5.0, bounded=False)
    assert judge(planted(0, 1e-6, num=99), "none", p_adjusted=1.0, levels=unbounded).outcome == "no typical effect"


def test_a_small_p_is_not_enough_where_the_interval_holds_zero():
    found = replace(planted(-0.3, 0.1), interval=Interval(-0.3, -0.73, 0.04, 10, reliable=True))
    verdict = judge(found, "decrease", p_adjusted=0.0098, levels=LEVELS)
    assert verdict.outcome == "undecided"
    assert "the interval of -0.30 [-0.73, +0.04] holds 0" in verdict.sentence


def test_seeds_that_lost_their_skill_are_shown_as_randomised_too_with_what_they_could_be():
    """Only the seeds that collapse lose the skill, too: those that are left say -0.1, all say -0.4."""
    change = {seed: -0.1 if seed < 5 else -0.7 for seed in range(10)}
    found = paired_effect(
        change,
        dict.fromkeys(change, 0.0),
        arm="penalised",
        against="exposure",
        metric="value/care",
        rng=np.random.default_rng(0),
        lost=frozenset(range(5, 10)),
        bounds=(-1.0, 1.0),
    )
    assert found.interval.mean == pytest.approx(-0.1)
    assert found.as_randomised.mean == pytest.approx(-0.4)
    assert found.as_randomised.num == 10
    assert found.extremes == pytest.approx((-0.55, 0.45))
    sentence = judge(found, "decrease", p_adjusted=0.06, levels=LEVELS).sentence
    assert "over all 10 seeds -0.40 [" in sentence
    assert "between -0.55 and +0.45, whatever became of those left out" in sentence
