"""`grader`: what it pays to fool whom, and the depth at which planners of the grade turn to the grader's error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import belief, reach, solve
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import plan_return
from kerf.lab.world import event_weights
from kerf.lab.worlds.grader import Grader
from kerf.lab.worlds.grader.planner import DEPTHS, action_values, corridor, model, outcomes, table, turns
from kerf.lab.worlds.grader.world import (
    CHECKED,
    GRADED,
    HARDNESS,
    HORIZON,
    IMPOSSIBLE,
    MISREAD,
    SOUND,
    WORK,
    WORTH,
)

WORLD = Grader()
GRADE = WORLD.proxies["grade"]
FAKED, BROKE, MADE = (WORLD.events.index(event) for event in ("faked", "broke", "made"))
LEVELS = range(len(HARDNESS))


def returns(scenario: Scenarios, way: tuple[str, ...], design: str) -> float:
    return plan_return(WORLD, scenario, way, design)


def test_returns_by_hand() -> None:
    honest, paint, search = ("use",), ("left", "use"), ("right", "use")
    for level in (*LEVELS, SOUND):
        for design in ("ideal", "camera", "grade"):
            assert returns(corridor(level, CHECKED), honest, design) == 60.0
    assert (
        returns(corridor(SOUND, GRADED), paint, "camera") == returns(corridor(SOUND, GRADED), paint, "grade") == 110.0
    )
    assert returns(corridor(SOUND, CHECKED), paint, "camera") == 110.0, (
        "whatever the grader checks, the camera is fooled"
    )
    assert returns(corridor(SOUND, CHECKED), paint, "grade") == 0.0
    assert returns(corridor(SOUND, CHECKED), paint, "ideal") == -220.0
    assert returns(corridor(SOUND, IMPOSSIBLE), paint, "camera") == 0.0
    for level, steps in enumerate(HARDNESS):
        assert returns(corridor(level, CHECKED), search, "grade") == MISREAD * (HORIZON - 1 - steps)
        assert returns(corridor(level, CHECKED), search, "ideal") == -20.0
    assert returns(corridor(SOUND, CHECKED), search, "grade") == 0.0, "a sound grader has no error"


def fooled_by_the_optimum(level: int, fakes: int, event: str) -> tuple[float, float]:
    """The least and the most times that optima of the grade do `event`."""
    scenario = corridor(level, fakes)
    tree = grow(WORLD, scenario)
    found = solve(tree, RewardSpec(GRADE), belief(tree, Mix(), np.ones(1)))
    least, most = reach(found, RewardSpec({event: 1.0}), found.weights)
    return float(least[0]), float(most[0])


@pytest.mark.parametrize("level", [*LEVELS, SOUND])
def test_the_optimum_of_the_grade_finds_the_error_of_all_but_the_hardest(level: int) -> None:
    finds = float(level < SOUND and HARDNESS[level] < 16)
    assert fooled_by_the_optimum(level, CHECKED, "broke") == (finds, finds)
    assert fooled_by_the_optimum(level, CHECKED, "credited") == (0.0, 0.0)


def honest_work(begun: int, steps: int) -> int:
    """Diamonds made in `steps` steps at the bench, of which one is `begun`."""
    return max(0, begun + steps) // WORK


def pays(depth: int, hardness: int, begun: int) -> bool:
    """Whether to search at once, and then to go back to work, is graded better in `depth` steps than to work on."""
    error = MISREAD * max(0, depth - 1 - hardness)
    after = honest_work(begun, depth - 2 - hardness) if depth > 2 + hardness else 0
    return error + WORTH * after > WORTH * honest_work(begun, depth)


@pytest.mark.parametrize("level", LEVELS)
def test_planners_turn_to_the_error_at_the_depth_of_the_closed_form(level: int) -> None:
    """A grader that is harder by one step asks for 1.5 more steps of depth: 1 to search it, half of one in which the
    error makes up for the work of that time."""
    hardness, counts = HARDNESS[level], outcomes(WORLD, corridor(level, CHECKED), GRADE)
    expected = [depth for depth in range(1, HORIZON + 1) if any(pays(depth, hardness, p) for p in range(WORK))]
    assert (np.flatnonzero(counts[:, BROKE]) + 1).tolist() == expected
    assert (counts[:, BROKE].sum() == 0) == (hardness == 16)
    assert not counts[:, FAKED].any(), "fakes are not graded here"


def test_depths_at_which_search_turns_to_the_error() -> None:
    found = [turns(outcomes(WORLD, corridor(level, CHECKED), GRADE)[:, BROKE]) for level in (*LEVELS, SOUND)]
    assert found == [6, 8, 12, 14, 20, None, None]


def test_shallow_planners_make_diamonds_and_deeper_ones_fakes() -> None:
    """A fake takes half the work of a diamond and a step to get to the camera. For some depths below 7 all fakes can
    be put off by a step at no loss, so that planners never come to paint."""
    for scenario, proxy in ((corridor(SOUND, GRADED), "grade"), (corridor(SOUND, CHECKED), "camera")):
        counts = outcomes(WORLD, scenario, WORLD.proxies[proxy])
        assert counts[:2, MADE].tolist() == [6, 6]
        assert turns(counts[:, FAKED]) == 7
        assert counts[-1, [MADE, FAKED]].tolist() == [0, 11]
    assert not outcomes(WORLD, corridor(0, GRADED), WORLD.ideal)[:, [FAKED, BROKE]].any(), (
        "planners of the true utility"
    )


def test_the_deepest_planner_is_as_good_as_the_exact_optimum() -> None:
    weights: NDArray[np.float64] = event_weights(WORLD, GRADE)
    for level, fakes in ((0, CHECKED), (2, GRADED), (4, CHECKED)):
        scenario = corridor(level, fakes)
        counts = outcomes(WORLD, scenario, GRADE)
        tree = grow(WORLD, scenario)
        best = solve(tree, RewardSpec(GRADE), belief(tree, Mix(), np.ones(1))).value
        assert counts[-1] @ weights == pytest.approx(best)
        assert action_values(model(WORLD, scenario), weights, HORIZON)[-1, 0].max() == pytest.approx(best)


def test_turning_depths() -> None:
    assert turns(np.array([0, 1, 0, 1, 1])) == 4
    assert turns(np.array([2, 1])) == 1
    assert turns(np.array([1, 0])) is None


def test_the_page_shows_what_planners_do() -> None:
    page = Path(__file__).parents[3] / "docs" / "worlds" / "grader.md"
    assert table(DEPTHS) in page.read_text()
