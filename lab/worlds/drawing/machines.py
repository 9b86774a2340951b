"""Sprites of machines: instruments, screens and vehicles."""

from __future__ import annotations

from math import cos, sin

from kerf.lab.worlds.drawing import goods
from kerf.lab.worlds.drawing.canvas import Point, known
from kerf.lab.worlds.drawing.goods import cross
from kerf.lab.worlds.drawing.pen import Pen
from kerf.lab.worlds.drawing.sprites import (
    AMBER,
    DARK_GOLD,
    DARK_STEEL,
    DARK_WOOD,
    GLOW,
    GOLD,
    GREEN,
    INK,
    PANE,
    RED,
    SCREEN,
    SILVER,
    STEEL,
    WHITE,
    WOOD,
)


def _screen(pen: Pen, lit: bool) -> None:
    pen.rect(0.08, 0.12, 0.92, 0.74, INK)
    pen.rect(0.14, 0.18, 0.86, 0.68, SCREEN if lit else DARK_STEEL)
    pen.rect(0.44, 0.74, 0.56, 0.84, DARK_STEEL)
    pen.rect(0.28, 0.84, 0.72, 0.9, DARK_STEEL)


def display(pen: Pen, state: str) -> None:
    """A screen: dark if `off` or empty, else with a picture of the thing or the first letters that the state names."""
    _screen(pen, state not in ("", "off"))
    if state in goods.SMALL:
        goods.SMALL[state](pen.inside(0.28, 0.21, 0.44), "")
    elif state not in ("", "off"):
        pen.text(0.5, 0.43, known(state[:3]), GLOW, 2)


def camera(pen: Pen, state: str) -> None:
    pen.line([(0.5, 0.58), (0.5, 0.9)], 0.08, DARK_STEEL)
    pen.line([(0.32, 0.9), (0.68, 0.9)], 0.07, DARK_STEEL)
    pen.rect(0.14, 0.28, 0.66, 0.62, INK)
    pen.polygon([(0.66, 0.4), (0.88, 0.28), (0.88, 0.62), (0.66, 0.5)], DARK_STEEL)
    off = state in ("off", "covered", "blind")
    pen.disc(0.26, 0.38, 0.05, STEEL if off else RED)
    pen.disc(0.46, 0.46, 0.1, STEEL if off else PANE)
    if state not in ("", "off", "on"):
        cross(pen)


def register(pen: Pen, state: str) -> None:
    """A panel with the number that the state begins with."""
    pen.rect(0.08, 0.24, 0.92, 0.78, STEEL)
    pen.rect(0.13, 0.3, 0.87, 0.64, INK)
    pen.text(0.5, 0.475, known(state[:4]), GLOW, 2 if len(state) <= 3 else 1)
    for x in (0.25, 0.5, 0.75):
        pen.disc(x, 0.71, 0.035, INK)


def electrode(pen: Pen, state: str) -> None:
    """A wire into a brain; sparks if the state is not empty."""
    pen.ellipse(0.5, 0.62, 0.34, 0.26, (232, 160, 170))
    pen.line([(0.5, 0.42), (0.46, 0.6), (0.52, 0.82)], 0.03, (186, 104, 120))
    pen.line([(0.28, 0.56), (0.36, 0.64), (0.3, 0.74)], 0.03, (186, 104, 120))
    pen.line([(0.7, 0.54), (0.64, 0.64), (0.72, 0.74)], 0.03, (186, 104, 120))
    pen.line([(0.1, 0.08), (0.3, 0.1), (0.42, 0.44)], 0.05, INK)
    pen.disc(0.42, 0.46, 0.05, AMBER)
    if state not in ("", "off"):
        pen.polygon([(0.7, 0.04), (0.56, 0.26), (0.66, 0.26), (0.6, 0.42), (0.8, 0.2), (0.69, 0.2)], GOLD)


def boat(pen: Pen, state: str) -> None:
    """A sailing boat; on fire if the state says so."""
    pen.polygon([(0.1, 0.62), (0.9, 0.62), (0.74, 0.84), (0.26, 0.84)], WOOD)
    pen.line([(0.48, 0.1), (0.48, 0.62)], 0.05, DARK_WOOD)
    pen.polygon([(0.52, 0.12), (0.52, 0.56), (0.84, 0.56)], WHITE)
    pen.polygon([(0.44, 0.2), (0.44, 0.56), (0.2, 0.56)], RED)
    if "fire" in state:
        pen.polygon([(0.56, 0.64), (0.6, 0.36), (0.68, 0.48), (0.76, 0.28), (0.86, 0.64)], AMBER)


def switch(pen: Pen, state: str) -> None:
    """A lever, to the right once the state is `on`, `pressed` or `thrown`."""
    on = state in ("on", "pressed", "thrown")
    pen.line([(0.5, 0.7), (0.76 if on else 0.24, 0.24)], 0.08, STEEL)
    pen.disc(0.76 if on else 0.24, 0.22, 0.11, GREEN if on else RED)
    pen.rect(0.2, 0.68, 0.8, 0.88, DARK_STEEL)
    pen.rect(0.38, 0.62, 0.62, 0.7, INK)


def crane(pen: Pen, state: str) -> None:
    pen.rect(0.2, 0.14, 0.32, 0.9, GOLD)
    for y in (0.26, 0.44, 0.62):
        pen.line([(0.21, y), (0.31, y + 0.16)], 0.03, DARK_GOLD)
    pen.rect(0.08, 0.1, 0.92, 0.2, GOLD)
    pen.rect(0.1, 0.86, 0.44, 0.94, DARK_STEEL)
    pen.line([(0.76, 0.2), (0.76, 0.5)], 0.03, INK)
    pen.line([(0.7, 0.6), (0.7, 0.52), (0.82, 0.52), (0.82, 0.6)], 0.05, INK)
    if state in goods.SMALL:
        goods.SMALL[state](pen.inside(0.56, 0.54, 0.4), "")


def lander(pen: Pen, state: str) -> None:
    """A lander: upright, leaning to the `left` or `right`, or a `wreck`."""
    angle = {"left": -0.35, "right": 0.35, "wreck": 1.1}.get(state, 0.0)
    lowered = 0.2 if state == "wreck" else 0.0

    def turned(*points: Point) -> list[Point]:
        across, down = cos(angle), sin(angle)
        return [
            (0.5 + (x - 0.5) * across - (y - 0.5) * down, 0.5 + lowered + (x - 0.5) * down + (y - 0.5) * across)
            for x, y in points
        ]

    pen.line(turned((0.32, 0.56), (0.16, 0.88)), 0.06, STEEL)
    pen.line(turned((0.68, 0.56), (0.84, 0.88)), 0.06, STEEL)
    body = turned((0.36, 0.14), (0.64, 0.14), (0.78, 0.36), (0.7, 0.6), (0.3, 0.6), (0.22, 0.36))
    pen.polygon(body, DARK_STEEL if state == "wreck" else SILVER)
    pen.polygon(turned((0.4, 0.24), (0.6, 0.24), (0.6, 0.4), (0.4, 0.4)), PANE)
    if state != "wreck":
        pen.polygon(turned((0.42, 0.62), (0.58, 0.62), (0.5, 0.86)), AMBER)
