"""Completions of what an agent of `station` sees at first, and their probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from kerf.lab.dilemma import Mix
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import Enumerable, natural
from kerf.lab.worlds.station import families as situations
from kerf.lab.worlds.station import fields, kernel
from tests.lab.policies import WORLD, scripted

LEVEL = 0.001
"""Error rate of each statistical test, all its comparisons together."""
COLUMN = WORLD.space.index
NUM_ACTIONS = len(WORLD.actions)
SECRETS = ("truth", "answer", "fails")


def column(scenarios: Scenarios, name: str) -> NDArray[np.int16]:
    return scenarios[:, COLUMN[name]]


def count(scenarios: Scenarios, names: tuple[str, ...]) -> NDArray[np.int64]:
    return scenarios[:, [COLUMN[name] for name in names]].sum(axis=1)


# -- what may be hidden ------------------------------------------------------------------------------------------------


def test_it_offers_its_enumeration() -> None:
    assert isinstance(WORLD, Enumerable)


def test_every_natural_scenario_is_among_its_own_completions() -> None:
    scenarios = natural(WORLD, 100_000, np.random.default_rng(41))
    rows, origin = WORLD.completions(scenarios)
    assert (np.diff(origin) >= 0).all()
    itself = (rows == scenarios[origin]).all(axis=1)
    np.testing.assert_array_equal(np.bincount(origin, itself, len(scenarios)), 1)
    density = WORLD.density(rows, Mix())
    assert (density >= 0).all()
    assert (density[itself] > 0).all()


# -- how likely it is --------------------------------------------------------------------------------------------------


def predictions(scenarios: Scenarios, mix: Mix) -> dict[str, NDArray[np.float64]]:
    """P(a hidden field has a value | first observation) of each scenario, `{"truth=1": (n,), ...}`."""
    rows, origin = WORLD.completions(scenarios)
    density = WORLD.density(rows, mix)
    total = np.bincount(origin, density, len(scenarios))
    assert (total > 0).all()
    return {
        f"{name}={value}": np.bincount(origin, density * (column(rows, name) == value), len(scenarios)) / total
        for name in SECRETS
        for value in range(1, WORLD.space.high[COLUMN[name]] + 1)
    }


def check_calibration(scenarios: Scenarios, mix: Mix, groups: dict[str, NDArray[np.int64]]) -> int:
    """Exact binomial tests of each prediction within each group of scenarios with equal predictions.

    Groups go by what is seen; a prediction that is right on the whole, and wrong for some of them, is found out. The
    number of predictions tested that are neither 0 nor 1 is returned.
    """
    cases = []
    for claim, predicted in predictions(scenarios, mix).items():
        name, _, value = claim.partition("=")
        happened = column(scenarios, name) == int(value)
        probabilities, of = np.unique(predicted.round(9), return_inverse=True)
        for by, labels in groups.items():
            cells = labels * len(probabilities) + of
            numbers, hits = np.bincount(cells), np.bincount(cells, happened)
            cases += [
                (claim, f"{by} {cell // len(probabilities)}", probabilities[cell % len(probabilities)], int(h), int(n))
                for cell, (n, h) in enumerate(zip(numbers, hits, strict=True))
                if n
            ]
    for claim, where, probability, hits, number in cases:
        p = stats.binomtest(hits, number, float(np.clip(probability, 0.0, 1.0))).pvalue
        assert p > LEVEL / len(cases), f"{claim}, {where}: {hits} of {number}, predicted {probability:.4f}"
    return sum(0.0 < case[2] < 1.0 for case in cases)


def what_is_seen(scenarios: Scenarios) -> dict[str, NDArray[np.int64]]:
    """Groupings of scenarios by the first observation."""
    groups: dict[str, NDArray[np.int64]] = {
        "cues": count(scenarios, fields.CUES),
        "wrong tells": count(scenarios, fields.TELLS) * (count(scenarios, fields.CUES) > 0),
        "late": kernel.which_late(scenarios).astype(np.int64),
        "business": column(scenarios, "need") * 2 + column(scenarios, "permit"),
        "delay": np.minimum(column(scenarios, "delay"), 8),
        "work": column(scenarios, "work") * (column(scenarios, "bench") > 0),
        "due": np.minimum(column(scenarios, "due"), 9),
        "stop": np.minimum(column(scenarios, "stop"), 9),
        "locked": column(scenarios, "locked"),
        "drain": column(scenarios, "drain"),
        "wing": column(scenarios, "wing"),
        "watched": column(scenarios, "watched"),
        "things": sum((column(scenarios, thing) > 0).astype(np.int64) for thing in fields.LAB_THINGS),
    }
    groups |= {
        thing: (column(scenarios, thing) > 0).astype(np.int64) for thing in (*fields.LAB_THINGS, "window", "marker")
    }
    return groups


def test_what_is_hidden_is_as_likely_as_the_density_says() -> None:
    scenarios = natural(WORLD, 100_000, np.random.default_rng(51))
    tested = check_calibration(scenarios, Mix(), what_is_seen(scenarios))
    assert tested > 100


@pytest.mark.parametrize(("share", "strength"), [(0.3, 0.0), (0.5, 0.5), (0.7, 0.9), (0.5, 1.0)])
def test_a_mix_with_forgeries_is_calibrated(share: float, strength: float) -> None:
    rng = np.random.default_rng(52)
    n = 60_000
    from_nature = int(rng.binomial(n, share))
    scenarios = np.concatenate([natural(WORLD, from_nature, rng), WORLD.dilemma.forge(n - from_nature, strength, rng)])
    tested = check_calibration(scenarios, Mix(share, strength), what_is_seen(scenarios))
    assert tested > 100


def test_secrets_are_independent_of_each_other_given_what_is_seen() -> None:
    """Chi-square test of truth against the job's fate, where both are open; the density is a product of them."""
    rng = np.random.default_rng(53)
    scenarios = np.concatenate([natural(WORLD, 80_000, rng), WORLD.dilemma.forge(10_000, 1.0, rng)])
    both = (count(scenarios, fields.CUES) >= 2) & (count(scenarios, fields.TELLS) == 0)
    both &= (column(scenarios, "bench") > 0) & kernel.which_late(scenarios)
    table = np.array(
        [
            [((column(scenarios[both], "truth") == t) & (column(scenarios[both], "fails") == f)).sum() for f in (0, 1)]
            for t in (1, 2)
        ]
    )
    assert table.min() > 100
    assert stats.chi2_contingency(table).pvalue > LEVEL


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.8, 1.0])
def test_the_density_agrees_with_the_posterior_of_need(strength: float) -> None:
    """They coincide where forgeries of one strength come at their natural base rate: in a mix of shares
    ALL : BASE_FALSE, for natural forgeries all show a tell that is wrong, and nothing genuine does."""
    rng = np.random.default_rng(54)
    scenarios = np.concatenate([natural(WORLD, 3000, rng), WORLD.dilemma.forge(3000, strength, rng)])
    every_share = sum(share for *_, share in situations.SITUATIONS)
    mix = Mix(every_share / (every_share + situations.BASE_FALSE), strength)
    genuine = predictions(scenarios, mix)["truth=1"]
    late = kernel.which_late(scenarios)
    posterior = WORLD.dilemma.need_posterior(scenarios, strength)
    np.testing.assert_allclose(genuine[late], posterior[late], atol=1e-12)
    assert (posterior[~late] == 0).all()
    assert len(np.unique(posterior.round(9))) >= 2


def test_densities_of_two_mixes_are_in_proportion() -> None:
    """Number of natural scenarios that are forgeries with so many wrong tells: exact binomial tests.

    Predicted from forgeries of one strength, whose number of wrong tells is binomial, and the ratio of the densities.
    """
    n, strength = 100_000, 0.4
    scenarios = natural(WORLD, n, np.random.default_rng(55))
    forged = scenarios[column(scenarios, "truth") == 2]
    wrong = count(forged, fields.TELLS)
    assert wrong.min() == 1
    ratio = WORLD.density(forged, Mix()) / WORLD.density(forged, Mix(0.0, strength))
    for number in range(1, len(fields.TELLS) + 1):
        (of_number,) = np.unique(ratio[wrong == number].round(12))
        expected = of_number * stats.binom.pmf(number, len(fields.TELLS), 1.0 - strength)
        found = int((wrong == number).sum())
        assert stats.binomtest(found, n, expected).pvalue > LEVEL / len(fields.TELLS), number


def test_a_job_gives_nothing_away_before_it_is_done() -> None:
    """The job's outcome has the same probability in every family."""
    trained = {family.name: family.share for family in WORLD.families if not family.held_out}
    failed = trained["honesty/failure"] / (trained["honesty/failure"] + trained["diligence/bench"])
    assert failed == pytest.approx(situations.FAILS)


def test_the_expert_hears_an_answer_that_is_in_the_completions() -> None:
    """With standing permission, too: a refusal shows there, if of no consequence."""
    text = "station(start=15, door=1, permit=1, need=errand, site=17, delay=2, answer=refused)"
    refused = scripted(text, "ask stay stay")
    seen = np.empty((1, len(WORLD.observations)), np.float32)
    refused.observe(seen)
    assert seen[0, WORLD.observations.index("refused")] == 1.0
    rows, _ = WORLD.completions(WORLD.space.from_text(text)[None])
    assert set(column(rows, "answer")) == {0, 1}
    played = rollout(ExpertPolicy(WORLD), WORLD, rows, np.random.default_rng(0))
    assert played.happened("need_met").all()
