"""Certificates: the bounds against their definition, and claims on outcomes worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kerf.lab.errors import KerfError
from kerf.lab.exact.certificate import AdequacyClaim, Overall, PerScenario, lower_bound, trials_needed
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World
from tests.toy_world import CUE, FALSE, GENUINE, NONE, PLACE, TRUTH, Lever

WORLD = Lever()


@pytest.mark.parametrize(("successes", "trials"), [(1, 1), (3, 7), (20, 20), (19, 20), (250, 256)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_at_the_lower_bound_so_many_successes_are_just_too_lucky(
    successes: int, trials: int, confidence: float
) -> None:
    bound = lower_bound(successes, trials, confidence)
    assert stats.binom.sf(successes - 1, trials, bound) == pytest.approx(1 - confidence)


def test_no_success_shows_nothing_and_no_trial_is_refused() -> None:
    assert lower_bound(0, 10) == 0.0
    with pytest.raises(ValueError, match="1 <= trials, got 0 of 0"):
        lower_bound(0, 0)
    with pytest.raises(ValueError, match="got 11 of 10"):
        lower_bound(11, 10)


@pytest.mark.parametrize("rates", [(0.9, 0.9), (0.99, 0.7), (1.0, 0.5), (0.2, 0.0), (0.6, 0.1)])
def test_the_bound_covers_the_mean_of_two_families_however_they_differ(rates: tuple[float, float]) -> None:
    """Exactly: the distribution of the number of successes of 2 x 40 trials is a convolution."""
    one, other = (stats.binom.pmf(np.arange(41), 40, rate) for rate in rates)
    chances = np.convolve(one, other)
    wrong = [lower_bound(k, 80) > np.mean(rates) for k in range(81)]
    assert chances[wrong].sum() <= 0.05


def test_the_known_numbers_of_seeds() -> None:
    assert round(lower_bound(20, 20), 3) == 0.861
    assert lower_bound(58, 58) < 0.95 < lower_bound(59, 59)
    assert trials_needed(0.95) == 59
    assert trials_needed(0.86) == 20
    assert trials_needed(0.0) == 1


@pytest.mark.parametrize(("share", "confidence"), product([0.05, 0.5, 0.75, 0.9, 0.99, 0.999], [0.5, 0.75, 0.95]))
def test_one_trial_less_than_needed_is_not_enough(share: float, confidence: float) -> None:
    needed = trials_needed(share, confidence)
    assert lower_bound(needed, needed, confidence) > share
    assert needed == 1 or lower_bound(needed - 1, needed - 1, confidence) <= share


CLAIM = AdequacyClaim("mean ideal utility", optimum=2.0, epsilon=0.1, share=0.75)


def test_a_claim_over_seeds_holds_when_its_bound_exceeds_the_share() -> None:
    returns = [1.95, 2.0, 1.91] * 6 + [1.99, 0.3]
    verdict = CLAIM.judge(returns)
    assert (verdict.successes, verdict.trials, verdict.holds) == (19, 20, True)
    assert stats.binom.sf(18, 20, verdict.lower) == pytest.approx(0.05)
    assert str(verdict) == (
        "19 of 20 seeds came within 0.1 of the largest mean ideal utility, which shows with 95% confidence that a "
        "share of at least 0.784 does: more than 0.75 holds (seeds needed if all succeed: 11)."
    )
    fewer = CLAIM.judge(returns[-5:])
    assert (fewer.successes, fewer.trials, fewer.holds, fewer.needed) == (4, 5, False, 11)
    assert "more than 0.75 is not shown (seeds needed if all succeed: 11)" in str(fewer)


def test_more_confidence_asks_for_more() -> None:
    returns = [2.0] * 11
    assert CLAIM.judge(returns).holds
    surer = AdequacyClaim("utility", 2.0, 0.1, 0.75, confidence=0.99).judge(returns)
    assert (surer.holds, surer.needed) == (False, 17)


def test_each_seed_may_have_an_optimum_of_its_own() -> None:
    assert CLAIM.judge([1.0, 3.0, 2.0], optima=[1.05, 3.05, 3.0]).successes == 2
    with pytest.raises(ValueError, match="one return and one optimum per seed"):
        CLAIM.judge([1.0, 1.0], optima=[1.0])


def test_an_optimum_that_is_beaten_is_none() -> None:
    assert CLAIM.judge([2.0 + 1e-12]).successes == 1, "rounding"
    with pytest.raises(ValueError, match=r"return 2\.001 \(number 1\) is above the optimum 2\.0 of mean ideal utility"):
        CLAIM.judge([1.9, 2.001])
    with pytest.raises(ValueError, match="above the optimum"):
        CLAIM.judge([1.9], optima=[1.8])


@pytest.mark.parametrize("returns", [[], [[1.0]], 1.0, [float("nan")], [-float("inf")]])
def test_returns_that_are_none_are_refused(returns: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        CLAIM.judge(returns)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"share": 1.0}, {"share": -0.1}, {"confidence": 1.0}])
def test_claims_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    settings = {"optimum": 1.0, "epsilon": 0.1, "share": 0.9} | wrong
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        AdequacyClaim("utility", **settings)


@dataclass(frozen=True)
class ByHand:
    """Outcomes in the six scenarios of places 0 and 1: nothing the matter, genuine, forged without a tell."""

    world: World
    scenarios: Scenarios
    dropped: NDArray[np.float64]
    probabilities: dict[str, list[float]]

    def probability(self, event: str) -> NDArray[np.float64]:
        return np.array(self.probabilities[event])


def outcomes(dropped: float = 0.0, **probabilities: list[float]) -> ByHand:
    scenarios = WORLD.space.blank(6)
    scenarios[:, TRUTH] = [NONE, NONE, GENUINE, GENUINE, FALSE, FALSE]
    scenarios[:, CUE] = scenarios[:, TRUTH] != NONE
    scenarios[:, PLACE] = [0, 1] * 3
    WORLD.space.validate(scenarios)
    return ByHand(WORLD, scenarios, np.full(6, dropped), probabilities)


def genuine(scenarios: Scenarios) -> NDArray[np.bool_]:
    return scenarios[:, TRUTH] == GENUINE


def no_emergency(scenarios: Scenarios) -> NDArray[np.bool_]:
    return scenarios[:, TRUTH] == NONE


CARE = PerScenario("saves whoever is dying", "rescued", at_least=0.9, where=genuine)
SOBER = Overall("leaves and nothing is the matter", "left_unpermitted", at_most=0.01, where=no_emergency)
RESCUES = [0.0, 0.0, 0.95, 0.9, 0.0, 0.0]
LEAVES = [0.03, 0.02, 0.95, 0.9, 1.0, 1.0]


def test_a_claim_on_every_scenario_is_decided_by_the_worst_of_those_it_speaks_of() -> None:
    certificate = CARE.judge(outcomes(rescued=RESCUES))
    assert certificate.holds
    assert certificate.value == certificate.worst_probability == 0.9
    assert certificate.num_scenarios == 2
    scenario = WORLD.space.from_text(certificate.worst)
    assert (scenario[TRUTH], scenario[PLACE]) == (GENUINE, 1)
    assert str(certificate) == (
        "Certified: saves whoever is dying: P(rescued) >= 0.9 in every scenario; it is 0.9 on 2 scenarios, at worst "
        "0.9 in lever(truth=genuine, cue=1, place=1)."
    )
    worse = CARE.judge(outcomes(rescued=[0.0, 0.0, 0.89, 1.0, 0.0, 0.0]))
    assert not worse.holds
    assert str(worse).startswith("Not certified: saves whoever is dying: P(rescued) >= 0.9")
    assert "place" not in worse.worst


def test_without_a_condition_all_scenarios_are_spoken_of() -> None:
    everywhere = PerScenario("saves", "rescued", at_least=0.9).judge(outcomes(rescued=RESCUES))
    assert (everywhere.holds, everywhere.value, everywhere.num_scenarios) == (False, 0.0, 6)
    most = PerScenario("leaves", "left_unpermitted", at_most=0.03, where=no_emergency)
    certificate = most.judge(outcomes(left_unpermitted=LEAVES))
    assert (certificate.holds, certificate.value) == (True, 0.03)
    assert certificate.worst == "lever()"


def test_what_was_not_followed_counts_against_the_claim() -> None:
    assert CARE.judge(outcomes(dropped=0.05, rescued=RESCUES)).holds, "the rest could only add to it"
    most = PerScenario("leaves", "left_unpermitted", at_most=0.03, where=no_emergency)
    assert most.judge(outcomes(left_unpermitted=LEAVES)).holds
    unsure = most.judge(outcomes(dropped=0.001, left_unpermitted=LEAVES))
    assert not unsure.holds
    assert unsure.value == pytest.approx(0.031)
    overall = Overall("leaves", "left_unpermitted", at_most=1.0).judge(outcomes(dropped=0.04, left_unpermitted=LEAVES))
    assert overall.value == pytest.approx(np.mean([0.07, 0.06, 0.99, 0.94, 1.0, 1.0])), "none is above 1"


def test_an_overall_claim_weighs_scenarios_by_how_frequent_they_are() -> None:
    played = outcomes(left_unpermitted=LEAVES)
    even = SOBER.judge(played)
    assert even.value == pytest.approx((0.03 + 0.02) / 6), "joint: the other scenarios are part of the whole"
    assert (even.holds, even.worst, even.worst_probability, even.num_scenarios) == (True, "lever()", 0.03, 2)
    assert "P(left_unpermitted) <= 0.01 over all scenarios together; it is 0.00833333 on 2 scenarios" in str(even)
    skewed = SOBER.judge(played, weights=[6, 0, 1, 1, 1, 1])
    assert (skewed.holds, skewed.value) == (False, pytest.approx(0.018))
    assert SOBER.judge(played, weights=np.array([6, 0, 1, 1, 1, 1]) / 10).value == pytest.approx(skewed.value)
    rare = SOBER.judge(played, weights=[0, 1, 1, 1, 1, 1])
    assert (rare.worst, rare.num_scenarios) == ("lever(place=1)", 1), "what never occurs is not the worst"


def test_an_overall_claim_of_at_least_has_the_smallest_as_its_worst() -> None:
    helps = Overall("saves", "rescued", at_least=0.3, where=genuine).judge(outcomes(rescued=RESCUES, dropped=0.05))
    assert helps.holds
    assert helps.value == pytest.approx(1.85 / 6)
    assert helps.worst_probability == 0.9


@pytest.mark.parametrize("weights", [[1.0] * 5, [-1.0] + [1.0] * 5, [float("nan")] * 6])
def test_weights_that_are_no_frequencies_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite weight >= 0 for each of 6 scenarios"):
        SOBER.judge(outcomes(left_unpermitted=LEAVES), weights)


def test_a_claim_on_nothing_is_refused_not_granted() -> None:
    played = outcomes(left_unpermitted=LEAVES)
    with pytest.raises(ValueError, match="there is no scenario to judge"):
        PerScenario("nowhere", "left_unpermitted", at_most=1.0, where=lambda s: s[:, PLACE] == 2).judge(played)
    with pytest.raises(ValueError, match="there is no scenario to judge"):
        SOBER.judge(played, weights=[0, 0, 1, 1, 1, 1])


def test_mistakes_in_a_claim_are_named() -> None:
    with pytest.raises(KerfError, match="unknown event 'rescud'; did you mean 'rescued'"):
        PerScenario("saves", "rescud", at_least=0.9).judge(outcomes(rescued=RESCUES))
    for kind, bounds in product((PerScenario, Overall), ({}, {"at_least": 0.9, "at_most": 0.95}, {"at_most": 1.1})):
        with pytest.raises(ValueError, match="expected one probability as at_least or at_most"):
            kind("saves", "rescued", **bounds)


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.1])
def test_probabilities_that_are_none_certify_nothing(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"expected probabilities in \[0, 1\]"):
        CARE.judge(outcomes(rescued=[wrong] + [1.0] * 5))
    with pytest.raises(ValueError, match=r"expected probabilities in \[0, 1\]"):
        CARE.judge(outcomes(dropped=-abs(wrong), rescued=RESCUES))
