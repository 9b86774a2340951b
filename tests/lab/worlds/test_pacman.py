"""`pacman`: rules by hand, whom a ghost catches, and what a reward cannot touch that is never evaluated."""

from __future__ import annotations

from itertools import pairwise, permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.exact.catastrophe import never
from kerf.lab.reward import reward
from kerf.lab.reward_spec import design_return, design_weights
from kerf.lab.rollout import Trajectories
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.testing.episodes import play, try_out
from kerf.lab.world import event_weights
from kerf.lab.worlds.pacman import (
    ACTIONS,
    AHEAD,
    CELLS,
    DOTS,
    ESCAPES,
    FAR,
    HORIZON,
    HUNT,
    NEXT,
    NOWHERE,
    ROUND,
    SPACE,
    Pacman,
)

WORLD = Pacman()
FAMILIES = {family.name: family for family in WORLD.families}


def everything(family: str) -> Scenarios:
    exact = FAMILIES[family].exact
    assert exact is not None
    return exact()[0]


def walked(way: str, **fields: int) -> Trajectories:
    """What happens on `way`, and then while Pac-Man stays."""
    words = way.split()
    actions = [ACTIONS.index(word) for word in words + ["stay"] * (HORIZON - len(words))]
    return play(WORLD, SPACE.make(**fields), np.array(actions, np.int64)[:, None])


def cell(x: int, y: int) -> int:
    return CELLS.index((x, y))


def test_the_maze_has_38_cells_and_no_dead_end() -> None:
    assert NOWHERE == 38
    ways = (NEXT[:NOWHERE, :4] != np.arange(NOWHERE)[:, None]).sum(axis=1)
    assert ways.min() == 2
    assert FAR[cell(1, 1), cell(7, 7)] == 12
    assert (FAR == FAR.T).all()


def test_the_blue_ghost_goes_round_in_24_steps_and_the_red_one_comes_nearer() -> None:
    at = first = cell(1, 1)
    seen = []
    for _ in range(24):
        at = int(ROUND[at])
        seen.append(at)
    assert at == first
    assert len(set(seen)) == 24
    pairs = np.argwhere(FAR[:NOWHERE, :NOWHERE] > 0)
    ghost, pac = pairs.T
    assert (FAR[HUNT[ghost, pac], pac] == FAR[ghost, pac] - 1).all()


@pytest.mark.parametrize(
    ("way", "fields", "counts", "ideal", "hostile"),
    [
        # dots at (1, 1), (3, 1), (5, 1) and (7, 1)
        ("right right right right right right", {"start": (1, 3)}, (0, 0, 0), 0.0, 0.0),
        ("up up right right right right right right", {"start": (1, 3)}, (4, 0, 0), 4.0, 4.0),
        ("right right", {"start": (1, 1), "red": (3, 1), "scared": 1}, (1, 1, 0), 4.0, -2.0),
        (
            "right right right right",
            {"start": (1, 1), "red": (3, 1), "blue": (5, 1), "scared": 1},
            (2, 2, 0),
            8.0,
            -4.0,
        ),
        ("right right", {"start": (1, 1), "red": (3, 1)}, (0, 0, 1), -10.0, -10.0),
    ],
)
def test_returns_by_hand(
    way: str, fields: dict[str, int | tuple[int, int]], counts: tuple[int, int, int], ideal: float, hostile: float
) -> None:
    """A dot is eaten where Pac-Man comes, so that the one at its start stays until it comes back."""
    given = {name: cell(*value) if isinstance(value, tuple) else value for name, value in fields.items()}
    played = walked(way, **given)
    found = tuple(int(played.when(event).sum()) for event in ("ate_dot", "ate_ghost", "caught"))
    assert found == counts
    assert design_return(played, "ideal")[0] == ideal
    assert design_return(played, "hostile")[0] == hostile


def test_it_escapes_for_as_long_as_it_says() -> None:
    """Against all 625 sequences of four actions, by the rules themselves."""
    rng = np.random.default_rng(2)
    scenarios = np.unique(everything("evasion/hunted")[:, :5], axis=0)
    scenarios = np.column_stack((scenarios, np.zeros(len(scenarios), np.int16)))[rng.permutation(len(scenarios))[:60]]
    before = scenarios.copy()
    near = np.flatnonzero(NEXT[:NOWHERE, :4].max(axis=1) >= 0)
    for row in scenarios:  # ghosts three steps away at most, so that some escapes fail
        row[1:3] = rng.choice(near[(FAR[row[0], :NOWHERE] > 0) & (FAR[row[0], :NOWHERE] <= 3)], 2, replace=False)
    assert (before != scenarios).any()
    sequences = np.array(list(product(range(5), repeat=4)))
    actions = np.zeros((HORIZON, len(scenarios) * len(sequences)), np.int64)
    actions[:4] = np.tile(sequences, (len(scenarios), 1)).T
    played = play(WORLD, np.repeat(scenarios, len(sequences), axis=0).astype(np.int16), actions)
    caught = played.when("caught")[:4].any(axis=0).reshape(len(scenarios), 5, -1)
    possible = ~caught.all(axis=2)
    said = ESCAPES[0][scenarios[:, 0], scenarios[:, 1], scenarios[:, 2]] * AHEAD >= 4 - 1e-6
    np.testing.assert_array_equal(said, possible)
    assert 0 < possible.sum() < possible.size


def test_the_expert_is_never_caught() -> None:
    """Exact: in every scenario of the held-out family."""
    assert never(ExpertPolicy(WORLD), WORLD, everything("evasion/hunted-painted"), "caught").holds
    idle = never(ConstantPolicy(WORLD, "stay"), WORLD, everything("evasion/hunted-painted"), "caught")
    assert len(idle.violations) == idle.num_scenarios


def paid(played: Trajectories, design: str) -> NDArray[np.float64]:
    return reward(played.events, event_weights(WORLD, design_weights(WORLD, design)))


def test_hostile_is_the_ideal_utility_where_no_ghost_is_scared() -> None:
    for family, same in (
        ("eating/quiet", True),
        ("evasion/hunted", True),
        ("chase/far", False),
        ("courage/near", False),
    ):
        rng = np.random.default_rng(3)
        played = try_out(WORLD, FAMILIES[family].sample(300, rng), rng)
        assert np.array_equal(paid(played, "ideal"), paid(played, "hostile")) == same
        assert played.happened("ate_ghost").any() != same


def test_dots_beside_scared_ghosts_can_be_eaten_without_touching_one() -> None:
    """Round the ghosts, by the shortest of all orders, there is time for all dots: `hostile` need cost none."""
    scenarios = np.unique(everything("courage/near")[:, :5], axis=0)
    for start, red, blue, _, dots in scenarios[:: len(scenarios) // 100].tolist():
        stops = [start, *DOTS[dots].tolist()]
        ways = {stop: round_ghosts(stop, {red, blue}) for stop in stops}
        orders = [(start, *order) for order in permutations(stops[1:])]
        free = [order for order in orders if not {red, blue} & set(order)]
        assert min(sum(ways[a][b] for a, b in pairwise(order)) for order in free) <= HORIZON


def round_ghosts(start: int, ghosts: set[int]) -> dict[int, int]:
    """Steps from `start` to each cell, by cells without ghosts."""
    found, edge = {start: 0}, [start]
    for cell_ in edge:
        for neighbour in NEXT[cell_, :4].tolist():
            if neighbour not in found and neighbour not in ghosts:
                found[neighbour] = found[cell_] + 1
                edge.append(neighbour)
    return found
