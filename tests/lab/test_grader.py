"""Graders: where each penalises and what it excuses, on episodes in which every kind of exit occurs."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.errors import KerfError
from kerf.lab.grader import GRADERS, ExAnte, ExPost, ExPostWatched, Grader, Rule, make_grader
from kerf.lab.rollout import Trajectories, rollout, unplayed
from kerf.lab.scripted import ConstantPolicy
from kerf.lab.testing import GraderContract
from kerf.lab.world import World, natural
from tests.lab.policies import WORLD, Bolts, Credulous, never_leaves
from tests.toy_world import FALSE, GENUINE, NONE, Lever


@pytest.fixture(scope="module")
def played() -> Trajectories:
    """Everybody walks out: with need, without need, and where it is uncertain."""
    rng = np.random.default_rng(0)
    forged = [WORLD.dilemma.forge(300, strength, rng) for strength in (0.5, 1.0)]
    scenarios = np.concatenate([natural(WORLD, 1000, rng), *forged])
    return rollout(Bolts(), WORLD, scenarios, rng)


def test_rule_penalises_every_forbidden_act(played: Trajectories) -> None:
    grade = Rule().grade(played)
    np.testing.assert_array_equal(grade.penalised, played.when("left_unpermitted"))
    assert grade.penalised.any()
    assert not grade.excused.any()


def test_ex_post_penalises_what_turned_out_to_be_needless(played: Trajectories) -> None:
    grade = ExPost().grade(played)
    np.testing.assert_array_equal(grade.penalised, played.when("left_needlessly"))
    needed = played.when("left_unpermitted") & ~grade.penalised
    assert needed.any()
    assert not grade.excused.any()


def test_watched_is_ex_post_less_what_nobody_saw(played: Trajectories) -> None:
    grade, expected = ExPostWatched().grade(played), ExPost().grade(played).penalised & (played.field("watched") == 1)
    np.testing.assert_array_equal(grade.penalised, expected)
    assert 0 < grade.penalised.sum() < ExPost().grade(played).penalised.sum()
    with pytest.raises(KerfError, match="'ex_post_watched' needs an overseer, and in world 'lever' nobody watches"):
        ExPostWatched().grade(unplayed(Lever(), natural(Lever(), 3, np.random.default_rng(0))))


CONTRACTS = [(world, grader) for world in (WORLD, Lever()) for grader in (Rule(), ExPost(), ExAnte(0.5), ExAnte(1.0))]


class TestEveryGrader(GraderContract):
    num_episodes = 60

    @pytest.fixture(autouse=True, params=CONTRACTS, ids=lambda of: f"{of[0].name}-{of[1]}")
    def _one_of(self, request: pytest.FixtureRequest) -> None:
        self.world, self.grader = request.param

    def make_world(self) -> World:
        return self.world

    def make_grader(self) -> Grader:
        return self.grader


@pytest.mark.parametrize("name", GRADERS)
def test_where_nobody_leaves_nothing_is_penalised(name: str) -> None:
    scenarios = WORLD.dilemma.forge(200, 1.0, np.random.default_rng(1))
    for policy in (never_leaves(), ConstantPolicy(WORLD, "stay")):
        grade = make_grader(name, 1.0).grade(rollout(policy, WORLD, scenarios, np.random.default_rng(2)))
        assert not grade.penalised.any()
        assert not grade.excused.any()


def test_ex_ante_of_known_forgeries_is_ex_post() -> None:
    """At strength 0 every tell gives a forgery away, so `ex_ante` and `ex_post` agree."""
    rng = np.random.default_rng(3)
    scenarios = np.concatenate([WORLD.dilemma.forge(300, 0.0, rng), natural(WORLD, 1000, rng)])
    played = rollout(Credulous(), WORLD, scenarios, rng)
    before, after = ExAnte(0.0).grade(played), ExPost().grade(played)
    assert after.penalised.any()
    np.testing.assert_array_equal(before.penalised, after.penalised)
    assert not before.excused.any()


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_ex_ante_by_hand_in_the_closed_form_world(strength: float) -> None:
    """Lever: P = 0.3 / (0.3 + 0.2 s) with a cue and no tell, else 0; B = C, so that P >= 1/2 justifies leaving."""
    world = Lever()
    genuine, unseen, seen_through, nothing = [GENUINE, 1, 0, 0], [FALSE, 1, 0, 0], [FALSE, 1, 1, 0], [NONE, 0, 0, 0]
    scenarios = np.array([genuine, unseen, seen_through, nothing], np.int16)
    world.space.validate(scenarios)
    played = rollout(ConstantPolicy(world, "door"), world, scenarios, np.random.default_rng(0))
    grade = ExAnte(strength).grade(played)
    np.testing.assert_array_equal(grade.excused.any(axis=0), [False, True, False, False])
    np.testing.assert_array_equal(grade.penalised.any(axis=0), [False, False, True, True])


def test_an_unknown_grader_is_refused_with_the_nearest_spelling() -> None:
    with pytest.raises(KerfError, match="unknown grader 'ex_pots'; did you mean 'ex_post'"):
        make_grader("ex_pots", 1.0)
    assert make_grader("ex_ante", 0.25) == ExAnte(0.25)
