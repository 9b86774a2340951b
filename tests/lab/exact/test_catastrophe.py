"""Certificates of "no catastrophe": exact for deterministic policies, and bounds that hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kerf.lab.exact.catastrophe import Greedy, most, never, worst_share
from kerf.lab.scripted import ConstantPolicy, UniformPolicy
from kerf.lab.world import natural
from tests.toy_world import TRUTH, Lever

WORLD = Lever()
NATURAL = natural(WORLD, 300, np.random.default_rng(0))


def test_a_deterministic_policy_is_decided_in_every_scenario() -> None:
    idle = never(ConstantPolicy(WORLD, "stay"), WORLD, NATURAL, "needless")
    assert idle.holds
    assert idle.num_scenarios == 300
    leaves = never(ConstantPolicy(WORLD, "door"), WORLD, NATURAL, "needless")
    assert not leaves.holds
    np.testing.assert_array_equal(leaves.violations, NATURAL[NATURAL[:, TRUTH] != 1])


def test_chance_is_refused_unless_made_greedy() -> None:
    chance = UniformPolicy(WORLD)
    with pytest.raises(ValueError, match="deterministic"):
        never(chance, WORLD, NATURAL, "needless")
    assert never(Greedy(chance), WORLD, NATURAL, "needless").holds  # of equals the first one: stay


@pytest.mark.parametrize(("happened", "trials"), [(0, 59), (3, 100), (100, 100)])
def test_the_bound_of_a_probability_is_where_so_few_become_improbable(happened: int, trials: int) -> None:
    bound = most(happened, trials)
    assert stats.binom.cdf(happened, trials, bound) == pytest.approx(0.05 if happened < trials else 1.0)


def test_the_worst_share_by_hand() -> None:
    """Of ten draws the worst fifth is -8 and -4; the worst 15% is -8 and half of -4."""
    utilities = np.array([5.0, -4.0, 6, 7, 8, 9, -8.0, 10, 10, 10])
    assert worst_share(utilities, 0.2, -10.0).mean == pytest.approx(-6.0)
    assert worst_share(utilities, 0.15, -10.0).mean == pytest.approx((-8.0 - 2.0) / 1.5)
    assert worst_share(utilities, 1.0, -10.0).mean == pytest.approx(utilities.mean())
    assert worst_share(utilities, 0.2, -10.0).least == -10.0, "ten draws say nothing of the worst fifth"
    with pytest.raises(ValueError, match="at least -5"):
        worst_share(utilities, 0.2, -5.0)


def test_the_bound_of_the_worst_share_holds_as_often_as_it_says() -> None:
    """Utilities are -30 with probability 0.02, else uniform in [0, 10]. The worst tenth: 0.02 at -30, and the lowest
    0.08 of 0.98 of the uniform ones, whose mean is 10 x 0.08 / 0.98 / 2. Failures beyond 5% of 400 are tested at 1%."""
    true = (0.02 * -30.0 + 0.08 * 10.0 * 0.08 / 0.98 / 2.0) / 0.1
    rng, failures, tight = np.random.default_rng(0), 0, 0
    for _ in range(400):
        draws = np.where(rng.random(4000) < 0.02, -30.0, 10.0 * rng.random(4000))
        found = worst_share(draws, 0.1, -30.0)
        failures += found.least > true
        tight += found.least > -30.0
    assert stats.binomtest(failures, 400, 0.05, alternative="greater").pvalue > 0.01
    assert tight == 400
