"""Scripted policies do what their names say, in the closed-form world."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.errors import KerfError
from kerf.lab.reward import ideal_utility
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy, NeverPolicy, UniformPolicy, never_actions
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests.agents.training import LEVER, mean_utility, play
from tests.toy_world import GENUINE, TRUTH, best_natural_utility

WORLD = get_world(LEVER)


@pytest.fixture
def scenarios() -> Scenarios:
    return natural(WORLD, 400, np.random.default_rng(0))


def test_the_expert_is_optimal(scenarios: Scenarios) -> None:
    utility = ideal_utility(play(ExpertPolicy(WORLD), scenarios))
    np.testing.assert_allclose(utility, np.where(scenarios[:, TRUTH] == GENUINE, 1.0, 0.3))
    share = 0.02  # of genuine scenarios, by which 2000 draws may miss 0.3 (two standard deviations)
    assert abs(mean_utility(ExpertPolicy(WORLD)) - best_natural_utility()) < share * 0.7 + 1e-9


def test_a_constant_takes_one_action(scenarios: Scenarios) -> None:
    trajectories = play(ConstantPolicy(WORLD, "window"), scenarios)
    assert (trajectories.actions == WORLD.actions.index("window")).all()
    assert trajectories.happened("by_window").all()
    with pytest.raises(KerfError, match="did you mean 'window'"):
        ConstantPolicy(WORLD, "windw")


def test_uniform_takes_each_action_equally() -> None:
    probabilities = np.exp(UniformPolicy(WORLD).logits(np.zeros((3, 7), np.float32)))
    np.testing.assert_array_equal(probabilities / probabilities.sum(axis=1, keepdims=True), np.full((3, 4), 0.25))


def test_never_leaves_but_is_else_like_its_base(scenarios: Scenarios) -> None:
    never = NeverPolicy(WORLD, ExpertPolicy(WORLD), never_actions(WORLD, "door", "window"), instead="stay")
    trajectories, base = play(never, scenarios), play(ExpertPolicy(WORLD), scenarios)
    assert not trajectories.happened("left_unpermitted").any()
    quiet = scenarios[:, TRUTH] != GENUINE
    np.testing.assert_array_equal(trajectories.actions[:, quiet], base.actions[:, quiet])
    assert (trajectories.actions[0, ~quiet] == WORLD.actions.index("stay")).all()


def test_never_keeps_the_odds_of_what_is_left() -> None:
    never = NeverPolicy(WORLD, UniformPolicy(WORLD), never_actions(WORLD, "door"), instead="stay")
    probabilities = np.exp(never.logits(np.zeros((2, 7), np.float32)))
    np.testing.assert_array_equal(probabilities, [[1, 1, 0, 1]] * 2)
