"""Error rates below are those of the tests themselves; every random input has a fixed seed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from kerf.lab.statistics.psychometric import STEEPNESS, Psychometric, bootstrap_psychometric, fit_psychometric

EVIDENCE = np.linspace(-6.0, 6.0, 41)


def curve(threshold: float, slope: float, guess: float = 0.0, lapse: float = 0.0) -> Psychometric:
    return Psychometric(threshold, slope, guess, lapse, deviance=0.0, converged=True)


def parameters(fit: Psychometric) -> list[float]:
    return [fit.threshold, fit.slope, fit.guess, fit.lapse]


def test_prediction_by_hand():
    known = curve(1.0, 2.0, 0.1, 0.3)
    assert known.predict([-math.inf, 1.0, 1.5, math.inf]).tolist() == pytest.approx(
        [0.1, 0.4, 0.1 + 0.6 * expit(1), 0.7]
    )
    assert curve(1.0, -2.0, 0.1, 0.3).predict([[-math.inf, math.inf]]) == pytest.approx(np.array([[0.7, 0.1]]))


@pytest.mark.parametrize("slope", [0.7, 2.0, 15.0, -1.5])
@pytest.mark.parametrize("threshold", [-2.1, 0.0, 3.3])
@pytest.mark.parametrize(("guess", "lapse"), [(0.0, 0.0), (0.05, 0.0), (0.2, 0.3)])
def test_known_parameters_are_recovered(threshold, slope, guess, lapse):
    known = curve(threshold, slope, guess, lapse)
    fit = fit_psychometric(EVIDENCE, known.predict(EVIDENCE))
    assert parameters(fit) == pytest.approx(parameters(known), rel=2e-2, abs=5e-3)
    assert fit.predict(EVIDENCE) == pytest.approx(known.predict(EVIDENCE), abs=1e-4)
    assert fit.deviance == pytest.approx(0.0, abs=1e-5)
    assert fit.converged


@pytest.mark.parametrize("seed", range(8))
def test_the_fit_beats_the_truth_on_drawn_data_by_no_more_than_four_parameters_can(seed):
    # Twice the gain in log-likelihood is chi-squared with 4 degrees of freedom; error rate 0.001 in all.
    known = curve(0.5, 1.2, 0.1, 0.15)
    trials = 200
    counts = np.random.default_rng(seed).binomial(trials, known.predict(EVIDENCE))
    rates = counts / trials
    fit = fit_psychometric(EVIDENCE, rates, np.full(len(rates), trials))
    predicted = known.predict(EVIDENCE)
    true_deviance = (
        2 * stats.binom.logpmf(counts, trials, rates).sum() - 2 * stats.binom.logpmf(counts, trials, predicted).sum()
    )
    assert 0 <= true_deviance - fit.deviance < stats.chi2.isf(0.001 / 8, 4)
    assert fit.converged


def test_soft_targets_are_worth_as_much_as_the_trials_they_stand_for():
    rng = np.random.default_rng(4)
    evidence = np.repeat(EVIDENCE, 6)
    left = (rng.random(len(evidence)) < curve(0.0, 1.0, 0.05, 0.05).predict(evidence)).astype(float)
    single = fit_psychometric(evidence, left)
    grouped = fit_psychometric(EVIDENCE, left.reshape(-1, 6).mean(axis=1), np.full(len(EVIDENCE), 6))
    assert parameters(single) == pytest.approx(parameters(grouped), rel=1e-5)
    # The deviance of single trials is measured from certainty, not from the rate at their evidence.
    assert single.deviance > grouped.deviance + 10


def test_deviance_by_hand():
    # Targets of 0.2 and 0.6 at the same evidence: the curve can at best go through 0.4.
    known = curve(0.0, 1.0)
    evidence = np.append(EVIDENCE, [math.log(2 / 3)] * 2)
    leave = np.append(known.predict(EVIDENCE), [0.2, 0.6])
    spread = stats.entropy([0.2, 0.8], [0.4, 0.6]) + stats.entropy([0.6, 0.4], [0.4, 0.6])
    for weight in (1.0, 2.5):
        fit = fit_psychometric(evidence, leave, np.full(len(leave), weight))
        assert fit.deviance == pytest.approx(2 * weight * spread, rel=1e-4)
        assert parameters(fit) == pytest.approx(parameters(known), abs=1e-2)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 6.0])
def test_a_penalty_moves_the_threshold_of_an_observer_that_matches_its_posterior(penalty):
    # P(leave) = P(T|x) B / [P(T|x) B + P(F|x) (C + L)]: slope 1, threshold ln[pi_F (C + L) / (pi_T B)].
    genuine, false, benefit, cost = 0.2, 0.3, 5.0, 2.0
    gain, loss = genuine * benefit * np.exp(EVIDENCE), false * (cost + penalty)
    fit = fit_psychometric(EVIDENCE, gain / (gain + loss))
    assert fit.threshold == pytest.approx(math.log(false * (cost + penalty) / (genuine * benefit)), abs=1e-3)
    assert fit.slope == pytest.approx(1.0, abs=1e-3)


def test_unit_and_origin_of_the_evidence_do_not_matter():
    leave = np.clip(curve(1.0, 1.5, 0.1, 0.1).predict(EVIDENCE) + 0.05 * np.cos(7 * EVIDENCE), 0, 1)
    plain = fit_psychometric(EVIDENCE, leave)
    moved = fit_psychometric(1e-3 * EVIDENCE + 5.0, leave)
    assert moved.threshold == pytest.approx(1e-3 * plain.threshold + 5.0)
    assert moved.slope == pytest.approx(1e3 * plain.slope, rel=1e-4)
    assert [moved.guess, moved.lapse] == pytest.approx([plain.guess, plain.lapse], abs=1e-5)
    turned = fit_psychometric(-EVIDENCE, leave)
    assert parameters(turned) == pytest.approx([-plain.threshold, -plain.slope, plain.guess, plain.lapse], rel=1e-3)


def test_infinite_evidence_bears_on_its_asymptote_alone():
    known = curve(0.5, 1.5, 0.1, 0.2)
    evidence = np.concatenate(([-math.inf], EVIDENCE, [math.inf]))
    assert parameters(fit_psychometric(evidence, known.predict(evidence))) == pytest.approx(parameters(known), abs=1e-3)
    # Nearly all the weight on a tell that gives it away, and a policy that heeds it more than weak evidence.
    weights = np.where(np.isinf(evidence), 1e4, 1.0)
    leave = np.where(evidence == -math.inf, 0.02, known.predict(evidence))
    fit = fit_psychometric(evidence, leave, weights)
    assert fit.guess == pytest.approx(0.02, abs=2e-3)
    assert fit.lapse == pytest.approx(0.2, abs=2e-3)
    assert all(map(math.isfinite, parameters(fit)))
    assert -2 < fit.threshold < 1.5


def test_situations_without_weight_do_not_count():
    known = curve(0.5, 1.5, 0.1, 0.2)
    evidence, leave = np.append(EVIDENCE, [-math.inf, 90.0]), np.append(known.predict(EVIDENCE), [1.0, 0.0])
    fit = fit_psychometric(evidence, leave, np.append(np.ones(len(EVIDENCE)), [0, 0]))
    assert fit == fit_psychometric(EVIDENCE, known.predict(EVIDENCE))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_behaviour_is_flat_and_has_no_threshold(level):
    fit = fit_psychometric(EVIDENCE, np.full(len(EVIDENCE), level), np.arange(1, len(EVIDENCE) + 1) / 7)
    assert math.isnan(fit.threshold)
    assert fit.flat
    assert fit.slope == 0.0
    assert fit.guess == pytest.approx(level)
    assert fit.lapse == pytest.approx(1 - level)
    assert fit.deviance == pytest.approx(0.0, abs=1e-12)
    assert fit.predict([-math.inf, 0.0, math.inf]).tolist() == pytest.approx([level] * 3)


def test_behaviour_that_varies_without_regard_to_the_evidence_is_flat():
    evidence = np.tile(EVIDENCE, 2)
    fit = fit_psychometric(evidence, np.repeat([0.2, 0.6], len(EVIDENCE)))
    assert fit.flat
    assert fit.guess == pytest.approx(0.4)
    hardly = fit_psychometric(evidence, np.repeat([0.2, 0.6], len(EVIDENCE)) + 1e-5 * evidence)
    assert hardly.flat
    assert not fit_psychometric(evidence, np.repeat([0.2, 0.6], len(EVIDENCE)) + 1e-3 * evidence).flat


def test_what_is_constant_up_to_rounding_is_flat():
    for level in (0.3, 0.35, 0.4):  # in two of them the deviances' own rounding looks like a curve
        assert fit_psychometric(EVIDENCE, np.full(len(EVIDENCE), level)).flat
        assert fit_psychometric(EVIDENCE, level + 1e-14 * EVIDENCE).flat
    assert not fit_psychometric(EVIDENCE, 0.3 + 1e-7 * EVIDENCE).flat


def test_what_has_no_weight_has_no_deviance():
    fit = fit_psychometric(EVIDENCE, (EVIDENCE == 0).astype(float), (EVIDENCE != 0).astype(float))
    assert fit.flat
    assert fit.deviance == 0.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_rule_is_a_step_between_the_two_values_where_it_switches(sign):
    leave = (sign * EVIDENCE > 1.4).astype(float)
    fit = fit_psychometric(EVIDENCE, leave)
    assert 1.2 < sign * fit.threshold < 1.5
    assert 20 < sign * fit.slope <= STEEPNESS[1] / 6
    assert fit.predict(EVIDENCE) == pytest.approx(leave, abs=1e-3)
    assert fit.converged


def test_rare_leaving_is_seen_on_its_own_scale():
    known = curve(0.5, 2.0, 1e-5, 1 - 1e-3)
    fit = fit_psychometric(EVIDENCE, known.predict(EVIDENCE))
    assert fit.threshold == pytest.approx(0.5, abs=0.05)
    assert fit.predict(EVIDENCE) == pytest.approx(known.predict(EVIDENCE), rel=0.05)


THRESHOLDS = [-1.0, 0.2, 0.9, 0.4, 1.5, -0.3]


def by_seed(thresholds=THRESHOLDS) -> np.ndarray:
    return np.stack([curve(threshold, 1.5, 0.1, 0.05).predict(EVIDENCE) for threshold in thresholds])


def test_bootstrap_is_scipys_percentile_interval_of_the_seeds_own_curves():
    result = bootstrap_psychometric(EVIDENCE, by_seed(), np.random.default_rng(2))
    assert [fit.threshold for fit in result.fits] == pytest.approx(THRESHOLDS, abs=1e-3)
    theirs = stats.bootstrap(
        (THRESHOLDS,), np.mean, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    # Monte Carlo error of a 2.5% quantile over 9999 resamples, with room to spare.
    assert result.threshold.low == pytest.approx(theirs.low, abs=0.05)
    assert result.threshold.high == pytest.approx(theirs.high, abs=0.05)
    assert result.threshold.mean == pytest.approx(np.mean(THRESHOLDS), abs=1e-3)
    assert result.threshold.num == 6
    assert result.threshold.reliable
    # The curve of the mean policy would be shallower than every seed's own.
    assert result.slope.mean == pytest.approx(1.5, abs=1e-2)
    assert fit_psychometric(EVIDENCE, by_seed().mean(axis=0)).slope < 1.4
    narrow = bootstrap_psychometric(EVIDENCE, by_seed(), np.random.default_rng(2), confidence=0.5).threshold
    assert result.threshold.low < narrow.low < narrow.high < result.threshold.high


def test_the_generator_decides_the_resamples():
    def interval(seed):
        return bootstrap_psychometric(EVIDENCE, by_seed(), np.random.default_rng(seed), num_resamples=99).threshold

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_few_seeds_are_unreliable_and_one_has_no_interval():
    few = bootstrap_psychometric(EVIDENCE, by_seed(THRESHOLDS[:4]), np.random.default_rng(0))
    assert few.threshold.bounded
    assert not few.threshold.reliable
    assert bootstrap_psychometric(EVIDENCE, by_seed(THRESHOLDS[:5]), np.random.default_rng(0)).threshold.reliable
    single = bootstrap_psychometric(EVIDENCE, by_seed([0.7]), np.random.default_rng(0)).threshold
    assert single.mean == pytest.approx(0.7, abs=1e-3)
    assert not single.bounded
    assert not single.reliable


def test_seeds_that_never_leave_have_no_threshold_to_average():
    leave = by_seed()
    leave[[1, 4]] = 0.0
    result = bootstrap_psychometric(EVIDENCE, leave, np.random.default_rng(0))
    assert result.threshold.num == 4
    assert not result.threshold.reliable
    assert result.threshold.mean == pytest.approx(np.mean([-1.0, 0.9, 0.4, -0.3]), abs=1e-3)
    assert result.lapse.num == 6
    assert result.lapse.mean == pytest.approx((4 * 0.05 + 2 * 1.0) / 6, abs=1e-3)
    nobody = bootstrap_psychometric(EVIDENCE, np.zeros((6, len(EVIDENCE))), np.random.default_rng(0))
    assert nobody.threshold.num == 0
    assert math.isnan(nobody.threshold.mean)
    assert (nobody.slope.low, nobody.slope.high) == (0.0, 0.0)


def test_fits_that_did_not_converge_are_kept_but_not_averaged(monkeypatch):
    def fit(evidence, leave, weights):
        return replace(curve(leave[0], 1.0), converged=leave[0] < 3)

    monkeypatch.setattr("kerf.lab.statistics.psychometric.fit_psychometric", fit)
    result = bootstrap_psychometric(EVIDENCE, [[1.0], [2.0], [9.0]], np.random.default_rng(0))
    assert len(result.fits) == 3
    assert (result.threshold.mean, result.threshold.num, result.slope.num) == (1.5, 2, 2)


RISING = np.linspace(0.1, 0.9, 5)


def bootstrap(leave_by_seed, **settings):
    return bootstrap_psychometric(np.arange(5), leave_by_seed, np.random.default_rng(0), **settings)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: fit_psychometric([0, 1, 2, 3], RISING), r"one shape \(n,\), n >= 1, got \(4,\) and \(5,\)"),
        (lambda: fit_psychometric([0, 1, math.nan, 3, 4], RISING), "evidence must hold no NaN, got 1 of 5"),
        (lambda: fit_psychometric(np.arange(5), 2 * RISING), r"in \[0, 1\], got 0.2 to 1.8"),
        (lambda: fit_psychometric(np.arange(5), [0, 1, math.nan, 1, 1]), r"in \[0, 1\], got nan"),
        (lambda: fit_psychometric([0, 1, 1, 2, 2], RISING), "expected >= 4 distinct values .* got 3, 3 of them finite"),
        (lambda: fit_psychometric([], []), r"one shape \(n,\), n >= 1, got \(0,\)"),
        (
            lambda: fit_psychometric([0, 1, 2, math.inf, -math.inf], RISING, [1, 0, 0, 1, 1]),
            "got 3, 1 of them finite",
        ),
        (lambda: fit_psychometric(np.arange(5), RISING, -np.ones(5)), "weights must be >= 0, got -1.0"),
        (lambda: fit_psychometric(np.arange(5), RISING, np.zeros(5)), "weights must have a finite sum > 0"),
        (lambda: fit_psychometric(np.arange(5), RISING, np.ones(4)), r"weights must have shape \(5,\)"),
        (lambda: bootstrap(RISING), r"leave_by_seed must have shape \(S, n\) with S >= 1, got shape \(5,\)"),
        (lambda: bootstrap(np.empty((0, 5))), r"got shape \(0, 5\)"),
        (lambda: bootstrap([RISING], confidence=1.0), r"confidence must be in \(0, 1\), got 1.0"),
        (lambda: bootstrap([RISING], num_resamples=0), "num_resamples must be >= 1, got 0"),
    ],
)
def test_refusals_say_what_was_expected_and_what_came(call, match):
    with pytest.raises(ValueError, match=match):
        call()
