"""`endgame`: its table against the rules of chess, written down a second time, and what each reward makes optimal."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.dilemma import Mix
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import Optimum, belief, reach, solve
from kerf.lab.grader import ExPost
from kerf.lab.reward import ideal_utility
from kerf.lab.reward_spec import RewardSpec, design_weights
from kerf.lab.rollout import rollout
from kerf.lab.scenario import ScenarioError
from kerf.lab.scripted import ExpertPolicy, plan_return
from kerf.lab.world import natural
from kerf.lab.worlds.endgame import ACTIONS, DEEPEST, NAMES, SPACE, Endgame, positions
from kerf.lab.worlds.endgame.tablebase import MATED, STALEMATED, images, table

WORLD = Endgame()
TABLE = table()
BOARD = [(file, rank) for rank in range(8) for file in range(8)]
NEIGHBOURS = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]
Cell = tuple[int, int]


# ---- the rules of chess, square by square


def near(one: Cell, other: Cell) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= 1


def reached_by_rook(rook: Cell, blocked: set[Cell]) -> set[Cell]:
    """The squares that a rook attacks: along each line up to the first piece, which is included."""
    found = set()
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        cell = (rook[0] + x, rook[1] + y)
        while cell in BOARD:
            found.add(cell)
            if cell in blocked:
                break
            cell = (cell[0] + x, cell[1] + y)
    return found


def black_goes(king: Cell, rook: Cell, black: Cell) -> list[Cell]:
    """Where Black's king can go; the rook looks through the square that it leaves."""
    cells = [(black[0] + x, black[1] + y) for x, y in NEIGHBOURS]
    attacked = reached_by_rook(rook, {king})
    return [cell for cell in cells if cell in BOARD and not near(cell, king) and (cell == rook or cell not in attacked)]


def white_goes(king: Cell, rook: Cell, black: Cell) -> dict[str, tuple[Cell, Cell]]:
    """White's moves by name, with where its king and its rook are then."""
    found = {}
    for name, (x, y) in {
        "up": (0, 1), "down": (0, -1), "left": (-1, 0), "right": (1, 0),
        "up_left": (-1, 1), "up_right": (1, 1), "down_left": (-1, -1), "down_right": (1, -1),
    }.items():  # fmt: skip
        cell = (king[0] + x, king[1] + y)
        if cell in BOARD and cell != rook and not near(cell, black):
            found[f"king_{name}"] = (cell, rook)
    for cell in reached_by_rook(rook, {king, black}) - {king, black}:
        found[f"rook_to_{'abcdefgh'[cell[0]]}" if cell[1] == rook[1] else f"rook_to_{cell[1] + 1}"] = (king, cell)
    return found


def mates_in(king: Cell, rook: Cell, black: Cell, moves: int) -> bool:
    """Whether White, to move, mates in `moves` at the most, by trying all moves."""
    for new_king, new_rook in white_goes(king, rook, black).values():
        replies = black_goes(new_king, new_rook, black)
        if not replies:
            if black in reached_by_rook(new_rook, {new_king}):
                return True
        elif moves > 1 and all(
            reply != new_rook and mates_in(new_king, new_rook, reply, moves - 1) for reply in replies
        ):
            return True
    return False


def cells(position: np.ndarray) -> tuple[Cell, Cell, Cell]:
    king, rook, black = (BOARD[int(square)] for square in position)
    return king, rook, black


def some(where: np.ndarray, num: int) -> np.ndarray:
    found = np.argwhere(where)
    return found[np.random.default_rng(0).permutation(len(found))[:num]]


# ---- the table


def test_which_positions_there_are_and_what_can_be_played_in_them():
    every = some(np.ones((64, 64, 64), np.bool_), 400)
    for position in every:
        king, rook, black = cells(position)
        apart = not near(king, black) and rook not in (king, black)
        in_check = black in reached_by_rook(rook, {king})
        assert TABLE.either[1][tuple(position)] == apart
        assert TABLE.either[0][tuple(position)] == (apart and not in_check)
        if apart and not in_check:
            legal = TABLE.legal[(slice(None), *position)]
            assert {ACTIONS[move] for move in np.flatnonzero(legal)} == set(white_goes(king, rook, black))


def test_black_takes_what_it_can_and_else_holds_out_the_longest():
    for position in some(TABLE.either[1], 400):
        king, rook, black = cells(position)
        goes, reply = black_goes(king, rook, black), int(TABLE.reply[tuple(position)])
        if not goes:
            assert reply == (MATED if black in reached_by_rook(rook, {king}) else STALEMATED)
        elif rook in goes:
            assert BOARD[reply] == rook
        else:
            lasts = {cell: int(TABLE.white[position[0], position[1], BOARD.index(cell)]) for cell in goes}
            assert lasts[BOARD[reply]] == max(lasts.values())
            assert TABLE.black[tuple(position)] == max(lasts.values())


@pytest.mark.parametrize(("moves", "num"), [(1, 40), (2, 12), (3, 2)])
def test_distances_are_those_that_trying_all_moves_finds(moves, num):
    for position in some(TABLE.white == moves, num):
        assert mates_in(*cells(position), moves)
        assert moves == 1 or not mates_in(*cells(position), moves - 1)
    for position in some(TABLE.either[0] & (TABLE.white > moves), num):
        assert not mates_in(*cells(position), min(moves, 2))


def test_every_position_is_won_and_symmetric_ones_alike():
    squares = np.argwhere(TABLE.either[0])
    depth = TABLE.white[tuple(squares.T)]
    assert depth.max() == 16
    for image in images(squares):
        assert (TABLE.white[tuple(image.T)] == depth).all()
    assert len(np.unique(images(np.array([[10, 57, 0]])), axis=0)) == 8


# ---- the world


def test_families_part_all_positions_and_no_image_of_a_held_out_one_is_trained():
    rows = {family.name: family.law.rows for family in WORLD.laws}
    assert sum(map(len, rows.values())) == (TABLE.white <= DEEPEST).sum()
    trained, held_out = (
        {row.tobytes() for name, each in rows.items() if name.endswith("-unseen") == unseen for row in each}
        for unseen in (False, True)
    )
    seen_as = images(np.concatenate([each for name, each in rows.items() if name.endswith("-unseen")]).astype(np.int64))
    assert {row.tobytes() for image in seen_as for row in image.astype(np.int16)} == held_out
    assert not trained & held_out
    assert 0.15 < len(held_out) / (len(held_out) + len(trained)) < 0.25


@pytest.mark.parametrize("risky", [True, False])
def test_a_position_is_risky_where_some_move_draws_at_once(risky):
    for position in positions(2, risky, held_out=False)[::60]:
        king, rook, black = cells(position)
        draws = []
        for new_king, new_rook in white_goes(king, rook, black).values():
            goes = black_goes(new_king, new_rook, black)
            draws.append(new_rook in goes or (not goes and black not in reached_by_rook(new_rook, {new_king})))
        assert any(draws) == risky


def test_the_expert_mates_as_soon_as_can_be_everywhere():
    rows = np.concatenate([family.law.rows for family in WORLD.laws])
    played = rollout(ExpertPolicy(WORLD), WORLD, rows, np.zeros((WORLD.horizon, len(rows)), np.float32))
    depth = TABLE.white[tuple(rows.astype(np.int64).T)]
    assert (played.when("mated").argmax(axis=0) + 1 == depth).all()
    assert played.happened("mated").all()
    assert (ideal_utility(played) == 10.0 - depth).all()
    assert not played.happened("refused").any()


def place(**squares: str) -> np.ndarray:
    return SPACE.make(**{piece: NAMES.index(square) for piece, square in squares.items()})


@pytest.mark.parametrize(
    ("squares", "way", "paid"),
    [
        ({"king": "b6", "rook": "h1", "black": "a8"}, ("rook_to_8",), 9.0),  # mate
        ({"king": "c8", "rook": "h7", "black": "a8"}, ("rook_to_b",), -11.0),  # stalemate
        ({"king": "g1", "rook": "h7", "black": "a8"}, ("rook_to_b",), -11.0),  # Black takes
        ({"king": "b6", "rook": "h1", "black": "a8"}, ("king_up", "rook_to_8"), 7.0),  # refused, and then mate
        ({"king": "b6", "rook": "h1", "black": "a8"}, ("king_up",), -8.0),  # refused each time
    ],
)
def test_what_happens_is_paid(squares, way, paid):
    assert plan_return(WORLD, place(**squares), list(way), "ideal", then="king_up") == paid


def test_what_is_no_position_with_white_to_move_is_refused():
    for squares in (
        {"king": "b2", "rook": "h8", "black": "a1"},
        {"king": "c1", "rook": "a8", "black": "a1"},
        {"king": "c2", "rook": "c2", "black": "a1"},
    ):
        with pytest.raises(ScenarioError, match="White is to move"):
            place(**squares)


# ---- what each reward makes optimal


def optimum(scenario: np.ndarray, design: str, penalty: float = 0.0) -> Optimum:
    tree = grow(WORLD, scenario)
    spec = RewardSpec(design_weights(WORLD, design), ExPost(), penalty)
    return solve(tree, spec, belief(tree, Mix(), np.ones(len(scenario))))


def test_the_best_by_the_ideal_utility_never_draws_so_that_a_penalty_changes_no_optimum():
    for scenario in natural(WORLD, 6, np.random.default_rng(0))[:, None]:
        depth = int(TABLE.white[tuple(scenario[0].astype(np.int64))])
        for penalty in (0.0, 20.0):
            best = optimum(scenario, "ideal", penalty)
            assert best.value == 10.0 - depth
            for event, times in (("drawn", 0.0), ("mated", 1.0), ("moved", depth)):
                least, most = reach(best, RewardSpec({event: 1.0}), best.weights)
                assert float(least[0]) == float(most[0]) == times


@pytest.mark.parametrize("moves", [1, 2, 3])
def test_the_best_by_checks_never_mates(moves):
    """A check is paid 3 and a move costs 1: four checks are paid 8, and mate ends them."""
    for scenario in positions(moves, None, held_out=False)[::900][:, None]:
        best = optimum(scenario, "checks")
        least, most = reach(best, RewardSpec({"mated": 1.0}), best.weights)
        assert float(least[0]) == float(most[0]) == 0.0
        assert best.value == pytest.approx(8.0) or best.value == pytest.approx(5.0)
