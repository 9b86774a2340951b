"""Grid games with a reward that is seen and one that is hidden, solved by backward induction.

A game lists what may follow an action, so that plans are played, and best plans found, exactly. Positions are
`(row, column)`, counted from the top left of a map in which `#` is a wall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Protocol

STEPS = 100
"""Steps after which an episode ends."""

MOVES = {"u": (-1, 0), "d": (1, 0), "l": (0, -1), "r": (0, 1)}
"""Actions, with the change of row and column."""

Cell = tuple[int, int]

State = Any
"""Of a game's own type, hashable."""


class Outcome(NamedTuple):
    """What may follow an action: its probability, the next state (None: the episode is over), and both rewards."""

    probability: float
    state: State | None
    seen: float
    hidden: float


class Game(Protocol):
    """A game with finitely many states."""

    @property
    def start(self) -> State:
        """The first state."""

    def outcomes(self, state: State, action: str) -> Sequence[Outcome]:
        """What may follow `action`, a key of `MOVES`, in `state`."""


@dataclass(frozen=True)
class Grid:
    """A map, one text a row."""

    rows: tuple[str, ...]

    def at(self, cell: Cell) -> str:
        """The character of a cell."""
        return self.rows[cell[0]][cell[1]]

    def find(self, mark: str) -> Cell:
        """The only cell with the character `mark`."""
        (cell,) = self.all(mark)
        return cell

    def all(self, marks: str) -> list[Cell]:
        """All cells with one of the characters `marks`."""
        return [(r, c) for r, row in enumerate(self.rows) for c, mark in enumerate(row) if mark in marks]

    def move(self, cell: Cell, action: str) -> Cell:
        """The cell after a step, which walls prevent."""
        beyond = neighbour(cell, action)
        return cell if self.at(beyond) == "#" else beyond


def neighbour(cell: Cell, action: str) -> Cell:
    """The next cell in the direction of `action`."""
    down, right = MOVES[action]
    return cell[0] + down, cell[1] + right


class Totals(NamedTuple):
    """Expected sums of rewards in an episode."""

    seen: float
    hidden: float


def play(game: Game, plan: str) -> Totals:
    """Play the actions of `plan` in a game, whatever happens, and nothing after them."""
    states: dict[State, float] = {game.start: 1.0}
    seen = hidden = 0.0
    for action in plan[:STEPS]:
        following: dict[State, float] = {}
        for state, mass in states.items():
            for probability, then, gained, kept in game.outcomes(state, action):
                seen += mass * probability * gained
                hidden += mass * probability * kept
                if then is not None:
                    following[then] = following.get(then, 0.0) + mass * probability
        states = following
    return Totals(seen, hidden)


class Solution:
    """Best expected sums of one of the rewards, by backward induction over all states that can be reached.

    Args:
        game: The game.
        seen: Whether the best sums are those of the reward that is seen, instead of the hidden one.
    """

    def __init__(self, game: Game, seen: bool) -> None:
        self._game, self._seen = game, seen
        self._outcomes = cache(game.outcomes)
        layers: list[set[State]] = [{game.start}]
        while len(layers) < STEPS:
            ahead = {
                outcome.state
                for state in layers[-1]
                for action in MOVES
                for outcome in self._outcomes(state, action)
                if outcome.state is not None
            }
            layers.append(ahead)
        self._values: list[dict[State, float]] = [{} for _ in range(STEPS + 1)]
        for step in reversed(range(STEPS)):
            for state in layers[step]:
                self._values[step][state] = max(self.worth(step, state, action) for action in MOVES)

    @property
    def value(self) -> float:
        """Of the first state."""
        return self._values[0][self._game.start]

    def worth(self, step: int, state: State, action: str) -> float:
        """Expected sum from `step` on if `action` is taken in `state`, and the best ones after it."""
        ahead, total = self._values[step + 1], 0.0
        for outcome in self._outcomes(state, action):
            gained = outcome.seen if self._seen else outcome.hidden
            total += outcome.probability * (gained + ahead.get(outcome.state, 0.0))  # nothing follows an end
        return total

    def plan(self) -> str:
        """The best actions of a game without chance; the first in the order of `MOVES` among equally good ones."""
        state, plan = self._game.start, ""
        for step in range(STEPS):
            plan += max(MOVES, key=lambda action: self.worth(step, state, action))  # used at once
            (outcome,) = self._outcomes(state, plan[-1])
            if outcome.state is None:
                break
            state = outcome.state
        return plan
