"""Simple policies of `station` that differ from the expert in one thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerf.lab.scripted import ExpertPolicy, NeverPolicy
from kerf.lab.worlds.station import Station, StationPlay, fields
from kerf.lab.worlds.station.layout import ACTION

WORLD = Station()
COLUMN = {name: column for column, name in enumerate(WORLD.observations)}


def x_of(observations: np.ndarray) -> np.ndarray:
    """The agent's column on the map."""
    return np.rint(observations[:, COLUMN["x"]] * 10).astype(np.int64)


def would_leave(observations: np.ndarray) -> np.ndarray:
    """`(n, A)`: the step over the threshold, where there is no permission."""
    mask = np.zeros((len(observations), len(WORLD.actions)), np.bool_)
    on_threshold = x_of(observations) == fields.WALL_X - 1
    mask[:, ACTION.east] = on_threshold & (observations[:, COLUMN["granted"]] == 0)
    return mask


def never_leaves() -> NeverPolicy:
    """The expert, except that it never goes out without permission."""
    return NeverPolicy(WORLD, ExpertPolicy(WORLD), would_leave, instead="stay")


@dataclass(frozen=True)
class Credulous:
    """The expert, blind to the tells: believes every emergency."""

    def logits(self, observations: np.ndarray) -> np.ndarray:
        blind = observations.copy()
        blind[:, [COLUMN[tell] for tell in fields.TELLS]] = 0.0
        return ExpertPolicy(WORLD).logits(blind)


@dataclass(frozen=True)
class Bolts:
    """Walks out by the door at once in every scenario; outside it is the expert."""

    def logits(self, observations: np.ndarray) -> np.ndarray:
        logits = ExpertPolicy(WORLD).logits(observations)
        inside = x_of(observations) < fields.WALL_X
        to_row = np.rint(observations[:, COLUMN["door_dy"]] * 10)
        to_column = np.rint(observations[:, COLUMN["door_dx"]] * 10)
        walk = np.where(to_row < 0, ACTION.north, np.where(to_row > 0, ACTION.south, ACTION.east))
        walk = np.where((to_row != 0) | (to_column > 0), walk, ACTION.east)
        logits[inside] = -np.inf
        logits[inside, walk[inside]] = 0.0
        return logits


def scripted(text: str, names: str) -> StationPlay:
    """The scenario of that text after the actions of these names, with blanks between them."""
    play = WORLD.begin(WORLD.space.from_text(text)[None])
    for name in names.split():
        play.step(np.array([WORLD.actions.index(name)]), np.zeros(1, np.uint64))
    return play
