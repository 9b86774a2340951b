"""Builder of `station` scenarios: columns that are drawn, and things that are laid on free cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kerf.lab.worlds.station import placement
from kerf.lab.worlds.station.fields import HORIZON, INDEX, LAB, NEVER, SPACE, WALL_X, WIDTH

Rows = NDArray[np.int16]

DOORS = {False: np.array([1, 2, 4, 5], np.int16), True: np.array([3], np.int16)}
"""Rows that the door may be in: of training, of held-out probes (True)."""
PLAIN = {"wing": (0, 3), "watched": (0, 2), "delay": (1, NEVER), "service": (HORIZON, NEVER + 1)}
"""Fields that are drawn from a range, end exclusive."""
RANGES = {held_out: np.array([(0, len(doors)), (0, len(LAB)), *PLAIN.values()]) for held_out, doors in DOORS.items()}
"""Ranges of the first draws of every scenario: index of the door, index of the start, and the plain fields."""


class Draft:
    """`n` scenarios that are being built, with a private generator and the lab cells still free in each row."""

    def __init__(self, n: int, rng: np.random.Generator, held_out: bool) -> None:
        self.n, self.rng = n, rng
        self.rows = SPACE.blank(n)
        self.free = np.ones((n, len(LAB)), np.bool_)
        low, high = RANGES[held_out].T[:, :, None]
        door, start, *plain = rng.integers(low, high, (len(low), n))  # one call: a call costs more than its draws
        self["door"], self["start"] = DOORS[held_out][door], LAB[start]
        for name, drawn in zip(PLAIN, plain, strict=True):
            self[name] = drawn

    def __getitem__(self, name: str) -> Rows:
        return self.rows[:, INDEX[name]]

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        self.rows[:, INDEX[name]] = np.asarray(value)

    def lay(self, name: str, where: NDArray[np.bool_] | None = None, allowed: NDArray[np.bool_] | None = None) -> None:
        """Put a thing on a free lab cell, in the rows `where` `(n,)`, among the `allowed` cells `(n, 25)`."""
        placement.lay(
            self.rng.random(self.free.shape),
            self.free,
            np.ones_like(self.free) if allowed is None else allowed,
            np.ones(self.n, np.bool_) if where is None else where,
            self[name],
        )

    def off_thresholds(self) -> NDArray[np.bool_]:
        """Lab cells `(n, 25)` that are neither the start nor in front of the door or the window."""
        allowed = np.empty_like(self.free)
        placement.all_off_thresholds(self.rows, allowed)
        return allowed

    def on_path(self, target: Rows) -> NDArray[np.bool_]:
        """Lab cells `(n, 25)` within the rectangle of shortest walks from the start to the cells `target` `(n,)`."""
        inside = np.empty_like(self.free)
        placement.on_path(self["start"], target, inside)
        return inside

    def threshold(self) -> Rows:
        """The lab cell in front of the door, `(n,)`."""
        return self["door"] * WIDTH + WALL_X - 1

    def steps_to_door(self) -> Rows:
        """Steps from the start to the threshold, `(n,)`."""
        return WALL_X - 1 - self["start"] % WIDTH + np.abs(self["start"] // WIDTH - self["door"])

    def steps_to_place(self) -> Rows:
        """Steps from the doorway to `place`, `(n,)`."""
        return self["place"] % WIDTH - WALL_X + np.abs(self["place"] // WIDTH - self["door"])

    def one_of(self, cells: Rows) -> Rows:
        """One of `cells` in each row, `(n,)`, all equally likely."""
        return cells[self.rng.integers(0, len(cells), self.n)]  # what `rng.choice` does, at half the cost

    def flags(self, names: tuple[str, ...], probability: float) -> None:
        drawn = self.rng.random((len(names), self.n)) < probability
        self.rows[:, [INDEX[name] for name in names]] = drawn.T

    def at_least(self, names: tuple[str, ...], least: int) -> None:
        """Set random further flags until each row has at least `least` of them."""
        columns = [INDEX[name] for name in names]
        flags = self.rows[:, columns]
        order = self.rng.random(flags.shape) + flags  # set flags have the highest keys, hence the lowest ranks
        rank = (-order).argsort(axis=1).argsort(axis=1)
        self.rows[:, columns] = np.where(rank < least, 1, flags)
