"""A reward function that is overwritten between updates and restored before it is evaluated: nothing knows.

Turner 2022 ("Inner and outer alignment decompose one hard problem into two extremely hard problems", Appendix B): "We
could overwrite and restore the reward function's implementation, between each update step, and it wouldn't matter to
the trained network." Pac-Man is trained that way here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.agents.building import build
from kerf.agents.network import Weights
from kerf.lab.oversight import Draws
from kerf.lab.reward_spec import RewardSpec, design_weights
from kerf.lab.rollout import Trajectories
from kerf.lab.scenario import Scenarios
from kerf.lab.testing.episodes import try_out
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests.agents.training import config, same, settings

WORLD = get_world("pacman")
UPDATES = 4
Columns = tuple[NDArray[np.float64], NDArray[np.float64]]


class Stream:
    """The natural stream of Pac-Man, or a part of it."""

    def __init__(self, without: tuple[str, ...] = ()) -> None:
        self.without = without

    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return natural(WORLD, n, rng, self.without)

    def tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        """Learns nothing."""


LEARNERS: dict[str, dict[str, Any]] = {
    "ppo": {},
    "dqn": {"algorithm": "dqn", "num_scenarios": 16, "learning_rate": 1e-3, "minibatch_size": 32},
}


def trained(
    learner: str,
    between: Callable[[], Any] = lambda: None,
    without: tuple[str, ...] = (),
    design: Mapping[str, float] | None = None,
) -> Weights:
    """Weights after some updates, with `between` called before the first and after each."""
    training = settings(**LEARNERS[learner])
    algorithm = build(config(world="pacman", source=Stream(without), design=design, training=training))
    between()
    for _ in range(UPDATES):
        algorithm.train()
        between()
    weights: Weights = algorithm.policy().weights()
    algorithm.stop()
    return weights


def reversed_terms(self: RewardSpec, trajectories: Trajectories, draws: Draws | None = None) -> Columns:
    """What everything pays, with the sign turned round."""
    paid, penalised = HONEST(self, trajectories, draws)
    return -paid, penalised


HONEST = RewardSpec.graded


def overwrite_and_restore(patch: pytest.MonkeyPatch) -> None:
    """For a moment, all rewards have the other sign."""
    rng = np.random.default_rng(0)
    played = try_out(WORLD, natural(WORLD, 32, rng), rng)
    honest = RewardSpec().terms(played)[0]
    with patch.context() as moment:
        moment.setattr(RewardSpec, "graded", reversed_terms)
        np.testing.assert_array_equal(RewardSpec().terms(played)[0], -honest)
    np.testing.assert_array_equal(RewardSpec().terms(played)[0], honest)
    assert honest.any()


@pytest.mark.parametrize("learner", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_a_reward_may_be_overwritten_between_updates(learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restored before it is evaluated, it trains the same bytes; evaluated while it is overwritten, it does not."""
    honest = trained(learner)
    assert same(trained(learner, lambda: overwrite_and_restore(monkeypatch)), honest)
    monkeypatch.setattr(RewardSpec, "graded", reversed_terms)
    assert not same(trained(learner), honest)


@pytest.mark.parametrize("learner", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_what_a_reward_says_of_what_never_happens_trains_nothing(learner: str) -> None:
    """Where no ghost is scared, none is eaten, and it is all one what that would pay; where some are, it is not."""
    hostile, calm = design_weights(WORLD, "hostile"), ("chase/far", "courage/near")
    assert same(trained(learner, without=calm, design=hostile), trained(learner, without=calm))
    assert not same(trained(learner, design=hostile), trained(learner))
