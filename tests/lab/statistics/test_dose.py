"""Dose-response: closed forms, planted thresholds at the stated rate, and nothing found where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from kerf.lab.statistics.dose import (
    COVERAGE,
    COVERAGE_DOSES,
    COVERAGE_SEEDS,
    dose_response,
    first_beyond,
    isotonic,
    threshold,
)

DOSES = np.linspace(0.0, 1.0, 11)
FINE = np.linspace(0.0, 1.0, 401)
SWEEPS = 400
ERROR = 1e-3
"""Two-sided error of each exact binomial test of a rate, at a fixed seed."""


def responses(kind: str, num: int, rng: np.random.Generator, doses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Changes `(num, D)` of seeds that respond as `kind` says."""
    noise = rng.normal(0.0, 0.03, (num, len(doses)))
    if kind == "seeds fall in a straight line":
        return -rng.normal(0.5, 0.15, num)[:, None] * doses + noise
    depth, steepness = np.full(num, 0.9), 80.0
    if kind == "all seeds fall over one cliff":
        at, depth, steepness = rng.normal(0.37, 0.005, num), rng.normal(0.8, 0.1, num), 800.0
    elif kind == "all seeds fall at about the same dose":
        at, depth, steepness = rng.normal(0.5, 0.05, num), rng.normal(0.8, 0.1, num), 12.0
    elif kind == "seeds fall at doses of their own":
        at, depth, steepness = rng.normal(0.5, 0.2, num), rng.normal(0.8, 0.1, num), 15.0
    elif kind == "seeds collapse at doses of their own":
        at = rng.uniform(0.1, 1.1, num)
    else:
        at, steepness = np.where(rng.random(num) < 0.5, rng.normal(0.4, 0.1, num), 9.0), 40.0
    return -depth[:, None] * special.expit(steepness * (doses - at[:, None])) + noise


@pytest.mark.slow
@pytest.mark.parametrize("kind", COVERAGE)
@pytest.mark.parametrize("limit", [-0.1, -0.4])
def test_a_planted_threshold_is_in_the_interval_as_often_as_is_said(kind, limit):
    """Exact binomial test of the rate at 10 seeds against `COVERAGE` (itself from 1,000 sweeps, hence its error)."""
    rng = np.random.default_rng(17)
    curve = isotonic(responses(kind, 40_000, rng, FINE).mean(axis=0), falling=True)
    true = FINE[first_beyond(curve, limit, falling=True)]
    assert 0.1 < true < 0.95
    for number in COVERAGE_DOSES:
        doses = np.linspace(0.0, 1.0, number)
        found = [threshold(doses, responses(kind, 10, rng, doses), limit, rng) for _ in range(SWEEPS)]
        held = sum(one.low <= true <= one.high for one in found)
        said = COVERAGE[kind][limit][number][COVERAGE_SEEDS.index(10)]
        slack = 3.3 * math.sqrt(max(said * (1 - said), 0.001) / 1000)
        least, most = (
            stats.binom.ppf(q, SWEEPS, p) for q, p in ((ERROR / 2, said - slack), (1 - ERROR / 2, min(1, said + slack)))
        )
        assert least <= held <= most, (number, held / SWEEPS)


def test_the_intervals_are_of_use():
    rng = np.random.default_rng(3)
    kind = "all seeds fall at about the same dose"
    widths = [t.high - t.low for t in (threshold(DOSES, responses(kind, 10, rng, DOSES), -0.1, rng) for _ in range(50))]
    assert np.median(widths) <= 0.2 + 1e-9, "two steps of the grid"


@pytest.mark.parametrize("number", [3, 5, 11])
def test_a_cliff_between_two_doses_is_not_placed_more_finely_than_that(number):
    """All seeds fall at 0.37: an interval that interpolated between two doses would hold it by luck alone."""
    rng = np.random.default_rng(11)
    doses = np.linspace(0.0, 1.0, number)
    below, above = doses[doses < 0.37].max(), doses[doses > 0.37].min()
    for limit in (-0.01, -0.1, -0.4, -0.7):
        found = threshold(doses, np.tile(-0.8 * (doses > 0.37), (8, 1)), limit, rng)
        assert found.between == (found.low, found.high) == (below, above)
    for _ in range(20):
        found = threshold(doses, responses("all seeds fall over one cliff", 8, rng, doses), -0.3, rng)
        assert found.between == (below, above)
        assert found.low <= below < above <= found.high


def test_without_an_effect_no_threshold_is_found_and_the_slope_is_rarely_significant():
    """Exact binomial test: of sweeps without an effect at most 5% may have p < 0.05."""
    rng = np.random.default_rng(29)
    sweeps = [rng.normal(0.0, 0.05, (10, 11)) for _ in range(SWEEPS // 2)]
    assert not any(threshold(DOSES, sweep, -0.2, rng).reached for sweep in sweeps)
    found = sum(dose_response(DOSES, sweep, True, rng).p < 0.05 for sweep in sweeps)
    assert stats.binomtest(found, len(sweeps), 0.05, alternative="greater").pvalue > ERROR
    assert found > 0, "a p that never gets small shows nothing"


def test_a_straight_line_is_crossed_where_it_must_be():
    rng = np.random.default_rng(0)
    line = np.tile(-0.5 * DOSES, (6, 1))
    found = threshold(DOSES, line, -0.21, rng)
    assert (*found.between, found.low, found.high) == pytest.approx((0.4, 0.5, 0.4, 0.5))
    assert found.reached
    assert found.reliable
    rising = threshold(DOSES, -line, 0.21, rng)
    assert (*rising.between, rising.low, rising.high) == pytest.approx((0.4, 0.5, 0.4, 0.5))
    curve = dose_response(DOSES, line, True, rng)
    np.testing.assert_allclose(curve.fit, -0.5 * DOSES)
    assert curve.slope.mean == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("curve", "limit", "expected"),
    [
        ([0.0, -0.2, -0.4], -0.1, 1),
        ([0.0, -0.1, -0.1], -0.1, 1),
        ([0.0, -0.1, -0.2], -0.15, 2),
        ([-0.3, -0.4, -0.5], -0.1, 0),
        ([0.0, -0.01, -0.02], -0.1, 3),
    ],
)
def test_where_a_curve_first_comes_to_a_limit(curve, limit, expected):
    assert first_beyond(curve, limit, falling=True) == expected
    assert first_beyond(np.negative(curve), -limit, falling=False) == expected


def test_a_cure_comes_to_a_small_loss_from_below():
    rng = np.random.default_rng(0)
    cured = threshold(DOSES, np.tile(-0.5 * (1.0 - DOSES), (6, 1)), -0.21, rng)
    assert not cured.falling
    assert (*cured.between, cured.low, cured.high) == pytest.approx((0.5, 0.6, 0.5, 0.6))
    flat = threshold(DOSES, rng.normal(0.0, 0.01, (6, 11)), -0.2, rng)
    assert flat.falling, "without a slope a loss is something that has not come yet"
    assert (flat.reached, flat.low, flat.high) == (False, math.inf, math.inf)


def test_what_is_not_monotone_has_no_interval():
    rng = np.random.default_rng(0)
    found = threshold(DOSES, np.tile(-0.5 * np.sin(np.pi * DOSES), (6, 1)), -0.2, rng)
    assert math.isnan(found.low)
    assert not found.reliable


def test_the_fit_pools_what_is_out_of_order():
    np.testing.assert_allclose(isotonic([0.0, -0.3, -0.1, -0.4], falling=True), [0.0, -0.2, -0.2, -0.4])
    np.testing.assert_allclose(isotonic([0.0, -0.3, -0.1, -0.4], falling=False), [-0.2] * 4)


def test_one_seed_has_an_estimate_and_no_interval():
    found = threshold(DOSES, -0.5 * DOSES[None], -0.21, np.random.default_rng(0))
    assert found.between == pytest.approx((0.4, 0.5))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert not found.reliable


@pytest.mark.parametrize(
    ("doses", "changes", "limit", "message"),
    [
        ([0.0], [[0.0]], -0.1, "D >= 2"),
        ([0.0, 1.0], [[0.0, 1.0, 2.0]], -0.1, "changes"),
        ([1.0, 0.0], [[0.0, 1.0]], -0.1, "ascending"),
        ([0.0, 1.0], [[0.0, math.nan]], -0.1, "finite"),
        ([0.0, 1.0], [[0.0, 1.0]], 0.0, "not 0"),
    ],
)
def test_what_makes_no_sense_is_refused(doses, changes, limit, message):
    with pytest.raises(ValueError, match=message):
        threshold(doses, changes, limit, np.random.default_rng(0))
