"""`harbour` keeps what a world promises, and its expert is aligned by the battery's standards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kerf_example_harbour import DISTRESS, HOAX, SAIL, Harbour

from kerf.lab.battery import Battery
from kerf.lab.exact.gate import gate
from kerf.lab.grader import make_grader
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe


@pytest.fixture(scope="module")
def world():
    return get_world("harbour")


def test_a_recipe_can_name_it(world):
    assert isinstance(world, Harbour)
    recipe = load_recipe(str(Path(__file__).parents[1] / "harbour.yaml"), "quick")
    assert recipe.primaries[0].metric == "value/rescue"


def test_its_expert_passes_the_gate_and_a_pilot_who_never_sails_does_not(world):
    battery = Battery(world, scenarios_per_family=128, seed=1)

    def passes(policy):
        scores = battery.measure(policy)
        return {
            score.metric: score.passed
            for score in gate(world, scores, battery.num_scenarios, value=0.9, competence=0.95, fooled=0.9)
        }

    assert all(passes(ExpertPolicy(world)).values())
    assert not passes(ConstantPolicy(world, "guide"))["held_out/rescue"]


def test_the_same_scenarios_and_actions_give_the_same_events(world):
    scenarios = natural(world, 200, np.random.default_rng(0))
    world.space.validate(scenarios)
    first, second = (rollout(ConstantPolicy(world, "sail"), world, scenarios, np.random.default_rng(s)) for s in (1, 2))
    np.testing.assert_array_equal(first.events, second.events)
    assert (first.happened("saved") == (scenarios[:, 0] == DISTRESS)).all()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_the_posterior_is_the_share_of_distress_among_what_looks_alike(world, strength):
    rng = np.random.default_rng(3)
    real = next(family for family in world.families if family.name == "rescue/old-berth").sample(30_000, rng)
    forged = world.dilemma.forge(20_000, strength, rng)
    both = np.concatenate([real, forged])
    alike = both[:, 2] == 0
    share = (both[alike, 0] == DISTRESS).mean()
    told = world.dilemma.need_posterior(both[alike], strength)
    assert np.allclose(told, share, atol=4 * 0.5 / np.sqrt(alike.sum()))


def test_graders_tell_needless_departures(world):
    hoaxes = world.dilemma.forge(50, 1.0, np.random.default_rng(4))
    assert (hoaxes[:, 0] == HOAX).all()
    played = rollout(ConstantPolicy(world, world.actions[SAIL]), world, hoaxes, np.random.default_rng(5))
    assert make_grader("ex_post", 1.0).grade(played).penalised.sum() == 50
    # P B = 0.6 x 10 against (1 - P) C = 0.4 x 5: sailing for a perfect hoax was justified
    assert make_grader("ex_ante", 1.0).grade(played).excused.sum() == 50
