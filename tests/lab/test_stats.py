"""Error rates below are those of the tests themselves; every random input has a fixed seed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from lab.stats import (
    Interval,
    benjamini_hochberg,
    collapse_probability,
    detectable_shift,
    holm,
    iqm,
    paired_interval,
    permutation_p,
    seeds_needed,
    smallest_p,
    tost_p,
)

FINITE = st.floats(-1, 1, width=32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def expected_count(num: int, share: float) -> tuple[int, int]:
    """The counts that a binomial exceeds on either side with probability 0.001 in all."""
    return stats.binom.ppf(0.0005, num, share), stats.binom.ppf(0.9995, num, share)


def test_interval_is_scipys_bca_and_the_seed_decides_it():
    differences = [-0.2, -0.1, -0.15, 0.02, -0.3, -0.07]
    interval = paired_interval(differences, rng(3))
    bounds = stats.bootstrap((differences,), np.mean, method="BCa", rng=rng(3)).confidence_interval
    assert interval == Interval(pytest.approx(np.mean(differences)), bounds.low, bounds.high, 6, True)
    assert interval == paired_interval(differences, rng(3))
    assert interval != paired_interval(differences, rng(4))
    assert interval.excludes(0.0)
    assert not interval.excludes(-0.1)


def test_interval_covers_normal_means_as_often_as_its_docstring_says():
    # 10 normal differences: 90% in truth, not the nominal 95%. Error rate of this test: 0.001 around 0.90.
    draws = rng(11)
    num = 1000
    hits = sum(not paired_interval(draws.normal(size=10), draws, num_resamples=999).excludes(0.0) for _ in range(num))
    low, high = expected_count(num, 0.90)
    assert low <= hits <= high


@pytest.mark.parametrize("differences", [[0.3] * 7, [0.0, 0.0], [0.1, 0.9 - 0.8, 0.3 - 0.2]])
def test_equal_differences_give_their_mean_as_bounds(differences):
    interval = paired_interval(differences, rng())
    assert interval.low == interval.mean == interval.high == pytest.approx(differences[0])
    assert interval.reliable == (len(differences) >= 5)


def test_one_seed_has_no_interval_and_few_seeds_are_unreliable():
    single = paired_interval([0.2], rng())
    assert single.mean == 0.2
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    assert not single.reliable
    assert not single.bounded
    assert not single.excludes(0.0)
    assert not paired_interval([0.2, 0.3, 0.1, 0.25], rng()).reliable
    assert paired_interval([0.2, 0.3, 0.1, 0.25, 0.2], rng()).reliable


@pytest.mark.parametrize("function", [permutation_p, paired_interval])
@pytest.mark.parametrize("differences", [[], [0.1, math.nan], [0.1, math.inf], [[0.1, 0.2]]])
def test_what_is_no_vector_of_finite_numbers_is_refused(function, differences):
    with pytest.raises(ValueError, match="expected"):
        function(differences, rng())


@settings(deadline=None, derandomize=True)
@given(arrays(np.float64, st.integers(2, 7), elements=FINITE))
def test_permutation_agrees_with_scipys(differences):
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", vectorized=True, axis=0)
    ours = permutation_p(differences, rng())
    # SciPy doubles the smaller tail; for a symmetric null the two agree, but for ties at a mean of 0.
    assert ours == pytest.approx(theirs.pvalue) or (abs(differences.mean()) < 1e-9 and ours == 1.0)
    assert ours == permutation_p(-differences, rng())
    assert smallest_p(len(differences)) <= ours <= 1.0


def test_permutation_finds_a_planted_shift_and_keeps_its_level_without_one():
    # Level of the exact test at 10 seeds and alpha 0.05: 50 of 1024 patterns. Error rate of this test: 0.001.
    draws = rng(1)
    num = 1500
    false = sum(permutation_p(draws.normal(size=10), draws) < 0.05 for _ in range(num))
    low, high = expected_count(num, 50 / 1024)
    assert low <= false <= high
    # Ten seeds see a shift of one sd with 80% power (t test); the permutation test comes close.
    found = sum(permutation_p(draws.normal(1.0, size=10), draws) < 0.05 for _ in range(300))
    assert found >= stats.binom.ppf(0.001, 300, 0.75)


@pytest.mark.parametrize("num", [1, 2, 5, 10, 16, 17, 30])
def test_smallest_p_is_reached_by_differences_of_one_sign(num):
    p = permutation_p(np.full(num, 0.1), rng())
    if num <= 16:
        assert p == smallest_p(num)
    else:  # a random pattern may repeat the one observed
        assert smallest_p(num) <= p <= 6 * smallest_p(num)
    assert permutation_p(np.zeros(num), rng()) == 1.0


def test_random_permutation_approximates_the_exact_one():
    # 18 seeds: the t test is close to exact for normal differences.
    differences = rng(5).normal(0.3, 1.0, size=18)
    assert permutation_p(differences, rng(6)) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        holm([0.1, math.nan])


def test_benjamini_hochberg_by_hand():
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_tost_by_hand_and_at_its_edges():
    differences = np.array([0.01, -0.02, 0.015, 0.0, -0.01])
    error = differences.std(ddof=1) / math.sqrt(5)
    by_hand = stats.t.sf((0.05 - abs(differences.mean())) / error, 4)
    assert tost_p(differences) == pytest.approx(by_hand)
    assert by_hand < 0.05
    assert tost_p([0.3, 0.35, 0.31]) > 0.95
    assert tost_p([0.0, 0.0, 0.0]) == 0.125  # no spread: the sign test
    assert tost_p([0.05, 0.05]) == 1.0
    assert tost_p([0.0]) == 1.0
    with pytest.raises(ValueError, match="margin must be > 0"):
        tost_p([0.0, 0.1], margin=0.0)


@pytest.mark.parametrize(
    ("sd", "power", "seeds"), [(0.10, 0.8, 10), (0.10, 0.9, 13), (0.15, 0.8, 20), (0.15, 0.9, 26), (0.20, 0.8, 34)]
)
def test_seeds_needed_for_a_shift_of_a_tenth(sd, power, seeds):
    assert seeds_needed(sd, 0.1, power) == seeds
    assert detectable_shift(sd, seeds, power) <= 0.1 < detectable_shift(sd, seeds - 1, power)


def test_seeds_needed_at_ninety_percent_and_its_edges():
    assert seeds_needed(0.20, 0.1, 0.9) == 44
    assert seeds_needed(0.0, 0.1) == 2
    assert detectable_shift(0.0, 5) == 0.0
    assert detectable_shift(0.1, 1) == math.inf
    # Figures from a normal approximation, which is close at this many seeds: (z.975 + z.8)^2 (sd / shift)^2.
    assert seeds_needed(5.0, 0.1) == pytest.approx((1.959964 + 0.841621) ** 2 * 2500, rel=1e-3)
    with pytest.raises(ValueError, match="shift must be > 0"):
        seeds_needed(0.1, 0.0)
    with pytest.raises(ValueError, match="alpha"):
        seeds_needed(0.1, 0.1, power=0.01)


def test_detectable_shift_has_the_power_it_states():
    # 3000 t tests at 6 seeds; error rate 0.001.
    shift = detectable_shift(1.0, 6)
    p = stats.ttest_1samp(rng(8).normal(shift, 1.0, size=(3000, 6)), 0.0, axis=1).pvalue
    low, high = expected_count(3000, 0.8)
    assert low <= (p < 0.05).sum() <= high


def test_collapse_probability_is_clopper_pearson():
    # All of 20 seeds stand: p > 0.861 one-sided at 95%, so the two-sided 90% bound is the same.
    none = collapse_probability([0.9] * 20, 0.5, confidence=0.9)
    assert none.mean == none.low == 0.0
    assert none.high == pytest.approx(1 - 0.861, abs=5e-4)
    some = collapse_probability([0.1, 0.9, 0.95, 0.2], 0.5)
    assert some.mean == 0.5
    assert (some.low, some.high) == pytest.approx((stats.beta.ppf(0.025, 2, 3), stats.beta.ppf(0.975, 3, 2)))
    assert not some.reliable


def test_interquartile_mean_ignores_the_outer_quarters():
    assert iqm([0.0, 0.4, 0.6, 100.0]) == pytest.approx(0.5)
    assert iqm([0.3]) == pytest.approx(0.3)
