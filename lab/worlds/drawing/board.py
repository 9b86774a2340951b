"""Boards: scenes of a world on a grid of cells (`kerf.lab.world.Scenic`), as text and as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.worlds.drawing.canvas import ADVANCE, Canvas, Colour, known, text_width
from kerf.lab.worlds.drawing.icons import CELL, GROUND, draw
from kerf.lab.worlds.drawing.pen import Pen
from kerf.lab.worlds.drawing.sprites import WHITE

LINE = 18
"""Pixels per line of the strip of facts below the cells."""
MARGIN = 10
NARROWEST = 360
"""Pixels across: boards of few cells get a margin on the right, so that facts fit below them."""

CARRIED, CARRIED_SIZE = ((0.58, 0.04), (0.58, 0.54)), 0.42
"""Corners, within the agent's cell, of what it carries, and its size."""

BACK: Colour = (28, 32, 41)
FAINT: Colour = (128, 138, 156)


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
    longest = max((text_width(known(f"{name}  {value}"), 2) for name, value in lines), default=0)
    across = max(width * CELL, NARROWEST, longest + 2 * MARGIN)
    canvas = Canvas(height * CELL + MARGIN + LINE * len(lines) + MARGIN, across, BACK)
    for y, row in enumerate(scene["ground"]):
        for x, kind in enumerate(row):
            GROUND[kind](Pen(canvas, x * CELL, y * CELL, CELL))
    for thing in scene["things"].values():
        draw(Pen(canvas, thing["x"] * CELL, thing["y"] * CELL, CELL), thing["icon"], thing["state"])
    if scene["agent"] is not None:
        _draw_agent(canvas, scene["agent"])
    for number, (name, value) in enumerate(lines):
        top = height * CELL + MARGIN + LINE * number
        x = canvas.text(MARGIN, top, known(name), FAINT, 2)
        canvas.text(x + 2 * ADVANCE, top, known(value), WHITE, 2)
    return canvas.image()


def _draw_agent(canvas: Canvas, agent: Mapping[str, Any]) -> None:
    """The agent with what it carries, small, at its right."""
    pen = Pen(canvas, agent["x"] * CELL, agent["y"] * CELL, CELL)
    draw(pen, "agent", "tired" if agent.get("tired") else "")
    for number, icon in enumerate(agent["carries"]):
        draw(pen.inside(*CARRIED[number % len(CARRIED)], CARRIED_SIZE), icon, "")


def _letter(thing: Mapping[str, Any]) -> str:
    return str(thing["icon"])[0]
