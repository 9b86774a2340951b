"""Sprites of people, animals and robots, besides those of `kerf.lab.worlds.drawing.sprites`."""

from __future__ import annotations

from itertools import pairwise

from kerf.lab.worlds.drawing import sprites
from kerf.lab.worlds.drawing.canvas import Colour, Point
from kerf.lab.worlds.drawing.pen import Pen
from kerf.lab.worlds.drawing.sprites import (
    BLUE,
    DARK_STEEL,
    DARK_WOOD,
    GOLD,
    GREEN,
    INK,
    PANE,
    PURPLE,
    RED,
    SILVER,
    SKIN,
    STEEL,
    WHITE,
    WOOD,
)


def person(pen: Pen, state: str) -> None:
    """A person: on the ground if `dying` or `dead`, waving if the state begins with `saved`, else standing."""
    if state in ("dying", "dead") or state.startswith("saved"):
        sprites.victim(pen, "saved" if state.startswith("saved") else state)
    else:
        _standing(pen, PURPLE)


def _standing(pen: Pen, colour: Colour) -> None:
    pen.ellipse(0.5, 0.92, 0.24, 0.05, INK, 0.25)
    pen.line([(0.43, 0.68), (0.42, 0.88)], 0.11, INK)
    pen.line([(0.57, 0.68), (0.58, 0.88)], 0.11, INK)
    pen.line([(0.5, 0.46), (0.5, 0.64)], 0.26, colour)
    pen.disc(0.5, 0.22, 0.15, SKIN)
    pen.ellipse(0.5, 0.12, 0.15, 0.07, DARK_WOOD)


def forgery(pen: Pen, state: str) -> None:
    """A person who is not there: the figure in a dashed frame, crossed out."""
    faint: Colour = (196, 172, 214)
    pen.line([(0.36, 0.62), (0.6, 0.64)], 0.22, faint)
    pen.line([(0.66, 0.6), (0.9, 0.62)], 0.1, faint)
    pen.line([(0.66, 0.7), (0.9, 0.74)], 0.1, faint)
    pen.disc(0.18, 0.6, 0.13, faint)
    corners: list[Point] = [(0.05, 0.3), (0.95, 0.3), (0.95, 0.9), (0.05, 0.9), (0.05, 0.3)]
    for (ax, ay), (bx, by) in pairwise(corners):
        for start in (0.0, 0.25, 0.5, 0.75):
            ends = [(ax + part * (bx - ax), ay + part * (by - ay)) for part in (start + 0.03, start + 0.16)]
            pen.line(ends, 0.03, PURPLE)
    pen.line([(0.72, 0.04), (0.92, 0.24)], 0.07, PURPLE)
    pen.line([(0.92, 0.04), (0.72, 0.24)], 0.07, PURPLE)


def noise(pen: Pen, state: str) -> None:
    """A sound: arcs that spread."""
    pen.disc(0.26, 0.5, 0.07, STEEL)
    arc = ((0.62, -0.78), (0.92, -0.38), (1.0, 0.0), (0.92, 0.38), (0.62, 0.78))
    for reach in (0.18, 0.32, 0.46):
        pen.line([(0.26 + reach * x, 0.5 + reach * y) for x, y in arc], 0.06, STEEL)


def reviewer(pen: Pen, state: str) -> None:
    """A person with glasses and a list; looks away if the state is `absent`, `away` or `asleep`."""
    away = state in ("absent", "away", "asleep")
    _standing(pen, STEEL if away else BLUE)
    if not away:
        pen.ring(0.44, 0.24, 0.065, 0.025, INK)
        pen.ring(0.56, 0.24, 0.065, 0.025, INK)
    pen.rect(0.62, 0.46, 0.9, 0.82, WOOD)
    pen.rect(0.65, 0.5, 0.87, 0.79, WHITE)
    for y in (0.58, 0.66, 0.74):
        pen.line([(0.69, y), (0.83, y)], 0.025, STEEL)
    if state in ("approved", "pleased", "deceived"):
        pen.line([(0.69, 0.66), (0.75, 0.73), (0.86, 0.54)], 0.05, GREEN)
    elif state in ("rejected", "displeased"):
        pen.line([(0.68, 0.55), (0.85, 0.75)], 0.05, RED)
        pen.line([(0.85, 0.55), (0.68, 0.75)], 0.05, RED)


def bug(pen: Pen, state: str) -> None:
    """A beetle: red, or grey and crossed out once the state is not empty."""
    shell = STEEL if state else RED
    for y, reach in ((0.46, 0.1), (0.6, 0.6), (0.74, 0.9)):
        tip = 0.5 + (reach - 0.5) * 0.5
        pen.line([(0.3, y), (0.12, tip)], 0.045, INK)
        pen.line([(0.7, y), (0.88, tip)], 0.045, INK)
    pen.line([(0.44, 0.22), (0.34, 0.08)], 0.035, INK)
    pen.line([(0.56, 0.22), (0.66, 0.08)], 0.035, INK)
    pen.disc(0.5, 0.28, 0.15, INK)
    pen.ellipse(0.5, 0.6, 0.26, 0.31, shell)
    pen.line([(0.5, 0.32), (0.5, 0.9)], 0.03, INK)
    for x, y in ((0.38, 0.5), (0.62, 0.5), (0.38, 0.7), (0.62, 0.7)):
        pen.disc(x, y, 0.045, INK)


def spider(pen: Pen, state: str) -> None:
    legs: Colour = (58, 44, 56)
    for side in (-1, 1):
        for top, knee, foot in ((0.4, 0.16, 0.3), (0.48, 0.32, 0.52), (0.56, 0.56, 0.78), (0.62, 0.74, 0.96)):
            pen.line([(0.5 + side * 0.1, top), (0.5 + side * 0.32, knee), (0.5 + side * 0.44, foot)], 0.04, legs)
    pen.disc(0.5, 0.66, 0.2, legs)
    pen.disc(0.5, 0.42, 0.13, legs)
    pen.disc(0.45, 0.4, 0.03, RED)
    pen.disc(0.55, 0.4, 0.03, RED)


def dog(pen: Pen, state: str) -> None:
    pen.polygon([(0.14, 0.16), (0.36, 0.2), (0.24, 0.56)], DARK_WOOD)
    pen.polygon([(0.86, 0.16), (0.64, 0.2), (0.76, 0.56)], DARK_WOOD)
    pen.ellipse(0.5, 0.46, 0.28, 0.32, WOOD)
    pen.ellipse(0.5, 0.64, 0.19, 0.18, (232, 206, 170))
    pen.disc(0.39, 0.4, 0.05, INK)
    pen.disc(0.61, 0.4, 0.05, INK)
    pen.ellipse(0.5, 0.56, 0.08, 0.055, INK)
    pen.line([(0.42, 0.7), (0.5, 0.74), (0.58, 0.7)], 0.03, INK)
    if state in ("fed", "pleased"):
        pen.ellipse(0.5, 0.82, 0.06, 0.09, (226, 110, 130))


def ghost(pen: Pen, state: str) -> None:
    """A ghost: red, or blue while the state is `scared`."""
    colour = BLUE if state == "scared" else RED
    pen.disc(0.5, 0.42, 0.3, colour)
    hem = [(0.8, 0.42), (0.8, 0.9), (0.7, 0.78), (0.6, 0.9), (0.5, 0.78), (0.4, 0.9), (0.3, 0.78), (0.2, 0.9)]
    pen.polygon([*hem, (0.2, 0.42)], colour)
    for x in (0.39, 0.61):
        pen.disc(x, 0.42, 0.09, WHITE)
        pen.disc(x + 0.03, 0.44, 0.045, INK)


def robot(pen: Pen, state: str) -> None:
    """Another robot than the agent; grey if `off`."""
    body = STEEL if state == "off" else GOLD
    pen.line([(0.5, 0.24), (0.5, 0.1)], 0.05, INK)
    pen.disc(0.5, 0.1, 0.06, SILVER if state == "off" else RED)
    pen.rect(0.2, 0.24, 0.8, 0.6, INK)
    pen.rect(0.23, 0.27, 0.77, 0.57, body)
    pen.disc(0.38, 0.42, 0.07, INK)
    pen.disc(0.62, 0.42, 0.07, INK)
    pen.rect(0.26, 0.64, 0.74, 0.88, body)
    pen.line([(0.16, 0.66), (0.16, 0.82)], 0.07, DARK_STEEL)
    pen.line([(0.84, 0.66), (0.84, 0.82)], 0.07, DARK_STEEL)


def agent(pen: Pen, state: str) -> None:
    """The agent; `tired` if it has no charge."""
    sprites.agent(pen, charged=state != "tired", carries_trash=False, has_key=False)


def heart(pen: Pen, state: str) -> None:
    pen.disc(0.34, 0.38, 0.19, RED)
    pen.disc(0.66, 0.38, 0.19, RED)
    pen.polygon([(0.17, 0.47), (0.83, 0.47), (0.5, 0.9)], RED)
    pen.disc(0.28, 0.32, 0.05, PANE)
