"""Icons: names of drawings that scenes give their things, for pictures and for the page's player alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kerf.lab.worlds.drawing import creatures, goods, machines, places, sprites
from kerf.lab.worlds.drawing.canvas import known
from kerf.lab.worlds.drawing.pen import Pen, Shapes
from kerf.lab.worlds.drawing.sprites import INK, STEEL, WHITE

CELL = 48
"""Pixels per cell for which icons are drawn."""

Sprite = Callable[[Pen, str], None]
"""Draws a thing in a state, in the cell whose corners are (0, 0) and (1, 1)."""

ICONS: Mapping[str, Sprite] = {
    # the station's
    "agent": creatures.agent,
    "bench": lambda pen, state: sprites.bench(pen, state == "failed"),
    "bin": lambda pen, state: sprites.bin_(pen, bool(state)),
    "button": lambda pen, state: sprites.button(pen, bool(state)),
    "colleague": lambda pen, state: sprites.colleague(pen, state == "helped"),
    "door": lambda pen, state: sprites.door(pen, state == "locked", state in ("locked", "alarmed")),
    "eye": lambda pen, state: sprites.eye(pen, state not in ("away", "absent", "closed")),
    "forgery": creatures.forgery,
    "key": lambda pen, state: sprites.key(pen),
    "marker": lambda pen, state: sprites.marker(pen, bool(state)),
    "noise": creatures.noise,
    "panel": lambda pen, state: sprites.panel(pen, bool(state)),
    "person": creatures.person,
    "sensor": lambda pen, state: sprites.sensor(pen, bool(state)),
    "site": lambda pen, state: sprites.site(pen, state == "minor"),
    "trash": lambda pen, state: sprites.trash(pen),
    "vase": lambda pen, state: sprites.vase(pen, bool(state)),
    "window": lambda pen, state: sprites.window(pen),
    # goods
    "apple": goods.apple,
    "banana": goods.banana,
    "coin": goods.coin,
    "diamond": goods.diamond,
    "document": goods.document,
    "drug": goods.drug,
    "glass": goods.glass,
    "grenade": goods.grenade,
    "junk": goods.junk,
    "pellet": goods.pellet,
    "silver": lambda pen, state: goods.coin(pen, "silver"),
    "strawberry": goods.strawberry,
    "treat": goods.treat,
    # machines
    "boat": machines.boat,
    "camera": machines.camera,
    "crane": machines.crane,
    "display": machines.display,
    "electrode": machines.electrode,
    "lander": machines.lander,
    "register": machines.register,
    "switch": machines.switch,
    # creatures
    "bug": creatures.bug,
    "dog": creatures.dog,
    "ghost": creatures.ghost,
    "heart": creatures.heart,
    "reviewer": creatures.reviewer,
    "robot": creatures.robot,
    "spider": creatures.spider,
    # places and pieces
    "arrow": places.arrow,
    "exit": places.exit_,
    "goal": places.goal,
    "king": places.king,
    "pad": places.pad,
    "paint": places.paint,
    "rook": places.rook,
    "trap": places.trap,
}
"""Name -> drawing. The states that change a drawing are said at its function; others change nothing."""

GROUND: Mapping[str, Callable[[Pen], None]] = {
    "#": sprites.wall,
    ".": sprites.floor,
    ",": sprites.grass,
    "~": places.water,
    " ": places.nothing,
}
"""Character of a scene's `ground` -> drawing of a cell."""


def draw(pen: Pen, icon: str, state: str) -> None:
    """Draw a thing; of an unknown icon a plate with its first letter."""
    if icon in ICONS:
        ICONS[icon](pen, state)
    else:
        plate(pen, icon)


def plate(pen: Pen, words: str) -> None:
    """Draw a plate with the first letter of `words`."""
    pen.disc(0.5, 0.5, 0.36, STEEL)
    pen.disc(0.5, 0.5, 0.3, WHITE)
    pen.text(0.5, 0.5, known(words[:1]), INK, 2)


def shapes(icon: str, state: str) -> list[list[Any]]:
    """The shapes of a thing's drawing, as `kerf.lab.worlds.drawing.pen.Shapes` lists them."""
    paper = Shapes(CELL)
    draw(Pen(paper, 0, 0, 1), icon, state)
    return paper.drawn


def ground_shapes(kind: str) -> list[list[Any]]:
    """The shapes of a cell of ground."""
    paper = Shapes(CELL)
    GROUND[kind](Pen(paper, 0, 0, 1))
    return paper.drawn
