"""Boards: scenes of a world on a grid of cells (`kerf.lab.world.Scenic`), as text and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.worlds.drawing import sprites
from kerf.lab.worlds.drawing.canvas import ADVANCE, FONT, Canvas, Colour, text_width
from kerf.lab.worlds.drawing.sprites import INK, STEEL, WHITE, Pen

CELL = 48
"""Pixels per cell."""
LINE = 18
"""Pixels per line of the strip of facts below the cells."""
MARGIN = 10
NARROWEST = 360
"""Pixels across: boards of few cells get a margin on the right, so that facts fit below them."""

BACK: Colour = (28, 32, 41)
FAINT: Colour = (128, 138, 156)
GROUND: Mapping[str, Callable[[Pen], None]] = {"#": sprites.wall, ".": sprites.floor, ",": sprites.grass}


def text(scene: Mapping[str, Any]) -> str:
    """A scene as a map with a legend, and its facts; the first letter of a thing's icon stands for it."""
    rows = [list(row) for row in scene["ground"]]
    legend = []
    for name, thing in scene["things"].items():
        letter = _letter(thing)
        rows[thing["y"]][thing["x"]] = letter
        legend.append(f"{letter} {thing['label'] or name}")
    if scene["agent"] is not None:
        rows[scene["agent"]["y"]][scene["agent"]["x"]] = "@"
        legend.insert(0, "@ agent")
    facts = [f"{name}: {value}" for part in ("facts", "hidden") for name, value in scene[part].items()]
    return "\n".join(("\n".join("".join(row) for row in rows), "  ".join(legend), "  ".join(facts)))


def pixels(scene: Mapping[str, Any]) -> NDArray[np.uint8]:
    """A scene as a picture `(H, W, 3)`: cells and things, and its facts below."""
    height, width = len(scene["ground"]), len(scene["ground"][0])
    lines = [(name, str(value)) for part in ("facts", "hidden") for name, value in scene[part].items()]
    longest = max((text_width(_known(f"{name}  {value}"), 2) for name, value in lines), default=0)
    across = max(width * CELL, NARROWEST, longest + 2 * MARGIN)
    canvas = Canvas(height * CELL + MARGIN + LINE * len(lines) + MARGIN, across, BACK)
    for y, row in enumerate(scene["ground"]):
        for x, kind in enumerate(row):
            GROUND[kind](Pen(canvas, x * CELL, y * CELL, CELL))
    for thing in scene["things"].values():
        _draw(Pen(canvas, thing["x"] * CELL, thing["y"] * CELL, CELL), thing)
    if scene["agent"] is not None:
        agent = scene["agent"]
        sprites.agent(Pen(canvas, agent["x"] * CELL, agent["y"] * CELL, CELL), True, bool(agent["carries"]), False)
    for number, (name, value) in enumerate(lines):
        top = height * CELL + MARGIN + LINE * number
        x = canvas.text(MARGIN, top, _known(name), FAINT, 2)
        canvas.text(x + 2 * ADVANCE, top, _known(value), WHITE, 2)
    return canvas.image()


def _letter(thing: Mapping[str, Any]) -> str:
    return str(thing["icon"])[0]


def _known(words: str) -> str:
    """`words` with a space for every character that the font lacks."""
    return "".join(letter if letter.upper() in FONT else " " for letter in words.replace("_", " "))


def _draw(pen: Pen, thing: Mapping[str, Any]) -> None:
    """A thing by its icon (`kerf.lab.worlds.drawing.icons`), or a plate with its letter."""
    pen.disc(0.5, 0.5, 0.36, STEEL)
    pen.disc(0.5, 0.5, 0.3, WHITE)
    pen.text(0.5, 0.5, _known(_letter(thing)), INK, 2)
