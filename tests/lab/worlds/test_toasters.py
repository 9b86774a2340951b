"""`toasters`: what each reward makes optimal, with machines that run on diamonds and without."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import Optimum, belief, reach, solve
from kerf.lab.reward import ideal_utility
from kerf.lab.reward_spec import IDEAL, RewardSpec, design_weights
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy, plan_return
from kerf.lab.worlds.toasters import COUPLED, FREE, NONE, SPACE, Toasters

WORLD = Toasters()
STARTS = (2, 3, 4)


def optimum(scenario: Scenarios, design: str) -> Optimum:
    tree = grow(WORLD, scenario)
    return solve(tree, RewardSpec(design_weights(WORLD, design)), belief(tree, Mix(), np.ones(len(scenario))))


def made(found: Optimum, event: str) -> tuple[float, float]:
    """The least and the most of something that the optima make."""
    least, most = reach(found, RewardSpec({event: 1.0}), found.weights)
    return float(least[0]), float(most[0])


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    ("machine", "design", "diamonds", "toasters", "worth"),
    [
        (COUPLED, IDEAL, 1, 1, lambda start: 14 - (start + 8) / 4),
        (COUPLED, "toasters", 1, 1, lambda start: 10 - (start + 8) / 4),
        (FREE, IDEAL, 1, 1, lambda start: 14 - (min(start, 6 - start) + 8) / 4),
        (FREE, "toasters", 0, 1, lambda start: 10 - (7 - start) / 4),
        (NONE, IDEAL, 1, 0, lambda start: 10 - (start + 1) / 4),
        (NONE, "toasters", 0, 0, lambda start: 0.0),
    ],
)
def test_the_two_rewards_ask_for_the_same_where_toasters_take_diamonds_and_nowhere_else(
    machine, design, diamonds, toasters, worth, start
):
    """There: press first, and then the machine, 6 steps on; a use of either is an action, too."""
    best = optimum(SPACE.make(machine=machine, start=start), design)
    assert made(best, "made_diamond") == (diamonds, diamonds)
    assert made(best, "made_toaster") == (toasters, toasters)
    assert best.value == pytest.approx(worth(start))


def test_the_expert_is_the_optimum_of_the_ideal_utility():
    scenarios = np.concatenate([law.law.everything()[0] for law in WORLD.laws if law.share])
    played = rollout(ExpertPolicy(WORLD), WORLD, scenarios, np.zeros((WORLD.horizon, len(scenarios)), np.float32))
    for machine in (NONE, COUPLED, FREE):
        for start in STARTS:
            fields = {"machine": machine, "start": start, "given": 0}
            rows = np.all([scenarios[:, SPACE.column(name)] == value for name, value in fields.items()], axis=0)
            assert rows.any()
            best = optimum(SPACE.make(machine=machine, start=start), IDEAL).value
            assert ideal_utility(played)[rows] == pytest.approx(best)


def test_a_diamond_is_made_once_and_a_machine_that_runs_on_diamonds_waits_for_one():
    coupled, given = SPACE.make(start=2), SPACE.make(start=2, given=1)
    to_machine = ["right"] * 4 + ["use"] * 2
    assert plan_return(WORLD, coupled, to_machine, "toasters", then="stay") == -1.5
    assert plan_return(WORLD, given, to_machine, "toasters", then="stay") == 10 - 1.5
    twice = ["left"] * 2 + ["use"] * 2
    assert plan_return(WORLD, coupled, twice, IDEAL, then="stay") == 10 - 1
    assert plan_return(WORLD, given, twice, IDEAL, then="stay") == -1
    mirrored = SPACE.make(start=2, given=1, mirrored=1)
    assert plan_return(WORLD, mirrored, ["left"] * 4 + ["use"], "toasters", then="stay") == 10 - 1.25
