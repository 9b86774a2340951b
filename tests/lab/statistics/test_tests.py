"""Error rates below are those of the tests themselves; every random input has a fixed seed."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats

from kerf.lab.statistics import intervals, tests
from kerf.lab.statistics.intervals import clopper_pearson
from kerf.lab.statistics.tests import (
    benjamini_hochberg,
    binomial_p,
    collapse_probability,
    detectable_shift,
    holm,
    noise_floor,
    paired_collapse_p,
    paired_interval,
    permutation_p,
    smallest_p,
    tost_p,
)

FINITE = st.floats(-1, 1, width=32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def expected_count(num: int, share: float) -> tuple[int, int]:
    """The counts that a binomial exceeds on either side with probability 0.001 in all."""
    return stats.binom.ppf(0.0005, num, share), stats.binom.ppf(0.9995, num, share)


def halls_bounds(differences: list[float]) -> list[float]:
    """Hall's interval found without his formula's inverse: the means at which the transformed t meets its quantile."""
    values = np.array(differences)
    num, skewness = len(values), stats.skew(values)

    def beyond(mean: float, quantile: float) -> float:
        t = (values.mean() - mean) / values.std(ddof=1)
        return t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * num) - quantile

    quantile = stats.t.ppf(0.975, num - 1) / math.sqrt(num)
    return [optimize.brentq(beyond, -9, 9, args=(at,), xtol=1e-14) for at in (quantile, -quantile)]


def rejected_below_and_above(differences: list[float], low: float, high: float) -> tuple[bool, bool]:
    """Whether the permutation test rejects means just outside the bounds."""
    step = 1e-9
    return tuple(permutation_p(np.array(differences) - at, rng()) < 0.05 for at in (low - step, high + step))


def test_interval_is_halls_where_the_permutation_test_cannot_reject():
    # At 5 seeds no p is below 1/16.
    differences = [-0.2, -0.1, -0.15, 0.02, -0.3]
    interval = paired_interval(differences, rng())
    assert (interval.mean, interval.num, interval.reliable) == (pytest.approx(np.mean(differences)), 5, True)
    assert [interval.low, interval.high] == pytest.approx(halls_bounds(differences), abs=1e-9)
    mirrored = paired_interval([-difference for difference in differences], rng())
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low))
    assert interval.excludes(-0.5)
    assert not interval.excludes(-0.1)


def test_interval_of_symmetric_differences_is_students():
    differences = [-0.2, -0.1, 0.0, 0.1, 0.2]
    theirs = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    interval = paired_interval(differences, rng())
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("num", [6, 7, 10, 13])
def test_interval_reaches_as_far_as_halls_and_as_what_the_permutation_test_does_not_reject(num):
    for seed in range(20):
        differences = (-rng(seed).exponential(0.1, size=num)).tolist()
        interval = paired_interval(differences, rng())
        low, high = halls_bounds(differences)
        assert interval.low <= low + 1e-9
        assert interval.high >= high - 1e-9
        below, above = rejected_below_and_above(differences, interval.low, interval.high)
        assert below
        assert above
        # Each bound is one of the two: Hall's, or the first mean that is not rejected.
        inside = rejected_below_and_above(differences, interval.low + 2e-9, interval.high - 2e-9)
        assert interval.low == pytest.approx(low, abs=1e-8) or not inside[0]
        assert interval.high == pytest.approx(high, abs=1e-8) or not inside[1]


@settings(deadline=None, derandomize=True)
@given(arrays(np.float64, st.integers(6, 12), elements=FINITE))
def test_an_interval_that_excludes_zero_has_a_small_p(differences):
    interval = paired_interval(differences, rng())
    assert interval.low <= interval.mean <= interval.high
    assert permutation_p(differences, rng()) < 0.05 or not interval.excludes(0.0)


def test_rounding_makes_no_significance_in_the_interval_where_it_makes_none_in_the_test():
    # -0.3 and 0.3 leave 0 in exact arithmetic, which is the third smallest mean of a subset; here they leave 3e-17.
    differences = [-0.3, 0.2, 0.1 + 0.2, 3.0, 3.1, 3.2, 3.3]
    assert differences[0] + differences[2] > 0
    assert permutation_p(differences, rng()) == 8 / 128
    interval = paired_interval(differences, rng())
    assert interval.low == pytest.approx(0.0, abs=1e-10)
    assert not interval.excludes(0.0)


def test_above_sixteen_seeds_the_interval_agrees_with_the_test_up_to_its_random_patterns():
    # 20 seeds, shifted so that the exact p is near 0.05: its Monte Carlo error is 0.001, so 0.055 is 5 of them away.
    for seed in range(10):
        differences = rng(seed).normal(0.05, 0.1, size=20)
        interval = paired_interval(differences, rng(1))
        if interval.excludes(0.0):
            assert permutation_p(differences, rng(2)) < 0.055
    assert paired_interval(differences, rng(1)) == paired_interval(differences, rng(1))


def test_interval_is_cut_at_its_bounds_and_only_if_asked():
    differences = [-0.9, -0.95, -0.9, 0.0, -0.92]
    whole = paired_interval(differences, rng())
    assert whole.high > 0.0
    assert whole.low < -1.0
    cut = paired_interval(differences, rng(), bounds=(-1.0, 0.0))
    assert (cut.low, cut.mean, cut.high) == (-1.0, whole.mean, 0.0)
    assert paired_interval(differences, rng(), bounds=(-9.0, 9.0)) == whole
    with pytest.raises(ValueError, match=r"expected differences in \[-0.9, 1\], got"):
        paired_interval(differences, rng(), bounds=(-0.9, 1.0))
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
        paired_interval(differences, rng(), confidence=95)


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
def test_so_many_seeds_show_a_shift_of_a_tenth(sd, power, seeds):
    assert detectable_shift(sd, seeds, power) <= 0.1 < detectable_shift(sd, seeds - 1, power)


def test_detectable_shift_at_its_edges():
    assert detectable_shift(0.0, 5) == 0.0
    assert detectable_shift(0.1, 1) == math.inf
    # A normal approximation is close at this many seeds: sd (z.975 + z.8) / sqrt(S).
    assert detectable_shift(5.0, 20_000) == pytest.approx(5.0 * (1.959964 + 0.841621) / math.sqrt(20_000), rel=1e-3)
    with pytest.raises(ValueError, match="alpha"):
        detectable_shift(0.1, 5, power=0.01)


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


@pytest.mark.parametrize(
    ("arm", "against", "p"),
    [("11111111", "00000000", 2 / 256), ("11110000", "11110000", 1.0), ("111110", "000001", 14 / 64), ("1", "0", 1.0)],
)
def test_paired_collapse_counts_the_seeds_in_which_the_arms_differ(arm, against, p):
    ours, theirs = ([letter == "1" for letter in word] for word in (arm, against))
    assert paired_collapse_p(ours, theirs) == paired_collapse_p(theirs, ours) == pytest.approx(p)
    discordant = sum(one != other for one, other in zip(ours, theirs, strict=True))
    only = sum(one and not other for one, other in zip(ours, theirs, strict=True))
    assert binomial_p(only, discordant) == pytest.approx(stats.binomtest(only, discordant).pvalue if discordant else 1)
    with pytest.raises(ValueError, match="equal length"):
        paired_collapse_p(ours, [True, False, True])


def test_noise_floor_is_pooled_within_seeds():
    assert noise_floor([[0.90, 0.94], [0.40, 0.44]]) == pytest.approx(0.04 / math.sqrt(2))
    assert noise_floor([[0.0, 0.2], [0.5, 0.5, 0.5]]) == pytest.approx(math.sqrt(0.02 / 2))
    assert noise_floor([[1.0, 1.0]]) == 0.0
    for draws in ([], [[0.1, 0.2], [0.1]], [[0.1, math.nan]]):
        with pytest.raises(ValueError, match="expected"):
            noise_floor(draws)


def test_noise_floor_of_normal_noise_is_its_sd():
    # 400 seeds of 3 draws, sd 0.1: a chi-square of 800 degrees of freedom; error rate 0.001.
    draws = rng(2).normal(rng(3).normal(size=(400, 1)), 0.1, size=(400, 3))
    low, high = (0.1 * math.sqrt(stats.chi2.ppf(q, 800) / 800) for q in (0.0005, 0.9995))
    assert low <= noise_floor(list(draws)) <= high


@pytest.mark.parametrize("num", [2, 5, 11, 40])
def test_what_is_written_out_here_agrees_with_scipy_stats(num):
    """`scipy.stats` takes half a second to import, so the lab asks `scipy.special`; both must say the same."""
    draws = np.random.default_rng([30, num])
    values = draws.lognormal(-3.0, 1.0, num)
    p = draws.uniform(size=num) ** 3
    p[-1] = p[0]  # a tie
    error = 1e-12

    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p), abs=error)
    assert intervals._skewness(values[None]) == pytest.approx(stats.skew(values[None], axis=1), rel=1e-9, abs=error)
    for margin in (0.01, 0.05, 0.3):
        above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(values, margin, alternative="less").pvalue
        assert tost_p(values, margin) == pytest.approx(max(above, below), abs=error)
    for successes in range(num + 1):
        bounds = stats.binomtest(successes, num).proportion_ci(0.95, method="exact")
        assert clopper_pearson(successes, num, 0.025) == pytest.approx((bounds.low, bounds.high), abs=error)
    for shift in (0.1, 0.5, 2.0):
        power = stats.ncf.sf(stats.t.isf(0.025, num - 1) ** 2, 1, num - 1, num * shift**2)
        assert tests._power(shift, num, 0.05) == pytest.approx(power, abs=1e-9)


def test_no_study_is_shown_by_way_of_scipy_stats():
    program = "import sys, kerf.runs.report, kerf.lab.exact.gate; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
