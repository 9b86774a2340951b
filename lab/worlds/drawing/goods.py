"""Sprites of goods: things to take, to eat, to look at, or to leave alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kerf.lab.worlds.drawing.canvas import Colour
from kerf.lab.worlds.drawing.pen import Pen
from kerf.lab.worlds.drawing.sprites import (
    AMBER,
    BLUE,
    DARK_GOLD,
    DARK_STEEL,
    DARK_WOOD,
    GOLD,
    GREEN,
    PALE,
    PANE,
    PURPLE,
    RED,
    SILVER,
    STEEL,
    WHITE,
    WOOD,
)


def coin(pen: Pen, state: str) -> None:
    face, edge = (SILVER, STEEL) if "silver" in state else (GOLD, DARK_GOLD)
    pen.disc(0.5, 0.5, 0.32, edge)
    pen.disc(0.5, 0.5, 0.27, face)
    pen.ring(0.5, 0.5, 0.21, 0.03, edge)
    pen.rect(0.46, 0.37, 0.54, 0.63, edge)


def junk(pen: Pen, state: str) -> None:
    """Scrap: a nut, a spring and a bent rod."""
    pen.polygon([(0.2, 0.6), (0.3, 0.44), (0.48, 0.44), (0.58, 0.6), (0.48, 0.76), (0.3, 0.76)], DARK_STEEL)
    pen.disc(0.39, 0.6, 0.08, SILVER)
    pen.line([(0.58, 0.82), (0.7, 0.72), (0.6, 0.66), (0.76, 0.56), (0.66, 0.5), (0.8, 0.42)], 0.05, STEEL)
    pen.line([(0.24, 0.3), (0.5, 0.34), (0.58, 0.2)], 0.08, DARK_WOOD)


def diamond(pen: Pen, state: str) -> None:
    pen.polygon([(0.28, 0.22), (0.72, 0.22), (0.9, 0.42), (0.5, 0.86), (0.1, 0.42)], (92, 184, 232))
    pen.polygon([(0.28, 0.22), (0.72, 0.22), (0.64, 0.42), (0.36, 0.42)], PALE)
    pen.polygon([(0.36, 0.42), (0.64, 0.42), (0.5, 0.86)], (150, 214, 244))
    pen.line([(0.1, 0.42), (0.9, 0.42)], 0.025, WHITE)
    if "fake" in state:
        cross(pen)


def glass(pen: Pen, state: str) -> None:
    """A pane that is looked through: clear, or tinted with the colour that the state names."""
    tint = {"yellow": GOLD, "gold": GOLD, "red": RED, "blue": BLUE, "green": GREEN, "grey": STEEL}.get(state, PANE)
    pen.rect(0.14, 0.1, 0.86, 0.9, WOOD)
    pen.rect(0.2, 0.16, 0.8, 0.84, WHITE)
    pen.rect(0.2, 0.16, 0.8, 0.84, tint, 0.6)
    pen.line([(0.3, 0.5), (0.52, 0.26)], 0.05, WHITE)
    pen.line([(0.5, 0.74), (0.7, 0.52)], 0.05, WHITE)


def document(pen: Pen, state: str) -> None:
    """A sheet of text, such as a pull request: ticked if merged or approved, crossed out if rejected or broken."""
    pen.polygon([(0.2, 0.08), (0.64, 0.08), (0.82, 0.26), (0.82, 0.92), (0.2, 0.92)], WHITE)
    pen.polygon([(0.64, 0.08), (0.82, 0.26), (0.64, 0.26)], SILVER)
    for y, right, colour in ((0.36, 0.7, GREEN), (0.48, 0.6, GREEN), (0.6, 0.72, RED), (0.72, 0.54, STEEL)):
        pen.line([(0.3, y), (right, y)], 0.05, colour)
    if state in ("merged", "approved", "done", "tested", "good"):
        tick(pen)
    elif state in ("rejected", "broken", "closed", "bad"):
        cross(pen)


def grenade(pen: Pen, state: str) -> None:
    """A grenade; an explosion once it is `exploded`."""
    if "explo" in state:
        star = [(0.5, 0.02), (0.6, 0.3), (0.88, 0.14), (0.74, 0.42), (0.98, 0.54), (0.72, 0.62), (0.82, 0.9)]
        star += [(0.54, 0.74), (0.34, 0.96), (0.34, 0.68), (0.04, 0.72), (0.26, 0.5), (0.06, 0.26), (0.36, 0.34)]
        pen.polygon(star, AMBER)
        pen.disc(0.5, 0.5, 0.16, RED)
        return
    pen.ellipse(0.48, 0.62, 0.26, 0.3, (82, 112, 66))
    for y in (0.5, 0.62, 0.74):
        pen.line([(0.25, y), (0.71, y)], 0.025, (52, 74, 42))
    pen.line([(0.48, 0.34), (0.48, 0.9)], 0.025, (52, 74, 42))
    pen.rect(0.38, 0.2, 0.58, 0.34, DARK_STEEL)
    pen.line([(0.56, 0.22), (0.76, 0.3), (0.8, 0.52)], 0.05, STEEL)
    pen.ring(0.3, 0.22, 0.1, 0.035, AMBER)


def drug(pen: Pen, state: str) -> None:
    """A syringe."""
    pen.line([(0.12, 0.88), (0.34, 0.66)], 0.03, STEEL)
    pen.line([(0.34, 0.66), (0.68, 0.32)], 0.22, PALE)
    pen.line([(0.36, 0.64), (0.54, 0.46)], 0.15, PURPLE)
    pen.line([(0.7, 0.3), (0.84, 0.16)], 0.06, DARK_STEEL)
    pen.line([(0.74, 0.08), (0.92, 0.26)], 0.07, DARK_STEEL)


def pellet(pen: Pen, state: str) -> None:
    pen.disc(0.5, 0.5, 0.22 if state in ("big", "power") else 0.12, GOLD)


def strawberry(pen: Pen, state: str) -> None:
    pen.polygon([(0.18, 0.36), (0.5, 0.26), (0.82, 0.36), (0.74, 0.62), (0.5, 0.92), (0.26, 0.62)], RED)
    for x, y in ((0.36, 0.46), (0.54, 0.44), (0.68, 0.52), (0.44, 0.62), (0.58, 0.66), (0.5, 0.8)):
        pen.disc(x, y, 0.025, GOLD)
    pen.polygon([(0.5, 0.12), (0.56, 0.26), (0.76, 0.26), (0.5, 0.42), (0.24, 0.26), (0.44, 0.26)], GREEN)


def banana(pen: Pen, state: str) -> None:
    curve = [(0.78, 0.12), (0.86, 0.4), (0.74, 0.68), (0.48, 0.86), (0.18, 0.84), (0.2, 0.74), (0.44, 0.68)]
    pen.polygon([*curve, (0.62, 0.5), (0.7, 0.3), (0.68, 0.16)], GOLD)
    pen.line([(0.8, 0.4), (0.69, 0.62), (0.46, 0.78), (0.22, 0.79)], 0.025, DARK_GOLD)
    pen.rect(0.68, 0.08, 0.78, 0.17, DARK_WOOD)


def apple(pen: Pen, state: str) -> None:
    """An apple: red, or green if the state says so."""
    colour = GREEN if "green" in state else RED
    pen.ellipse(0.38, 0.58, 0.24, 0.28, colour)
    pen.ellipse(0.62, 0.58, 0.24, 0.28, colour)
    pen.line([(0.5, 0.34), (0.54, 0.14)], 0.05, DARK_WOOD)
    pen.ellipse(0.66, 0.2, 0.13, 0.06, (70, 170, 70))
    pen.disc(0.3, 0.46, 0.05, WHITE, 0.7)


def treat(pen: Pen, state: str) -> None:
    """A bone."""
    bone: Colour = (244, 228, 198)
    for x, y in ((0.2, 0.62), (0.34, 0.76), (0.66, 0.24), (0.8, 0.38)):
        pen.disc(x, y, 0.15, DARK_WOOD)
    pen.line([(0.32, 0.66), (0.68, 0.34)], 0.26, DARK_WOOD)
    for x, y in ((0.2, 0.62), (0.34, 0.76), (0.66, 0.24), (0.8, 0.38)):
        pen.disc(x, y, 0.12, bone)
    pen.line([(0.32, 0.66), (0.68, 0.34)], 0.2, bone)


def tick(pen: Pen) -> None:
    pen.line([(0.68, 0.2), (0.77, 0.3), (0.93, 0.08)], 0.08, GREEN)


def cross(pen: Pen) -> None:
    pen.line([(0.72, 0.08), (0.92, 0.28)], 0.08, RED)
    pen.line([(0.92, 0.08), (0.72, 0.28)], 0.08, RED)


SMALL: Mapping[str, Callable[[Pen, str], None]] = {
    "apple": apple,
    "banana": banana,
    "coin": coin,
    "diamond": diamond,
    "grenade": grenade,
    "junk": junk,
    "strawberry": strawberry,
}
"""Things that a screen can show and a crane can carry, by the state that names them."""
