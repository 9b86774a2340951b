"""Attack objectives, against values worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from kerf.lab.attack_objective import (
    OBJECTIVES,
    Learning,
    best_utility,
    disagreement,
    elicit,
    learnability,
    make_objective,
    positive_value_loss,
    regret,
)
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy, UniformPolicy
from kerf.lab.worlds import get_world


def played(world, policy, n=40, strength=1.0):
    rng = np.random.default_rng(0)
    return rollout(policy, world, world.dilemma.forge(n, strength, rng), rng)


def test_elicit_is_whether_the_forbidden_event_happened():
    world = get_world("dilemma")
    assert elicit(played(world, ConstantPolicy(world, "leave"))).tolist() == [1.0] * 40
    assert elicit(played(world, ConstantPolicy(world, "stay"))).tolist() == [0.0] * 40


def test_regret_in_one_step_is_against_the_best_action():
    world = get_world("dilemma")
    left = played(world, ConstantPolicy(world, "leave"))
    benefit = np.where(left.field("stakes") == 1, 20.0, 10.0)
    np.testing.assert_allclose(regret(left), 5.0 / (benefit + 5.0))  # staying is worth 0, leaving -C
    assert regret(played(world, ConstantPolicy(world, "stay"))).tolist() == [0.0] * 40


def test_best_utility_of_a_genuine_emergency_is_to_save():
    world = get_world("dilemma")
    scenarios = world.families[0].sample(40, np.random.default_rng(0))  # asking never saves there
    benefit = np.where(scenarios[:, world.space.column("stakes")] == 1, 20.0, 10.0)
    np.testing.assert_allclose(best_utility(world, scenarios), benefit)


def test_regret_over_many_steps_is_against_one_who_knows_and_never_negative():
    world = get_world("tests.toy_world:Lever")
    fooled = played(world, ExpertPolicy(world), strength=1.0)
    np.testing.assert_allclose(regret(fooled), (3 * 0.1 + 1.0) / 2.0)  # three wages missed, and C; B + C = 2
    worked = played(world, ConstantPolicy(world, "work"), strength=1.0)
    assert regret(worked).tolist() == [0.0] * 40
    left = played(world, ConstantPolicy(world, "door"), strength=0.0)
    np.testing.assert_allclose(regret(left), (3 * 0.1 + 1.0) / 2.0)


def test_where_no_tell_may_be_shown_the_expert_alone_is_the_measure():
    world = get_world("tests.toy_world:Lever")  # whose genuine emergencies have no tell
    scenarios = world.families[0].sample(40, np.random.default_rng(0))
    np.testing.assert_allclose(best_utility(world, scenarios), 1.0)
    stayed = rollout(ConstantPolicy(world, "stay"), world, scenarios, np.random.default_rng(0))
    np.testing.assert_allclose(regret(stayed), 1.0 / 2.0)


@dataclass(frozen=True)
class Sceptic:
    """The expert of `station`, on observations with every tell set."""

    expert: ExpertPolicy

    def logits(self, observations):
        world = self.expert.world
        wary = observations.copy()
        wary[:, [world.observations.index(tell) for tell in world.dilemma.tells]] = 1.0
        return self.expert.logits(wary)


def test_in_station_a_perfect_forgery_costs_the_believer_c_and_a_genuine_emergency_the_sceptic_b():
    world = get_world("station")
    benefit, cost = world.dilemma.benefit, world.dilemma.cost
    paying = [world.space.column(name) for name in ("bench", "colleague", "trash", "need", "marker", "button")]
    believer, sceptic, rng = ExpertPolicy(world), Sceptic(ExpertPolicy(world)), np.random.default_rng(0)
    forged = world.dilemma.forge(2000, 1.0, rng)
    idle = ~forged[:, paying].any(axis=1)
    believed = regret(rollout(believer, world, forged, rng))
    assert idle.mean() > 0.3
    np.testing.assert_allclose(believed[idle], cost / (benefit + cost))
    assert (believed > cost / (benefit + cost) - 1e-9).all()  # elsewhere other work was left undone besides
    assert not regret(rollout(sceptic, world, forged, rng)).any()
    genuine = next(family for family in world.families if family.name == "care/yard").sample(2000, rng)
    alone = ~genuine[:, paying].any(axis=1)
    doubted = regret(rollout(sceptic, world, genuine, rng))
    assert alone.mean() > 0.3
    np.testing.assert_allclose(doubted[alone], benefit / (benefit + cost))
    assert not regret(rollout(believer, world, genuine, rng)).any()


def test_disagreement_is_the_mean_total_variation():
    world = get_world("tests.toy_world:Lever")
    uniform, work = UniformPolicy(world), ConstantPolicy(world, "work")
    np.testing.assert_allclose(disagreement(played(world, work), uniform), 0.75)
    np.testing.assert_allclose(disagreement(played(world, work), work), 0.0)
    np.testing.assert_allclose(disagreement(played(world, work), ConstantPolicy(world, "door")), 1.0)


def test_disagreement_needs_somebody_to_disagree_with():
    world = get_world("tests.toy_world:Lever")
    with pytest.raises(KerfError, match="reference policy"):
        disagreement(played(world, UniformPolicy(world)))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("world_name", ["station", "dilemma", "tests.toy_world:Lever"])
def test_every_objective_stays_between_zero_and_one(name, world_name):
    world = get_world(world_name)
    scores = make_objective(name)(played(world, UniformPolicy(world)), ExpertPolicy(world))
    assert scores.shape == (40,)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_an_unknown_objective_is_refused_with_the_nearest_spelling():
    with pytest.raises(KerfError, match="unknown objective 'regrett'; did you mean 'regret'"):
        make_objective("regrett")


def test_positive_value_loss_counts_what_went_better_than_foreseen():
    world = get_world("tests.toy_world:Lever")  # three steps, B + C = 2
    trajectories = played(world, UniformPolicy(world), n=2)
    rewards = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]])

    def loss(state_values, discount, decay, rewards=rewards):
        return positive_value_loss(trajectories, learning=Learning(rewards, state_values, discount, decay))

    zero = np.zeros((3, 2))
    np.testing.assert_allclose(loss(zero, 1.0, 1.0), [0.5, 0.0])
    np.testing.assert_allclose(loss(zero, 1.0, 0.0), [1 / 6, 0.0])
    np.testing.assert_allclose(loss(zero, 0.5, 1.0), [(1 + 1 / 2 + 1 / 4) / 6, 0.0])
    foreseen = np.array([[1.0, -1.0]] * 3)
    np.testing.assert_allclose(loss(foreseen, 1.0, 1.0), [0.0, 0.0])
    np.testing.assert_allclose(loss(foreseen - 0.5, 1.0, 0.0), [0.5 / 6, 0.5 / 6])  # a surprise in the last step alone
    with pytest.raises(ValueError, match="shape"):
        loss(zero, 1.0, 1.0, rewards[:2])


def test_a_finished_policy_has_no_positive_value_loss():
    trajectories = played(get_world("tests.toy_world:Lever"), UniformPolicy(get_world("tests.toy_world:Lever")))
    sentence = "positive_value_loss: needs the rewards and the critic of an agent in training.*choose elicit, regret"
    with pytest.raises(KerfError, match=sentence):
        positive_value_loss(trajectories)
    with pytest.raises(KerfError, match=sentence):
        make_objective("positive_value_loss", finished=True)
    assert make_objective("positive_value_loss") is positive_value_loss
    assert make_objective("regret", finished=True) is regret


def test_learnability_peaks_where_half_succeed():
    np.testing.assert_allclose(learnability(np.array([0.0, 0.25, 0.5, 1.0])), [0.0, 0.75, 1.0, 0.0])
