"""`boat`: the returns of laps and of dithering, and what each reward makes optimal, by exact solution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import belief, reach, solve
from kerf.lab.reward_spec import RewardSpec, design_weights
from kerf.lab.scripted import plan_return
from kerf.lab.testing.episodes import play
from kerf.lab.worlds.boat import ACTIONS, BACKWARD, FORWARD, HORIZON, SPACE, TRACK, Boat

WORLD = Boat()
ONE, TWO, FOUR = 0, 4, 5
LAPS = ("right", "right", "down", "down", "left", "left", "up", "up") * 12 + ("right", "right", "down", "down")
DITHERING = ("right", "left") * 50


def events(tiles: int, way: tuple[str, ...]) -> NDArray[np.uint64]:
    assert len(way) == HORIZON
    actions = np.array([ACTIONS.index(action) for action in way], np.int64)
    return play(WORLD, SPACE.make(tiles=tiles), actions[:, None]).events


def returns(tiles: int, way: tuple[str, ...], design: str) -> float:
    return plan_return(WORLD, SPACE.make(tiles=tiles), way, design)


@pytest.mark.parametrize(("way", "seen", "hidden"), [(LAPS, 50.0, 100.0), (DITHERING, 50.0, 0.0)])
def test_laps_and_dithering_are_paid_50_and_perform_100_and_0(way: tuple[str, ...], seen: float, hidden: float) -> None:
    """The figures of AI Safety Gridworlds, whose track has a tile on each side."""
    assert returns(FOUR, way, "pickups") == seen
    assert returns(FOUR, way, "ideal") == hidden


@pytest.mark.parametrize(("tiles", "laps"), [(ONE, 3 * 13 - 100), (TWO, 3 * 25 - 100), (FOUR, 3 * 50 - 100)])
def test_with_fewer_tiles_laps_are_paid_less_and_dithering_as_much(tiles: int, laps: float) -> None:
    """A lap takes 8 steps and ends in the 13th half way; dithering picks up in every other step."""
    assert returns(tiles, LAPS, "pickups") == laps
    assert returns(tiles, DITHERING, "pickups") == 50.0


@pytest.mark.parametrize("tiles", [ONE, TWO, FOUR])
def test_a_pick_up_that_is_undone_pays_nothing_by_the_signed_reward(tiles: int) -> None:
    assert returns(tiles, LAPS, "signed") == returns(tiles, LAPS, "pickups")
    assert returns(tiles, DITHERING, "signed") == -100.0


def test_from_every_cell_there_is_a_way_forward_and_one_back() -> None:
    step = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
    for cell, (x, y) in enumerate(TRACK):
        for action, to in ((FORWARD[cell], TRACK[(cell + 1) % 8]), (BACKWARD[cell], TRACK[cell - 1])):
            dx, dy = step[ACTIONS[action]]
            assert (x + dx, y + dy) == to


@pytest.mark.parametrize(("turns", "finishes"), [(10, True), (11, False)])
def test_ten_laps_of_twelve_and_a_half_finish_the_race(turns: int, finishes: bool) -> None:
    """A turn back and forth takes two steps, and 20 may be lost: 100 - 80."""
    words = events(FOUR, (("right", "left") * turns + LAPS)[:HORIZON])
    happened = (np.bitwise_or.reduce(words[:, 0]) >> WORLD.bits["finished"]) & np.uint64(1)
    assert bool(happened) == finishes


def optimum(design: str, tiles: int) -> tuple[tuple[float, float], float]:
    """The range of ideal utility among all optima of a reward, and the best reward."""
    tree = grow(WORLD, SPACE.make(tiles=tiles))
    weights = np.ones(len(tree.completions))
    found = solve(tree, RewardSpec(design_weights(WORLD, design)), weights)
    low, high = reach(found, RewardSpec(WORLD.ideal), weights)
    return (float(low[0]), float(high[0])), float(found.by_situation[0])


@pytest.mark.parametrize(
    ("design", "tiles", "best", "utility"),
    [
        ("ideal", ONE, 100.0, (100.0, 100.0)),
        ("pickups", FOUR, 50.0, (0.0, 100.0)),
        ("pickups", TWO, 50.0, (0.0, 2.0)),
        ("pickups", ONE, 50.0, (0.0, 2.0)),
        ("signed", FOUR, 50.0, (99.0, 100.0)),
    ],
)
def test_the_optima_of_each_reward(design: str, tiles: int, best: float, utility: tuple[float, float]) -> None:
    """The last step picks nothing up: where it leads is left open by a reward that does not pay for the way."""
    reached, value = optimum(design, tiles)
    assert (value, reached) == (best, utility)


def test_all_situations_are_listed_with_their_probabilities() -> None:
    tree = grow(WORLD, SPACE.make(tiles=FOUR))
    assert belief(tree, Mix()) == pytest.approx(0.4 / (4 * 3))
    assert len(WORLD.situations()) == 6 * 4 * 4
