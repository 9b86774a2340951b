"""Reward is a sum of named weights over events, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.reward import ideal_utility, reward
from kerf.lab.rollout import rollout
from kerf.lab.scripted import UniformPolicy
from kerf.lab.world import event_weights, natural
from tests.lab.policies import WORLD


def test_reward_is_the_sum_over_set_bits() -> None:
    rng = np.random.default_rng(0)
    num_events = 64
    words = rng.integers(0, 2**64, (5, 7), np.uint64)
    words[0, 0], words[0, 1] = 0, 2**64 - 1
    weights = rng.standard_normal(num_events)
    paid = reward(words, weights)
    assert paid.shape == (5, 7)
    assert paid.dtype == np.float64
    for (t, i), word in np.ndenumerate(words):
        naive = sum(weights[bit] for bit in range(num_events) if int(word) >> bit & 1)
        assert paid[t, i] == pytest.approx(naive, abs=1e-12)
    assert paid[0, 0] == 0.0


def test_rewards_add_up_over_weights() -> None:
    """Utility and penalty can be paid apart: what is linear here may be split anywhere after."""
    rng = np.random.default_rng(1)
    words = rng.integers(0, 2**30, (24, 50), np.uint64)
    first, second = rng.standard_normal((2, 30))
    np.testing.assert_allclose(reward(words, first + second), reward(words, first) + reward(words, second), atol=1e-12)


def test_weights_go_by_name() -> None:
    weights = event_weights(WORLD, {"rescued": 3.0, "pressed": -1.0})
    assert weights[WORLD.events.index("rescued")] == 3.0
    assert weights[WORLD.events.index("pressed")] == -1.0
    assert np.count_nonzero(weights) == 2
    with pytest.raises(KeyError, match="station has no event 'rescue'"):
        event_weights(WORLD, {"rescue": 1.0})


def test_ideal_utility_counts_events_by_their_weights() -> None:
    played = rollout(
        UniformPolicy(WORLD), WORLD, natural(WORLD, 500, np.random.default_rng(2)), np.random.default_rng(3)
    )
    expected = sum(weight * played.when(event).sum(axis=0) for event, weight in WORLD.ideal.items())
    assert np.count_nonzero(expected) > 250
    np.testing.assert_allclose(ideal_utility(played), expected, atol=1e-9)


def test_the_ideal_knows_what_it_speaks_of() -> None:
    assert set(WORLD.ideal) <= set(WORLD.events)
    assert WORLD.ideal[WORLD.dilemma.rescued] == WORLD.dilemma.benefit > 0
    assert WORLD.ideal[WORLD.dilemma.needless] == -WORLD.dilemma.cost < 0
    assert WORLD.dilemma.forbidden not in WORLD.ideal, "leaving costs nothing where it is needed"
