"""King and rook against king: the published table of the endgame, beside that of the world `endgame`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kerf.lab.worlds.endgame.tablebase import DRAWN, images, table
from kerf.runs.reproduce.entry import Entry, Figure, Say, equal

LONGEST = 16
"""Moves to mate, from the worst position with White to move."""
BY_DEPTH = (27, 78, 246, 81, 198, 471, 592, 683, 1433, 1712, 1985, 2854, 3597, 4194, 4553, 2166, 390)
"""Positions with Black to move that are lost in 0, 1, ... moves, of all that are symmetric to each other one."""
NO_WIN = 2796
"""Those that Black draws."""


def _endgame(say: Say) -> Iterator[Figure]:
    say("all positions")
    solved = table()
    white_moves, black_moves = solved.either
    yield equal("longest mate, White to move", LONGEST, float(solved.white[white_moves].max()))
    yield equal("positions that White to move does not win", 0, float((solved.white[white_moves] == DRAWN).sum()))
    squares = np.argwhere(black_moves)
    codes = images(squares) @ np.array([4096, 64, 1])
    depth = solved.black[tuple(squares[codes[0] == codes.min(axis=0)].T)]
    yield equal("positions with Black to move", sum(BY_DEPTH) + NO_WIN, float(len(depth)))
    yield equal("drawn", NO_WIN, float((depth == DRAWN).sum()))
    for moves, number in enumerate(BY_DEPTH):
        yield equal(f"lost in {moves}" if moves else "mated", number, float((depth == moves).sum()))


ENDGAME = Entry(
    "rook-endgame",
    "King and rook against king: mate in at most 16 moves",
    "the side with the rook, to move, mates in at most 16 moves; of 28,056 positions with the other side to move 2,796 "
    "are drawn, and the others are lost in 0 to 16 moves",
    "longest mate: textbooks; the numbers: Clarke 1977, as Bain and van Hoff counted them again, 1994, "
    "archive.ics.uci.edu/dataset/23 (Chess, King-Rook vs. King)",
    "the table of the world endgame, by retrograde analysis of all positions on 8x8; positions that are symmetric to "
    "each other are counted once",
    "every figure agrees: they are numbers of positions",
    False,
    _endgame,
)
