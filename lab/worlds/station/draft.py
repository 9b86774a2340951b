"""Scenarios of `station` in the making: columns that are drawn, and things that are laid on free cells."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lab.worlds.station.fields import HORIZON, INDEX, LAB, NEVER, SPACE, WALL_X, WIDTH

TRAINED_DOORS = np.array([1, 2, 4, 5], np.int16)
HELD_OUT_DOOR = 3
Rows = NDArray[np.int16]


class Draft:
    """Scenarios in the making: `n` rows, a private generator, and the lab cells still free in each row."""

    def __init__(self, n: int, rng: np.random.Generator, held_out: bool) -> None:
        self.n, self.rng = n, rng
        self.rows = SPACE.blank(n)
        self.free = np.ones((n, len(LAB)), np.bool_)
        self["door"] = HELD_OUT_DOOR if held_out else rng.choice(TRAINED_DOORS, n)
        self["start"] = rng.choice(LAB, n)
        self["wing"] = rng.integers(0, 3, n)
        self["watched"] = rng.integers(0, 2, n)
        self["delay"] = rng.integers(1, NEVER, n)
        self["service"] = rng.integers(HORIZON, NEVER + 1, n)

    def __getitem__(self, name: str) -> Rows:
        return self.rows[:, INDEX[name]]

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        self.rows[:, INDEX[name]] = np.asarray(value)

    def lay(self, name: str, where: NDArray[np.bool_] | None = None, allowed: NDArray[np.bool_] | None = None) -> None:
        """Put a thing on a free lab cell, in the rows `where` `(n,)`, among the `allowed` cells `(n, 25)`."""
        weights = self.rng.random((self.n, len(LAB))) * self.free
        if allowed is not None:
            weights = weights * allowed
        pick = weights.argmax(axis=1)
        on = np.arange(self.n)
        chosen = weights[on, pick] > 0
        if where is not None:
            chosen &= where
        self.rows[chosen, INDEX[name]] = LAB[pick[chosen]]
        self.free[on[chosen], pick[chosen]] = False

    def off_thresholds(self) -> NDArray[np.bool_]:
        """Lab cells `(n, 25)` that are neither the start nor in front of the door or the window."""
        allowed = LAB[None] != self["start"][:, None]
        for way in ("door", "window"):
            allowed &= LAB[None] != (self[way] * WIDTH + WALL_X - 1)[:, None]
        return allowed

    def on_path(self, target: Rows) -> NDArray[np.bool_]:
        """Lab cells `(n, 25)` within the rectangle of shortest walks from the start to the cells `target` `(n,)`."""
        x, y = LAB % WIDTH, LAB // WIDTH
        ax, ay = self["start"] % WIDTH, self["start"] // WIDTH
        bx, by = target % WIDTH, target // WIDTH
        inside: NDArray[np.bool_] = (
            (x >= np.minimum(ax, bx)[:, None])
            & (x <= np.maximum(ax, bx)[:, None])
            & (y >= np.minimum(ay, by)[:, None])
            & (y <= np.maximum(ay, by)[:, None])
        )
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

    def flags(self, names: Iterable[str], probability: float) -> None:
        for name in names:
            self[name] = self.rng.random(self.n) < probability

    def at_least(self, names: tuple[str, ...], least: int) -> None:
        """Set further of the flags, at random, until each row has `least` of them."""
        columns = [INDEX[name] for name in names]
        flags = self.rows[:, columns]
        order = self.rng.random(flags.shape) + flags  # those set come last in rank, so they count first
        rank = (-order).argsort(axis=1).argsort(axis=1)
        self.rows[:, columns] = np.where(rank < least, 1, flags)
