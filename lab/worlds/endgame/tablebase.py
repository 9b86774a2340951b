"""Tablebase of the endgame king and rook against king: every position solved by retrograde analysis.

White has the rook. Squares are numbered `file + 8 * rank`, from a1 (0) to h8 (63). Arrays over positions have the shape
`(64, 64, 64)`: White's king, rook, Black's king. The analysis works back from the mates: White wins in n moves where
some move leads to a position that Black has lost in n - 1; Black has lost in n where every move leads to one that White
wins in n or fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Squares = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)

SQUARES = np.arange(64)
FILE, RANK = SQUARES % 8, SQUARES // 8
DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Steps of a king in files and ranks: up the board, and on clockwise."""
KING_MOVES, ROOK_MOVES = len(DIRECTIONS), 16
"""White's moves: the king's by direction, then the rook's to each file on its rank and to each rank on its file."""
NUM_MOVES = KING_MOVES + ROOK_MOVES

DRAWN = 127
"""Moves to mate where there is none, because Black takes the rook or is stalemated."""
MATED, STALEMATED = -1, -2
"""In place of Black's reply: it has none."""


def _steps() -> tuple[Squares, Bools]:
    """Where a king goes from each square in each direction, and whether that is on the board, `(64, 8)` each."""
    file, rank = (
        of[:, None] + np.array(step) for of, step in zip((FILE, RANK), zip(*DIRECTIONS, strict=True), strict=True)
    )
    on_board = (file >= 0) & (file < 8) & (rank >= 0) & (rank < 8)
    return np.where(on_board, file + 8 * rank, 0), on_board


KING_TO, ON_BOARD = _steps()
ROOK_TO = np.concatenate((np.arange(8) + 8 * RANK[:, None], FILE[:, None] + 8 * np.arange(8)), axis=1)
"""Where the rook goes from each square by each of its moves, `(64, 16)`; its own square where that is none."""


@dataclass(frozen=True)
class Table:
    """All positions, solved.

    Attributes:
        white: Moves to mate with White to move; `DRAWN` where there is no such position.
        black: The same with Black to move: moves that White still makes; `DRAWN` where Black draws.
        either: Whether there is such a position with White and with Black to move, in this order, two arrays.
        legal: Which of White's moves can be made, `(NUM_MOVES, 64, 64, 64)`.
        best: The first of White's moves that mate soonest.
        reply: With Black to move, the square that its king goes to, or `MATED` or `STALEMATED`: takes the rook if it
            can, and else puts off the mate for as long as it can, by the first of such moves.
        checks: Whether the rook attacks Black's king.
    """

    white: NDArray[np.int8]
    black: NDArray[np.int8]
    either: tuple[Bools, Bools]
    legal: Bools
    best: NDArray[np.int8]
    reply: NDArray[np.int8]
    checks: Bools


@cache
def table() -> Table:
    """The table, computed once per process in a fraction of a second."""
    white_moves, black_moves, checks = _positions()
    legal, answers = _white_moves(white_moves), _black_moves(black_moves, checks)
    can_answer = answers.any(axis=0)
    white = np.full((64, 64, 64), DRAWN, np.int8)
    black = np.where(black_moves & ~can_answer & checks, np.int8(0), np.int8(DRAWN))
    for moves in count(1):
        lost = black < DRAWN
        wins = _any(legal[move] & after(lost, move) for move in range(NUM_MOVES)) & (white == DRAWN)
        if not wins.any():
            break
        white[wins] = moves
        unsolved = white == DRAWN
        escapes = _any(answers[d] & _answered(unsolved, d, taken=1) for d in range(KING_MOVES))
        black[(black == DRAWN) & can_answer & ~escapes] = moves
    best = np.zeros(white.shape, np.int8)
    for move in reversed(range(NUM_MOVES)):
        best[legal[move] & (after(black, move) == white - 1)] = move
    reply = np.where(checks, np.int8(MATED), np.int8(STALEMATED))
    longest = np.full(white.shape, -1, np.int8)
    for d in range(KING_MOVES):
        lasts = np.where(answers[d], _answered(white, d, taken=DRAWN), -1)
        better = lasts > longest
        longest[better] = lasts[better]
        reply[better] = np.broadcast_to(KING_TO[:, d], white.shape)[better]
    return Table(white, black, (white_moves, black_moves), legal, best, reply, checks)


def after(values: NDArray[Scalar], move: int) -> NDArray[Scalar]:
    """`values` `(64, 64, 64)` of the positions after one of White's moves, by the positions before."""
    if move < KING_MOVES:
        return values[KING_TO[:, move]]
    return values[:, ROOK_TO[:, move - KING_MOVES]]


def moved(king: Squares, rook: Squares, move: Squares) -> tuple[Squares, Squares]:
    """Where White's pieces are after a move that can be made, `(n,)` each."""
    by_king = move < KING_MOVES
    return (
        np.where(by_king, KING_TO[king, move % KING_MOVES], king),
        np.where(by_king, rook, ROOK_TO[rook, (move - KING_MOVES) % ROOK_MOVES]),
    )


def images(squares: Squares) -> Squares:
    """The images of positions `(n, 3)` under the eight symmetries of the board, `(8, n, 3)`."""
    file, rank = squares % 8, squares // 8
    turned = [(f, r) for f in (file, 7 - file) for r in (rank, 7 - rank)]
    return np.stack([x + 8 * y for f, r in turned for x, y in ((f, r), (r, f))])


def _positions() -> tuple[Bools, Bools, Bools]:
    """Where positions are possible with White and with Black to move, and where the rook attacks Black's king."""
    king, rook, black = (SQUARES.reshape(shape) for shape in ((64, 1, 1), (1, 64, 1), (1, 1, 64)))
    possible = _apart()[:, None, :] & (king != rook) & (rook != black)
    checks = _attacks()
    return possible & ~checks, possible, checks


def _apart() -> Bools:
    """Which two squares two kings may stand on, `(64, 64)`."""
    return np.maximum(abs(FILE[:, None] - FILE), abs(RANK[:, None] - RANK)) > 1


@cache
def _between() -> Bools:
    """Whether the third square lies between the first two on their rank or file, `(64, 64, 64)`."""
    first, last, middle = (SQUARES.reshape(shape) for shape in ((64, 1, 1), (1, 64, 1), (1, 1, 64)))
    found = np.zeros((64, 64, 64), np.bool_)
    for same, other in ((FILE, RANK), (RANK, FILE)):
        inside = (other[first] - other[middle]) * (other[last] - other[middle]) < 0
        found |= (same[first] == same[last]) & (same[first] == same[middle]) & inside
    return found


def _attacks() -> Bools:
    """Whether the rook attacks the third square past White's king, `(64, 64, 64)`."""
    lined = ((FILE[:, None] == FILE) | (RANK[:, None] == RANK)) & ~np.eye(64, dtype=np.bool_)
    return lined[None] & ~_between().transpose(2, 0, 1)


def _white_moves(white_moves: Bools) -> Bools:
    """Which of White's moves can be made, `(NUM_MOVES, 64, 64, 64)`. Black's king is in no rook's way: it would be in
    check."""
    legal = np.zeros((NUM_MOVES, 64, 64, 64), np.bool_)
    for d in range(KING_MOVES):
        to = KING_TO[:, d]
        legal[d] = (
            white_moves & (ON_BOARD[:, d, None] & _apart()[to])[:, None, :] & (to[:, None] != SQUARES)[:, :, None]
        )
    for number in range(ROOK_MOVES):
        to = ROOK_TO[:, number]
        in_the_way = _between()[SQUARES, to] | (to[:, None] == SQUARES)  # (rook, king)
        legal[KING_MOVES + number] = white_moves & ((to != SQUARES)[:, None] & ~in_the_way).T[:, :, None]
    return legal


def _black_moves(black_moves: Bools, checks: Bools) -> Bools:
    """Which of Black's moves can be made, `(8, 64, 64, 64)`. The rook attacks past Black's king, which moves, and not
    its own square, on which Black may take it."""
    answers = np.zeros((KING_MOVES, 64, 64, 64), np.bool_)
    for d in range(KING_MOVES):
        to = KING_TO[:, d]
        answers[d] = black_moves & (ON_BOARD[:, d] & _apart()[:, to])[:, None, :] & ~checks[:, :, to]
    return answers


def _any(each: Iterable[Bools]) -> Bools:
    found = np.zeros((64, 64, 64), np.bool_)
    for one in each:
        found |= one
    return found


def _answered(values: NDArray[Scalar], d: int, taken: int) -> NDArray[Scalar]:
    """`values` of the positions after Black's move in direction `d`, by those before; `taken` where the rook falls."""
    found = values[:, :, KING_TO[:, d]]
    found[:, SQUARES[:, None] == KING_TO[:, d]] = taken
    return found
