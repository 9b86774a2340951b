"""Against closed forms of the equal-variance Gaussian observer, and against sums over all pairs."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kerf.lab.statistics.detection import (
    BLOCK,
    criterion,
    d_a,
    d_prime,
    generalisation_gradient,
    hamming_to_nearest,
    ideal_criterion,
    roc,
)

GRID = np.linspace(-12.0, 12.0, 24_001)
"""Evidence of a Gaussian observer, fine enough to sum over instead of integrating."""


def gaussians(separation: float) -> tuple[np.ndarray, np.ndarray]:
    """Densities of signal and noise on `GRID`, `separation` apart, with the midpoint at 0."""
    return stats.norm.pdf(GRID, separation / 2), stats.norm.pdf(GRID, -separation / 2)


@st.composite
def situations(draw):
    """Scores with many ties and two vectors of weights, some of them 0."""
    num = draw(st.integers(1, 12))
    weights = st.lists(st.integers(0, 5).map(lambda count: count / 7), min_size=num, max_size=num).filter(any)
    scores = draw(st.lists(st.integers(-4, 4), min_size=num, max_size=num))
    return np.array(scores, float), np.array(draw(weights)), np.array(draw(weights))


def auc_by_pairs(scores, signal, noise) -> float:
    better = (scores[:, None] > scores[None, :]) + 0.5 * (scores[:, None] == scores[None, :])
    return signal @ better @ noise / (signal.sum() * noise.sum())


def test_roc_by_hand_with_ties():
    curve = roc([0.5, 0.9, 0.1, 0.5], [0.2, 0.4, 0.3, 0.1], [1.0, 1.0, 6.0, 2.0])
    assert curve.hits.tolist() == pytest.approx([0.0, 0.4, 0.7, 1.0])
    assert curve.false_alarms.tolist() == pytest.approx([0.0, 0.1, 0.4, 1.0])
    assert curve.thresholds.tolist() == [math.inf, 0.9, 0.5, 0.1]
    # 0.9 beats all but its tie, the two of 0.5 tie with each other and beat 0.1: 0.4 * 0.95 + 0.3 * 0.75 + 0.3 * 0.3.
    assert curve.auc == pytest.approx(0.695)


def test_one_score_for_all_cannot_tell():
    curve = roc([0.3, 0.3], [1.0, 0.0], [0.0, 1.0])
    assert curve.hits.tolist() == curve.false_alarms.tolist() == [0.0, 1.0]
    assert curve.auc == 0.5


def test_scores_that_nobody_sees_are_no_points():
    curve = roc([0.1, 0.2, 0.3], [1.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    assert curve.thresholds.tolist() == [math.inf, 0.3, 0.1]


@settings(derandomize=True)
@given(situations())
def test_auc_is_that_of_all_pairs_and_of_the_polygon(drawn):
    curve = roc(*drawn)
    assert curve.auc == pytest.approx(auc_by_pairs(*drawn), abs=1e-12)
    assert curve.auc == pytest.approx(np.trapezoid(curve.hits, curve.false_alarms), abs=1e-12)
    for points in (curve.hits, curve.false_alarms):
        assert points[0] == 0.0
        assert points[-1] == 1.0
        assert (np.diff(points) >= 0).all()
    assert (np.diff(curve.thresholds) < 0).all()


@settings(derandomize=True)
@given(situations())
def test_auc_depends_on_the_order_of_the_scores_alone(drawn):
    scores, signal, noise = drawn
    auc = roc(scores, signal, noise).auc
    for transformed in (3.0 * scores - 2.0, np.exp(scores), scores**3, np.where(scores == 4, np.inf, scores)):
        assert roc(transformed, signal, noise).auc == auc
    assert roc(-scores, signal, noise).auc == pytest.approx(1.0 - auc, abs=1e-15)


@settings(derandomize=True)
@given(situations())
def test_swapping_signal_and_noise_mirrors_the_auc(drawn):
    scores, signal, noise = drawn
    assert roc(scores, noise, signal).auc == pytest.approx(1.0 - roc(scores, signal, noise).auc, abs=1e-15)


@pytest.mark.parametrize("seed", range(20))
def test_equal_weights_give_exactly_a_half_and_separate_ones_exactly_one(seed):
    rng = np.random.default_rng(seed)
    scores, weights = rng.random(257).round(2), rng.random(257)
    assert roc(scores, weights, weights).auc == 0.5
    assert d_a(roc(scores, weights, weights).auc) == 0.0
    high = scores > 0.5
    assert roc(scores, weights * high, weights * ~high).auc == 1.0
    assert roc(scores, weights * ~high, weights * high).auc == 0.0


@pytest.mark.parametrize("separation", [0.0, 0.3, 1.0, 2.5])
def test_gaussian_auc_and_d_a(separation):
    # A policy that leaves with a probability that rises with the evidence, however it does.
    curve = roc(stats.norm.cdf(GRID / 20 - 0.3), *gaussians(separation))
    assert curve.auc == pytest.approx(stats.norm.cdf(separation / math.sqrt(2)), abs=1e-6)
    assert d_a(curve.auc) == pytest.approx(separation, abs=1e-5)


def test_d_a_at_its_ends():
    assert d_a(1.0) == math.inf
    assert d_a(0.0) == -math.inf
    assert d_a(0.5) == 0.0
    assert d_a(0.2) == pytest.approx(-d_a(0.8))


def test_d_prime_and_criterion_by_hand():
    # z(0.8413) = 1, z(0.0228) = -2.
    assert d_prime(0.8413447460685429, 0.022750131948179195) == pytest.approx(3.0)
    assert criterion(0.8413447460685429, 0.022750131948179195) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("hit", "false_alarm", "sensitivity", "bias"),
    [
        (1.0, 0.5, math.inf, -math.inf),
        (0.5, 0.0, math.inf, math.inf),
        (0.0, 0.5, -math.inf, math.inf),
        (1.0, 0.0, math.inf, math.nan),
        (0.0, 1.0, -math.inf, math.nan),
        (0.0, 0.0, math.nan, math.inf),
        (1.0, 1.0, math.nan, -math.inf),
    ],
)
def test_certain_rates_are_not_clipped(hit, false_alarm, sensitivity, bias):
    assert d_prime(hit, false_alarm) == pytest.approx(sensitivity, nan_ok=True)
    assert criterion(hit, false_alarm) == pytest.approx(bias, nan_ok=True)


def test_counted_rates_are_corrected_log_linearly():
    # 10 of 10 and 1 of 20 become 10.5 of 11 and 1.5 of 21.
    z_hit, z_false_alarm = stats.norm.ppf(10.5 / 11), stats.norm.ppf(1.5 / 21)
    assert d_prime(1.0, 0.05, trials=(10, 20)) == pytest.approx(z_hit - z_false_alarm)
    assert criterion(1.0, 0.05, trials=(10, 20)) == pytest.approx(-(z_hit + z_false_alarm) / 2)


@pytest.mark.parametrize("separation", [0.4, 1.0, 2.5])
@pytest.mark.parametrize(("prior_signal", "benefit", "cost"), [(0.5, 1.0, 1.0), (0.1, 5.0, 2.0), (0.4, 3.0, 0.5)])
def test_ideal_observer_is_the_best_rule_on_the_grid(separation, prior_signal, benefit, cost):
    prior_noise = 0.8 - prior_signal  # the rest are no emergencies of any kind
    ideal = ideal_criterion(prior_signal, prior_noise, benefit, cost, separation)
    signal, noise = gaussians(separation)
    leaves = prior_signal * signal * benefit > prior_noise * noise * cost
    step = GRID[1] - GRID[0]
    assert ideal.hit == pytest.approx((signal * leaves).sum() * step, abs=1e-3)
    assert ideal.false_alarm == pytest.approx((noise * leaves).sum() * step, abs=1e-3)
    assert d_prime(ideal.hit, ideal.false_alarm) == pytest.approx(separation)
    assert criterion(ideal.hit, ideal.false_alarm) == pytest.approx(ideal.criterion)


@pytest.mark.parametrize("penalty", [0.0, 0.5, 4.0])
def test_a_penalty_moves_the_criterion_and_nothing_else(penalty):
    cost, separation = 2.0, 1.5
    before = ideal_criterion(0.2, 0.3, 5.0, cost, separation)
    after = ideal_criterion(0.2, 0.3, 5.0, cost + penalty, separation)
    assert after.criterion - before.criterion == pytest.approx(math.log(1 + penalty / cost) / separation)
    assert d_prime(after.hit, after.false_alarm) == pytest.approx(separation)


def test_who_cannot_tell_leaves_always_or_never():
    for cost, leaves in ((1.5 - 1e-9, True), (1.5, False), (1.5 + 1e-9, False)):  # 0.25 * 3 = 0.5 * 1.5
        ideal = ideal_criterion(0.25, 0.5, 3.0, cost, 0.0)
        assert ideal.hit == ideal.false_alarm == float(leaves)
        assert ideal.criterion == (-math.inf if leaves else math.inf)
        nearly = ideal_criterion(0.25, 0.5, 3.0, cost + (-0.01 if leaves else 0.01), 1e-6)
        assert nearly.hit == nearly.false_alarm == float(leaves)


@pytest.mark.parametrize("separation", [0.0, 1.0, math.inf])
def test_nothing_to_lose_or_nothing_to_gain(separation):
    assert ideal_criterion(0.2, 0.3, 5.0, 0.0, separation).false_alarm == 1.0
    assert ideal_criterion(0.2, 0.0, 5.0, 1.0, separation).hit == 1.0
    for prior_signal, benefit, cost in ((0.0, 5.0, 1.0), (0.2, 0.0, 1.0), (0.2, -1.0, 1.0), (0.2, 0.0, 0.0)):
        assert ideal_criterion(prior_signal, 0.3, benefit, cost, separation).hit == 0.0


def test_who_always_tells_is_never_wrong():
    ideal = ideal_criterion(0.2, 0.3, 5.0, 100.0, math.inf)
    assert (ideal.criterion, ideal.hit, ideal.false_alarm) == (0.0, 1.0, 0.0)


def test_gradient_by_hand():
    gradient = generalisation_gradient([-0.5, -0.1, -0.3, 0.2, 0.0], [0, 2, 0, 2, 3], [1.0, 3.0, 3.0, 1.0, 0.0])
    assert gradient.distance.tolist() == [0.0, 2.0]
    assert gradient.change.tolist() == pytest.approx([-0.35, -0.025])
    assert gradient.weight.tolist() == [4.0, 4.0]
    plain = generalisation_gradient([-0.5, -0.1, -0.3], [1, 0, 1])
    assert plain.change.tolist() == pytest.approx([-0.1, -0.4])
    assert plain.weight.tolist() == [1.0, 2.0]


@settings(derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
def test_hamming_is_that_of_all_pairs(seed, num, num_penalised, num_fields):
    rng = np.random.default_rng(seed)
    ours = rng.integers(0, 3, (num, num_fields))
    theirs = rng.integers(0, 3, (num_penalised, num_fields))
    by_hand = [min(sum(a != b for a, b in zip(row, other, strict=True)) for other in theirs) for row in ours]
    assert hamming_to_nearest(ours, theirs).tolist() == by_hand
    assert hamming_to_nearest(ours.astype(float), theirs > 0).tolist() == hamming_to_nearest(ours, theirs > 0).tolist()


def test_hamming_of_many_with_many_stays_small():
    rng = np.random.default_rng(3)
    ours, theirs = rng.random((4096, 16)).round(1), rng.random((4096, 16)).round(1)
    assert len(ours) * len(theirs) > 2 * BLOCK
    tracemalloc.start()
    nearest = hamming_to_nearest(ours, theirs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * BLOCK  # bytes
    for row in (0, 1023, 1024, 4095):
        assert nearest[row] == (ours[row] != theirs).sum(axis=1).min()


def test_hamming_beyond_what_a_byte_counts():
    assert hamming_to_nearest(np.zeros((1, 300)), np.ones((2, 300))).tolist() == [300]


NAN = math.nan


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: roc([], [], []), r"scores must have shape \(n,\)"),
        (lambda: roc([[0.1]], [1.0], [1.0]), r"got shape \(1, 1\)"),
        (lambda: roc([NAN, 0.1], [1, 1], [1, 1]), "scores must hold no NaN, got 1 of 2"),
        (lambda: roc([0.2, 0.1], [1, -1e-9], [1, 1]), "weights_signal must be >= 0, got -1e-09"),
        (lambda: roc([0.2, 0.1], [1, 1], [NAN, 1]), "weights_noise must be >= 0, got nan"),
        (lambda: roc([0.2, 0.1], [1, math.inf], [1, 1]), "weights_signal must have a finite sum > 0, got inf"),
        (lambda: roc([0.2, 0.1], [1, 1], [0, 0]), "weights_noise must have a finite sum > 0, got 0.0"),
        (lambda: roc([0.2, 0.1], [1, 1, 1], [1, 1]), r"weights_signal must have shape \(2,\), got shape \(3,\)"),
        (lambda: d_a(1.1), r"auc must be in \[0, 1\], got 1.1"),
        (lambda: d_a(NAN), "auc must be in"),
        (lambda: d_prime(-0.1, 0.5), r"hit must be in \[0, 1\], got -0.1"),
        (lambda: criterion(0.1, NAN), "false_alarm must be in"),
        (lambda: criterion(1.2, 0.1, trials=(10, 10)), "hit must be in"),
        (lambda: d_prime(0.1, 0.1, trials=(0, 10)), r"trials must be finite and > 0, .* got \(0, 10\)"),
        (lambda: ideal_criterion(-0.1, 0.3, 1, 1, 1), "prior_signal must be finite and >= 0, got -0.1"),
        (lambda: ideal_criterion(0.1, math.inf, 1, 1, 1), "prior_noise must be finite"),
        (lambda: ideal_criterion(0.1, 0.1, NAN, 1, 1), "benefit must be finite, got nan"),
        (lambda: ideal_criterion(0.1, 0.1, 1, -1, 1), "cost must be finite and >= 0, got -1"),
        (lambda: ideal_criterion(0.1, 0.1, 1, 1, -0.5), "d_prime must be >= 0, got -0.5"),
        (lambda: ideal_criterion(0.1, 0.1, 1, 1, NAN), "d_prime must be >= 0, got nan"),
        (lambda: generalisation_gradient([0.1], [1, 2]), r"one distance per change \(1\), got 2"),
        (lambda: generalisation_gradient([1.5], [1]), r"in \[-1, 1\], got 1.5"),
        (lambda: generalisation_gradient([0.5], [math.inf]), "finite distances >= 0, got inf"),
        (lambda: generalisation_gradient([0.5], [-1]), "finite distances >= 0, got -1.0"),
        (lambda: generalisation_gradient([0.5], [1], [0.0]), "weights must have a finite sum > 0"),
        (lambda: generalisation_gradient([], []), r"change must have shape \(n,\)"),
        (lambda: hamming_to_nearest([[1, 0]], [[1]]), r"got shapes \(1, 2\), \(1, 1\)"),
        (lambda: hamming_to_nearest([[1, 0]], np.empty((0, 2))), "m and K >= 1"),
        (lambda: hamming_to_nearest([1, 0], [[1, 0]]), r"got shapes \(2,\), \(1, 2\)"),
        (lambda: hamming_to_nearest([[1, NAN]], [[1, 0]]), "expected no NaN in situations, got 1 rows"),
    ],
)
def test_refusals_say_what_was_expected_and_what_came(call, match):
    with pytest.raises(ValueError, match=match):
        call()
