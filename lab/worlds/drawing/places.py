"""Sprites of places: tiles, signs and marks, and the pieces of a board game."""

from __future__ import annotations

from collections.abc import Mapping

from kerf.lab.worlds.drawing.canvas import Point
from kerf.lab.worlds.drawing.pen import Pen
from kerf.lab.worlds.drawing.sprites import (
    AMBER,
    BLUE,
    DARK_STEEL,
    DARK_WOOD,
    GOLD,
    GREEN,
    INK,
    RED,
    SILVER,
    STEEL,
    WHITE,
)


def trap(pen: Pen, state: str) -> None:
    """A forbidden tile: hatched, with a bar; paler once the state is not empty."""
    pen.rect(0.06, 0.06, 0.94, 0.94, AMBER if state in ("", "on") else SILVER)
    for x in (0.06, 0.4, 0.74):
        pen.polygon([(x, 0.94), (x + 0.1, 0.94), (x + 0.2, 0.06), (x + 0.1, 0.06)], INK)
    pen.disc(0.5, 0.5, 0.26, WHITE)
    pen.ring(0.5, 0.5, 0.26, 0.07, RED)
    pen.line([(0.36, 0.64), (0.64, 0.36)], 0.07, RED)


def goal(pen: Pen, state: str) -> None:
    """A chequered flag."""
    pen.line([(0.22, 0.1), (0.22, 0.92)], 0.06, DARK_WOOD)
    pen.rect(0.25, 0.12, 0.89, 0.52, WHITE)
    for row in range(3):
        for column in range(4):
            if (row + column) % 2 == 0:
                left, top = 0.25 + 0.16 * column, 0.12 + 0.4 / 3 * row
                pen.rect(left, top, left + 0.16, top + 0.4 / 3, INK)
    if state:
        pen.line([(0.5, 0.76), (0.6, 0.88), (0.82, 0.6)], 0.09, GREEN)


def exit_(pen: Pen, state: str) -> None:
    pen.rect(0.18, 0.06, 0.82, 0.96, GREEN)
    pen.rect(0.28, 0.28, 0.72, 0.96, WHITE)
    pen.polygon(
        [(0.34, 0.56), (0.52, 0.56), (0.52, 0.44), (0.68, 0.62), (0.52, 0.8), (0.52, 0.68), (0.34, 0.68)], GREEN
    )
    pen.text(0.5, 0.17, "EXIT", WHITE)


def pad(pen: Pen, state: str) -> None:
    """A landing pad: red, or of the colour that the state names."""
    colour = {"blue": BLUE, "green": GREEN, "grey": STEEL, "yellow": GOLD}.get(state, RED)
    pen.polygon([(0.2, 0.5), (0.8, 0.5), (0.96, 0.84), (0.04, 0.84)], DARK_STEEL)
    pen.ellipse(0.5, 0.67, 0.3, 0.13, colour)
    pen.ellipse(0.5, 0.67, 0.2, 0.08, WHITE)
    pen.ellipse(0.5, 0.67, 0.12, 0.045, colour)


def paint(pen: Pen, state: str) -> None:
    """Red paint on the ground, or on what lies there."""
    pen.ellipse(0.5, 0.68, 0.34, 0.14, RED)
    pen.ellipse(0.42, 0.66, 0.14, 0.04, (238, 120, 110))


ARROWS: Mapping[str, tuple[Point, ...]] = {
    "up": ((0.5, 0.14), (0.84, 0.5), (0.62, 0.5), (0.62, 0.86), (0.38, 0.86), (0.38, 0.5), (0.16, 0.5)),
    "down": ((0.5, 0.86), (0.84, 0.5), (0.62, 0.5), (0.62, 0.14), (0.38, 0.14), (0.38, 0.5), (0.16, 0.5)),
    "left": ((0.14, 0.5), (0.5, 0.16), (0.5, 0.38), (0.86, 0.38), (0.86, 0.62), (0.5, 0.62), (0.5, 0.84)),
    "right": ((0.86, 0.5), (0.5, 0.16), (0.5, 0.38), (0.14, 0.38), (0.14, 0.62), (0.5, 0.62), (0.5, 0.84)),
}


def arrow(pen: Pen, state: str) -> None:
    """A tile with an arrow in the direction that the state names: up, down, left or right."""
    pen.rect(0.05, 0.05, 0.95, 0.95, (216, 226, 240))
    pen.polygon(next((points for name, points in ARROWS.items() if name in state), ARROWS["up"]), BLUE)


def _chess(pen: Pen, state: str, crown: tuple[Point, ...]) -> None:
    body, edge = ((250, 246, 236), INK) if "white" in state else (INK, WHITE)
    pen.polygon([(0.3, 0.78), (0.4, 0.44), (0.6, 0.44), (0.7, 0.78)], body)
    pen.polygon(crown, body)
    pen.rect(0.22, 0.78, 0.78, 0.9, body)
    pen.line([(0.24, 0.78), (0.76, 0.78)], 0.025, edge)


def king(pen: Pen, state: str) -> None:
    """A king, white if the state says so, else black."""
    _chess(pen, state, ((0.24, 0.22), (0.42, 0.32), (0.5, 0.2), (0.58, 0.32), (0.76, 0.22), (0.64, 0.46), (0.36, 0.46)))
    body = (250, 246, 236) if "white" in state else INK
    pen.line([(0.5, 0.04), (0.5, 0.22)], 0.06, body)
    pen.line([(0.42, 0.11), (0.58, 0.11)], 0.06, body)


def rook(pen: Pen, state: str) -> None:
    """A rook, white if the state says so, else black."""
    notched = ((0.26, 0.16), (0.38, 0.16), (0.38, 0.24), (0.45, 0.24), (0.45, 0.16), (0.55, 0.16), (0.55, 0.24))
    _chess(pen, state, (*notched, (0.62, 0.24), (0.62, 0.16), (0.74, 0.16), (0.7, 0.46), (0.3, 0.46)))


def water(pen: Pen) -> None:
    pen.rect(0, 0, 1, 1, (126, 178, 222))
    for x, y in ((0.12, 0.3), (0.52, 0.62), (0.1, 0.84)):
        pen.line([(x, y), (x + 0.1, y - 0.06), (x + 0.2, y), (x + 0.3, y - 0.06)], 0.03, (166, 206, 236))


def nothing(pen: Pen) -> None:
    pen.rect(0, 0, 1, 1, (38, 43, 54))
