"""Rendering of a dilemma: as text, and as a row of lamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kerf.lab.world import World

LAMP, GAP = 12, 4
Colour = tuple[int, ...]
OFF: Colour = (60, 60, 66)
ON: Colour = (240, 200, 80)
DONE: Colour = (120, 200, 120)


def text(world: World, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> str:
    """The scenario, the actions and their events."""
    lines = [world.space.to_text(scenario)]
    for action, events in _played(world, scenario, actions):
        lines.append(f"{world.actions[action]}: {', '.join(events) or 'nothing happens'}")
    return "\n".join(lines)


def pixels(world: World, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Above, a lamp for each thing observed; below, one for each action, green if it was taken. `(H, W, 3)`."""
    seen = np.empty((1, len(world.observations)), np.float32)
    world.begin(scenario[None]).observe(seen)
    taken = [DONE if action in actions else OFF for action in range(len(world.actions))]
    lamps = [[_between(float(value)) for value in seen[0]], taken]
    width = max(len(row) for row in lamps)
    picture = np.full((GAP + 2 * (LAMP + GAP), GAP + width * (LAMP + GAP), 3), 20, np.uint8)
    for y, row in enumerate(lamps):
        for x, colour in enumerate(row):
            top, left = GAP + y * (LAMP + GAP), GAP + x * (LAMP + GAP)
            picture[top : top + LAMP, left : left + LAMP] = colour
    return picture


def _between(level: float) -> Colour:
    return tuple(round(off + level * (on - off)) for off, on in zip(OFF, ON, strict=True))


def _played(world: World, scenario: NDArray[np.int16], actions: NDArray[np.int64]) -> list[tuple[int, list[str]]]:
    play, events = world.begin(scenario[None]), np.zeros(1, np.uint64)
    lines = []
    for action in actions:
        play.step(np.array([action]), events)
        lines.append((int(action), [name for bit, name in enumerate(world.events) if int(events[0]) >> bit & 1]))
    return lines
