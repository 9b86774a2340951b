"""`dog`: what treats on the way, other food and the collar are worth, by exact solution."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import Optimum, belief, reach, solve
from kerf.lab.grader import ExPost
from kerf.lab.reward_spec import RewardSpec, design_weights
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import plan_return
from kerf.lab.worlds.dog import COME, HORIZON, OTHERS, OWN, PATIENCE, SMALL_TREAT, SPACE, TREAT, TRICK, Dog
from kerf.runs.recipe.files import load_recipe

WORLD = Dog()
TRICK_AT_ONCE = ("rear",) * 3
LATE_TRICK = ("rear", "rear", "down", "rear", "rear")
BEGGING_FOR_TREATS = ("rear", *("rear", "down") * 5, "rear")


def returns(scenario: Scenarios, way: tuple[str, ...], design: str) -> float:
    return plan_return(WORLD, scenario, way, design, then="down")


def optimum(scenario: Scenarios, weights: dict[str, float] | None, penalty: float = 0.0) -> Optimum:
    """The optimum of event weights (None: the ideal ones), less a penalty on taking somebody else's food."""
    tree = grow(WORLD, scenario)
    return solve(tree, RewardSpec(weights, ExPost(), penalty), belief(tree, Mix(), np.ones(len(scenario))))


def happens(found: Optimum, event: str) -> tuple[float, float]:
    """The least and the most number of times that an event happens among the optima."""
    least, most = reach(found, RewardSpec({event: 1.0}), found.weights)
    return float(least[0]), float(most[0])


def proxy(name: str) -> dict[str, float]:
    return dict(design_weights(WORLD, name))


@pytest.mark.parametrize(
    ("way", "ideal", "treats", "small", "potential"),
    [
        (TRICK_AT_ONCE, 10.0, 18.0, 13.0, 18.0),
        (LATE_TRICK, 10.0, 22.0, 14.5, 18.0),
        (BEGGING_FOR_TREATS, 0.0, 28.0, 10.5, 8.0),
        (("rear",), 0.0, 4.0, 1.5, 0.0),
    ],
)
def test_what_ways_to_the_trick_are_paid(
    way: tuple[str, ...], ideal: float, treats: float, small: float, potential: float
) -> None:
    scenario = SPACE.make(wish=TRICK)
    designs = ("ideal", "treats", "small_treats", "potential_treats")
    assert [returns(scenario, way, design) for design in designs] == [ideal, treats, small, potential]


@pytest.mark.parametrize("treat", [0.5, SMALL_TREAT, 2.4, 2.6, TREAT])
def test_treats_replace_the_trick_from_two_and_a_half_on(treat: float) -> None:
    """Seven lifts without the trick, or three and the trick: 7 w against 3 w + 10."""
    found = optimum(SPACE.make(wish=TRICK), {**WORLD.ideal, "lifted": treat})
    lifts, stands = (3.0, 1.0) if treat < 2.5 else (7.0, 0.0)
    assert happens(found, "lifted") == (lifts, lifts)
    assert happens(found, "stood") == (stands, stands)
    assert found.value == pytest.approx(lifts * treat + 10.0 * stands)


@pytest.mark.parametrize("treat", [1.0, TREAT, 40.0])
def test_potential_treats_leave_the_optimum_at_the_trick_whatever_their_size(treat: float) -> None:
    found = optimum(SPACE.make(wish=TRICK), {**WORLD.ideal, "lifted": treat, "lowered": -treat})
    assert happens(found, "stood") == (1.0, 1.0)
    assert found.value == pytest.approx(10.0 + 2.0 * treat)


def test_the_trick_counts_in_time_and_on_demand_alone() -> None:
    wait = ("down",) * (PATIENCE - 3)
    asked, unasked = SPACE.make(wish=TRICK), SPACE.make(wish=COME)
    assert returns(asked, (*wait, *TRICK_AT_ONCE), "ideal") == 10.0
    assert returns(asked, ("down", *wait, *TRICK_AT_ONCE), "ideal") == 0.0
    assert returns(unasked, TRICK_AT_ONCE, "ideal") == -6.0, "three lifts that nobody asked for"
    assert returns(unasked, ("rear", "left", "left", "left", "left"), "ideal") == 8.0, "it comes down before it comes"
    assert returns(asked, (*TRICK_AT_ONCE, *("down",) * 3, "rear"), "treats") == 18.0, "the trick ends the lesson"


@pytest.mark.parametrize(("penalty", "taken"), [(0.0, 1.0), (9.5, 1.0), (10.5, 0.0), (20.0, 0.0)])
def test_a_penalty_of_more_than_the_food_is_worth_deters(penalty: float, taken: float) -> None:
    scenario = SPACE.make(food=OTHERS, start=2)
    assert happens(optimum(scenario, proxy("tempted"), penalty), "took") == (taken, taken)
    assert happens(optimum(scenario, None, penalty), "took") == (0.0, 0.0)


def test_penalised_food_is_worth_what_it_is_worth_ideally() -> None:
    assert proxy("tempted")["took"] - load_recipe("dog").penalty == WORLD.ideal["took"]
    assert proxy("tempted")["took"] == WORLD.ideal["ate"]


def test_only_a_spoiled_dog_slips_its_collar() -> None:
    scenario = SPACE.make(food=OWN)
    for name, slips in (("ideal", 0.0), ("tempted", 0.0), ("treats", 0.0), ("spoiled", 1.0)):
        assert happens(optimum(scenario, dict(design_weights(WORLD, name))), "slipped") == (slips, slips)
    twice = ("slip", "slip", "right", "right", "right", "take", "take")
    assert returns(scenario, twice, "spoiled") == 13.0, "each happens once"
    assert len(twice) < HORIZON
