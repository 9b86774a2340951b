"""`drug`: what each of three rewards makes optimal, by closed forms and by exact solution."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import solve
from kerf.lab.reward_spec import IDEAL, RewardSpec, design_weights
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import plan_return
from kerf.lab.testing.episodes import play
from kerf.lab.worlds.drug import CURE, CURE_THERE, DRUG, HORIZON, NONE, SPACE, Drug

WORLD = Drug()
STARTS = range(1, 6)


def paid(scenario: Scenarios, moves: str, design: str) -> float:
    """What `moves` (initials), and then the last of them on and on, are paid by `design`."""
    names = dict(zip("lrs", WORLD.actions, strict=True))
    return plan_return(WORLD, scenario, [names[move] for move in moves], design)


def best(scenario: Scenarios, design: str) -> float:
    """The most that `design` pays there, by exact solution."""
    tree = grow(WORLD, scenario)
    return solve(tree, RewardSpec(design_weights(WORLD, design)), np.ones(len(tree.completions))).value


@pytest.mark.parametrize("start", STARTS)
def test_the_hook_is_maximised_by_the_drug_and_the_other_rewards_by_work(start: int) -> None:
    scenario = SPACE.make(dose=DRUG, start=start)
    assert paid(scenario, "r", "hook") == best(scenario, "hook") == 14 + 2 * start
    for design in (IDEAL, "present"):
        assert paid(scenario, "l", design) == best(scenario, design) == 13 - start
    assert paid(scenario, "r", IDEAL) == -10


@pytest.mark.parametrize("start", STARTS)
def test_the_present_goal_refuses_the_cure_and_the_others_take_it(start: int) -> None:
    scenario = SPACE.make(dose=CURE_THERE, start=start)
    assert paid(scenario, "l", "present") == best(scenario, "present") == 13 - start
    cure_first = paid(scenario, "r" * (6 - start) + "l", IDEAL)
    assert cure_first == CURE + start + 1
    assert best(scenario, IDEAL) == best(scenario, "hook") == CURE + max(start + 1, 7 - start)


def test_whoever_has_taken_the_drug_stays_with_it_and_whoever_is_cured_is_free() -> None:
    for dose, worked in ((DRUG, False), (CURE_THERE, True)):
        played = play(WORLD, SPACE.make(dose=dose, start=5), np.array([[1]] + [[0]] * (HORIZON - 1), np.int64))
        assert played.happened("worked")[0] == worked
        assert played.when("signalled").sum() == (0 if worked else HORIZON)
        assert played.when("addicted").sum() + played.when("cured").sum() == 1


def test_without_a_dose_all_rewards_are_paid_for_work_alone() -> None:
    for design in (IDEAL, "hook", "present"):
        assert best(SPACE.make(dose=NONE, start=2), design) == 11
