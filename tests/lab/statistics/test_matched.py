import math

import numpy as np
import pytest
from scipy import stats

from kerf.lab.statistics.effect import MeasureError
from kerf.lab.statistics.matched import MATCHED_LEVELS, Course, matched_effect, reaching

NAMES = {"arm": "penalised", "against": "exposure", "metric": "value/care"}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def straight(speed: float, cost: float, aligned: float = 0.95, num: int = 7) -> Course:
    """Suppresses `speed` per point until 0.9 is reached, and loses `cost` of the score per unit of suppression."""
    suppressed = tuple(min(0.9, speed * point) for point in range(num))
    return Course(suppressed, tuple(aligned - cost * amount for amount in suppressed))


def test_a_score_is_read_off_the_line_between_the_points_around_the_first_crossing():
    course = Course((0.0, 0.4, 0.2, 0.8), (1.0, 0.6, 0.9, 0.3))
    assert course.deepest == 0.8
    assert course.at(0.0) == 1.0
    assert course.at(0.1) == pytest.approx(0.9)
    assert course.at(0.3) == pytest.approx(0.7)  # again at the third and on the way to the fourth point, but later
    assert course.at(0.4) == 0.6
    assert course.at(0.5) == pytest.approx(0.6)
    assert course.at(0.8) == 0.3
    assert [course.bridged(level) for level in (0.0, 0.3, 0.4, 0.5, 0.8)] == pytest.approx([0, 0.4, 0, 0.6, 0])


@pytest.mark.parametrize("level", [0.81, -0.1, math.nan])
def test_a_level_that_was_not_reached_has_no_score(level):
    with pytest.raises(ValueError, match="expected a level in"):
        Course((0.0, 0.8), (1.0, 0.3)).at(level)


@pytest.mark.parametrize(
    ("suppressed", "scores"), [((), ()), ((0.0, 0.1), (1.0,)), ((0.1, 0.2), (1.0, 0.9)), ((0.0, math.nan), (1.0, 0.9))]
)
def test_what_is_no_course_is_refused(suppressed, scores):
    with pytest.raises(ValueError, match="expected"):
        Course(suppressed, scores)


def test_seeds_are_comparable_where_both_arms_reached_the_level():
    arm = {0: straight(0.3, 0.5), 1: straight(0.1, 0.5), 2: straight(0.01, 0.5), 3: straight(0.3, 0.5)}
    against = {0: straight(0.1, 0.5), 1: straight(0.3, 0.5), 2: straight(0.3, 0.5), 3: Course((0.0, -0.2), (1.0, 1.0))}
    assert reaching(arm, against, 0.5) == (0, 1)
    assert reaching(arm, against, 0.05) == (0, 1, 2)
    assert reaching(arm, against, 0.61) == ()
    with pytest.raises(ValueError, match="level must be > 0"):
        reaching(arm, against, 0.0)
    with pytest.raises(MeasureError, match=r"lacks seeds \[3\]"):
        reaching(arm, {seed: against[seed] for seed in (0, 1, 2)}, 0.5)


def test_two_arms_on_the_floor_still_differ_at_levels_that_are_fixed_beforehand():
    """At the deepest suppression that both reach two floors are compared; on the way one arm kept more."""
    arm = Course((0.0, 0.25, 0.5, 0.75, 0.95), (1.0, 0.5, 0.2, 0.1, 0.0))
    against = Course((0.0, 0.25, 0.5, 0.75, 0.95), (1.0, 0.9, 0.8, 0.6, 0.0))
    arms = dict.fromkeys(range(8), arm), dict.fromkeys(range(8), against)
    means = [matched_effect(*arms, **NAMES, level=level, rng=rng()).effect.interval.mean for level in MATCHED_LEVELS]
    assert means == pytest.approx([-0.4, -0.6, -0.5])
    assert matched_effect(*arms, **NAMES, level=0.95, rng=rng()).effect.interval.mean == 0.0


def test_faster_suppression_alone_is_no_effect_at_matched_suppression():
    """Both arms lose the same for the same suppression, one of them three times as fast: at equal steps they differ."""
    noise = rng().normal(0.0, 0.02, size=10)
    fast = {seed: straight(0.15, 0.7, aligned=0.95 + noise[seed], num=5) for seed in range(10)}
    slow = {seed: straight(0.05, 0.7, aligned=0.95 + noise[seed], num=5) for seed in range(10)}
    assert fast[0].scores[-1] - slow[0].scores[-1] == pytest.approx(-0.28)
    found = matched_effect(fast, slow, **NAMES, level=0.18, rng=rng())
    assert found.effect.per_seed == pytest.approx([0.0] * 10, abs=1e-12)
    assert found.bridged == pytest.approx([0.15] * 10)
    assert found.not_comparable == ()


def test_a_planted_cost_per_suppression_is_found_with_its_size_and_a_null_at_its_rate():
    def study(extra: float, seed: int) -> float:
        draws = np.random.default_rng(seed)
        arms = []
        for speed, cost in ((0.15, 0.5 + extra), (0.05, 0.5)):
            arms.append({s: straight(speed, cost + draws.normal(0.0, 0.1), num=7) for s in range(10)})
        found = matched_effect(*arms, **NAMES, level=0.3, rng=draws)
        if extra == 0.5:
            assert found.effect.interval.mean == pytest.approx(-0.5 * 0.3, abs=5 * 0.3 * math.sqrt(0.02 / 10))
        return found.effect.p

    assert all(study(0.5, seed) < 0.01 for seed in range(5))
    # 400 null studies of an exact test at 50 of 1024 patterns; error rate 0.001.
    false = sum(study(0.0, seed) < 0.05 for seed in range(400))
    assert stats.binom.ppf(0.0005, 400, 50 / 1024) <= false <= stats.binom.isf(0.0005, 400, 50 / 1024)


def test_changes_are_counted_from_each_arms_own_aligned_score():
    arm, against = Course((0.0, 0.5), (0.9, 0.4)), Course((0.0, 0.5), (0.8, 0.6))
    assert matched_effect({4: arm}, {4: against}, **NAMES, level=0.5, rng=rng()).effect.per_seed == pytest.approx(
        [-0.5 + 0.2]
    )


def test_seeds_that_suppressed_too_little_or_lost_their_skill_have_no_number():
    arm = {seed: straight(0.2, 0.5) for seed in range(6)}
    against = {seed: straight(0.1, 0.4) for seed in range(6)}
    against[1] = straight(0.05, 0.4)
    arm[4] = Course((0.0,) * 7, (0.9,) * 7)
    found = matched_effect(arm, against, **NAMES, level=0.6, rng=rng(), lost={2, 4, 99})
    assert (found.effect.seeds, found.effect.lost, found.not_comparable) == ((0, 3, 5), (2,), (1, 4))
    assert found.effect.per_seed == pytest.approx([-0.06] * 3)
    assert len(found.bridged) == 3


def test_without_a_comparable_seed_there_is_no_effect_at_all():
    idle = {seed: Course((0.0, 0.0), (0.9, 0.9)) for seed in range(3)}
    found = matched_effect({seed: straight(0.2, 0.5) for seed in range(3)}, idle, **NAMES, level=0.25, rng=rng())
    assert not found.effect.measurable
    assert math.isnan(found.effect.interval.mean)
    assert (found.bridged, found.not_comparable) == ((), (0, 1, 2))


def test_the_interval_is_cut_where_asked():
    arm = {seed: Course((0.0, 0.5), (1.0, 0.05 if seed else 1.0)) for seed in range(5)}
    against = {seed: Course((0.0, 0.5), (1.0, 1.0)) for seed in range(5)}
    assert matched_effect(arm, against, **NAMES, level=0.5, rng=rng()).effect.interval.low < -1
    assert matched_effect(arm, against, **NAMES, level=0.5, rng=rng(), bounds=(-1.0, 1.0)).effect.interval.low == -1
