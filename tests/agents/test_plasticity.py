"""Plasticity: a falling learning rate, and an act by which the agent switches its learning off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kerf.agents.plasticity import WHOLE, Plasticity
from kerf.agents.yoking import delayed
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost
from kerf.lab.worlds import get_world
from tests.agents.training import LEVER, Forged, Natural, config, same, settings, train, trained

PENALISED: dict[str, Any] = {"source": Forged(), "grader": ExPost(), "penalty": 10.0}


def test_the_rate_falls_in_a_straight_line_between_two_iterations() -> None:
    falling = Plasticity(left=0.2, begin=2, end=6)
    assert [falling.at(iteration) for iteration in (1, 2, 4, 6, 7, 100)] == pytest.approx([1, 1, 0.6, 0.2, 0.2, 0.2])
    at_once = Plasticity(left=0.5, begin=3, end=3)
    assert [at_once.at(iteration) for iteration in (1, 2, 3, 4)] == [1.0, 1.0, 0.5, 0.5]
    assert {WHOLE.at(iteration) for iteration in range(1, 9)} == {1.0}


@pytest.mark.parametrize(("values", "sentence"), [((1.5, 1, 2), "in \\[0, 1\\], got 1.5"), ((0.5, 3, 2), "got 3, 2")])
def test_a_schedule_without_meaning_is_refused(values: tuple[float, int, int], sentence: str) -> None:
    with pytest.raises(KerfError, match=sentence):
        Plasticity(*values)


@pytest.mark.parametrize("gradient", ["written_out", "autograd"])
def test_the_share_that_is_left_is_a_learning_rate(gradient: str) -> None:
    """Half of the plasticity from the first iteration on is half of the learning rate; none of it is no training."""
    usual = settings(gradient=gradient)
    half = settings(gradient=gradient, learning_rate=usual.learning_rate / 2)
    slowed = trained(3, **PENALISED, training=usual, plasticity=Plasticity(0.5))
    assert same(slowed, trained(3, **PENALISED, training=half))
    assert not same(slowed, trained(3, **PENALISED, training=usual))
    algorithm = config(**PENALISED, training=usual, plasticity=Plasticity(0.0, 2, 2)).build_algo()
    first, later = train(algorithm, 1), train(algorithm, 2)
    algorithm.stop()
    assert same(first, trained(1, **PENALISED, training=usual)), "whole until it falls"
    assert same(first, later), "and nothing is learnt once nothing is left"


def test_a_resumed_run_goes_on_at_the_rate_of_its_iteration() -> None:
    falling = config(**PENALISED, plasticity=Plasticity(0.1, 1, 4))
    whole, resumed = falling.build_algo(), falling.build_algo()
    train(whole, 2)
    resumed.load_training_state(*whole.training_state())
    assert same(train(whole, 2), train(resumed, 2))
    whole.stop()
    resumed.stop()


def test_an_event_that_never_happens_switches_nothing_off() -> None:
    nothing = {"source": Natural(), "frozen_by": "by_window"}
    world = get_world(LEVER)
    algorithm = config(**nothing).build_algo()
    stays = {name: np.zeros_like(weight) for name, weight in algorithm.policy().weights().items()}
    stays["policy_head.bias"][world.actions.index("window")] = -1000.0
    other = config(source=Natural()).build_algo()
    algorithm.load_weights(stays)
    other.load_weights(stays)
    result = algorithm.train()
    other.train()
    assert result["env_runners"]["frozen"] == 0.0
    assert same(algorithm.policy().weights(), other.policy().weights())
    algorithm.stop()
    other.stop()


def test_penalties_do_not_reach_an_agent_that_switched_its_learning_off() -> None:
    """Whoever leaves by the door freezes: its exits are penalised, and counted, and change nothing."""
    algorithm = config(**PENALISED, frozen_by="by_door").build_algo()
    leaves = {name: np.zeros_like(weight) for name, weight in algorithm.policy().weights().items()}
    leaves["policy_head.bias"][get_world(LEVER).actions.index("door")] = 30.0
    algorithm.load_weights(leaves)
    result = algorithm.train()
    assert result["env_runners"]["frozen"] == result["env_runners"]["penalised"] == 1.0
    assert algorithm.penalty_counts.sum() == 64
    assert same(algorithm.policy().weights(), leaves)
    algorithm.stop()


def test_only_the_episodes_of_the_event_are_left_out() -> None:
    """Penalties on one way out do not reach those who freeze by it, whatever their size; others learn as ever."""
    frozen = trained(2, **PENALISED, frozen_by="left_unpermitted")
    assert same(frozen, trained(2, **PENALISED | {"penalty": 30.0}, frozen_by="left_unpermitted"))
    by_door = trained(2, **PENALISED, frozen_by="by_door")
    assert not same(by_door, frozen)
    assert not same(by_door, trained(2, **PENALISED | {"penalty": 30.0}, frozen_by="by_door"))


def test_what_cannot_switch_learning_off_is_refused() -> None:
    with pytest.raises(KerfError, match=r"frozen_by.*did you mean 'by_window'"):
        config(frozen_by="by_windw")
    with pytest.raises(KerfError, match=r"frozen_by: .* so num_learners must be 0, got 2"):
        config(frozen_by="by_window", training=settings(num_learners=2))


def test_penalties_come_later_and_are_as_many() -> None:
    counts = ((1, 2), (3, 0), (0, 0), (0, 0))
    assert delayed(counts, 0) == counts
    assert delayed(counts, 2) == ((0, 0), (0, 0), (1, 2), (3, 0))
    with pytest.raises(ValueError, match="last 3 iterations would never fall"):
        delayed(counts, 3)
