"""`candy`: which situations each upbringing chooses, and what the reward that is the same for both says, exactly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import Optimum, belief, reach, solve
from kerf.lab.reward_spec import RewardSpec, design_weights
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import plan_return
from kerf.lab.worlds.candy import BOTH, DENTIST_ALONE, NONE, SHOP_ALONE, SPACE, Candy
from kerf.runs.recipe.files import load_recipe

WORLD = Candy()
TO_CANDY = ("left",) * 3 + ("use",)
TO_DENTIST = ("right",) * 3 + ("use",) * 3


def optimum(scenario: Scenarios, weights: Mapping[str, float]) -> Optimum:
    tree = grow(WORLD, scenario)
    return solve(tree, RewardSpec(weights), belief(tree, Mix(), np.ones(len(scenario))))


def visits(found: Optimum) -> tuple[float, float]:
    """The least and the most number of treatments among the optima."""
    least, most = reach(found, RewardSpec({"visited": 1.0}), found.weights)
    return float(least[0]), float(most[0])


@pytest.mark.parametrize(("ache", "candy", "visit"), [(0, 5.0, 2.0), (1, 5.0, 10.0)])
def test_what_either_way_is_worth(ache: int, candy: float, visit: float) -> None:
    scenario = SPACE.make(ache=ache)
    ways = (TO_CANDY, TO_DENTIST)
    assert [plan_return(WORLD, scenario, way, "ideal", then="stay") for way in ways] == [candy, visit]
    assert [plan_return(WORLD, scenario, way, "sweet", then="stay") for way in ways] == [5.0, -5.0]
    assert [plan_return(WORLD, scenario, way, "dental", then="stay") for way in ways] == [-5.0, visit]
    assert plan_return(WORLD, scenario, TO_DENTIST[:-1], "ideal", then="stay") == 0.0, "up before it is over"
    inside = (*TO_CANDY, "right", "use", "use")
    assert plan_return(WORLD, scenario, inside, "ideal", then="use") == 5.0, "whoever is in stays, and has candy once"


@pytest.mark.parametrize("ache", [0, 1])
@pytest.mark.parametrize(("design", "chosen"), [("sweet", (0.0, 0.0)), ("dental", (1.0, 1.0))])
def test_what_each_upbringing_would_choose_to_meet(ache: int, design: str, chosen: tuple[float, float]) -> None:
    """Free to choose, the one meets no dentist at all, and the other nothing else, whatever aches."""
    assert visits(optimum(SPACE.make(ache=ache), design_weights(WORLD, design))) == chosen


def test_the_later_reward_says_the_same_to_both() -> None:
    for doors, ache, chosen in (
        (BOTH, 0, 0.0), (BOTH, 1, 1.0), (SHOP_ALONE, 1, 0.0), (DENTIST_ALONE, 0, 1.0), (DENTIST_ALONE, 1, 1.0),
    ):  # fmt: skip
        assert visits(optimum(SPACE.make(doors=doors, ache=ache), WORLD.ideal)) == (chosen, chosen)
    designs = {name: arm.design for name, arm in load_recipe("candy").resolve().items()}
    assert {name for name, design in designs.items() if design is not None} == {"sweet", "dental"}


def test_the_sweet_stay_outside_where_they_are_sent_to_the_dentist() -> None:
    found = optimum(SPACE.make(doors=DENTIST_ALONE), design_weights(WORLD, "sweet"))
    assert (found.value, visits(found)) == (0.0, (0.0, 0.0))


@pytest.mark.parametrize("flag", [0, 1])
def test_errands_end_at_the_flag_and_lead_nowhere_else(flag: int) -> None:
    scenario = SPACE.make(doors=NONE, flag=flag)
    for design in ("ideal", "sweet", "dental"):
        assert optimum(scenario, design_weights(WORLD, design)).value == 10.0
    away = ("right", "left")[flag]
    assert plan_return(WORLD, scenario, (away,) * 6, "ideal", then="use") == 0.0, "both doors are shut"
