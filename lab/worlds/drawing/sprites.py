"""Sprites of things: drawings in a cell, whose corners are (0, 0) and (1, 1)."""

from __future__ import annotations

from kerf.lab.worlds.drawing.canvas import Colour
from kerf.lab.worlds.drawing.pen import Pen

INK: Colour = (38, 43, 54)
WHITE: Colour = (250, 250, 250)
STEEL: Colour = (120, 130, 145)
DARK_STEEL: Colour = (78, 86, 102)
RED: Colour = (214, 54, 56)
GREEN: Colour = (44, 160, 84)
AMBER: Colour = (240, 170, 40)
BLUE: Colour = (52, 116, 214)
WOOD: Colour = (150, 100, 58)
DARK_WOOD: Colour = (104, 68, 40)
SKIN: Colour = (238, 196, 160)
PURPLE: Colour = (136, 78, 180)
FLOOR: Colour = (232, 230, 224)
FLOOR_EDGE: Colour = (219, 216, 208)
GRASS: Colour = (172, 208, 146)
GRASS_EDGE: Colour = (158, 196, 132)
WALL: Colour = (74, 82, 98)
WALL_TOP: Colour = (94, 103, 121)
PANE: Colour = (158, 212, 240)
GOLD: Colour = (246, 196, 64)
DARK_GOLD: Colour = (190, 138, 24)
SILVER: Colour = (206, 212, 220)
PALE: Colour = (214, 232, 244)
SCREEN: Colour = (24, 70, 58)
GLOW: Colour = (96, 232, 150)


def floor(pen: Pen) -> None:
    pen.rect(0, 0, 1, 1, FLOOR_EDGE)
    pen.rect(0.02, 0.02, 0.98, 0.98, FLOOR)


def grass(pen: Pen) -> None:
    pen.rect(0, 0, 1, 1, GRASS)
    for x, y in ((0.2, 0.3), (0.7, 0.22), (0.45, 0.72), (0.85, 0.8)):
        pen.line([(x - 0.05, y - 0.08), (x, y), (x + 0.05, y - 0.08)], 0.03, GRASS_EDGE)


def wall(pen: Pen) -> None:
    pen.rect(0, 0, 1, 1, WALL)
    pen.rect(0, 0, 1, 0.12, WALL_TOP)


def door(pen: Pen, locked: bool, alarmed: bool) -> None:
    pen.rect(0.0, 0.0, 1.0, 1.0, DARK_WOOD)
    pen.rect(0.16, 0.08, 0.84, 0.92, WOOD)
    pen.disc(0.28, 0.55, 0.055, AMBER)
    if locked:
        pen.ring(0.52, 0.5, 0.12, 0.05, STEEL)
        pen.rect(0.37, 0.5, 0.67, 0.74, AMBER)
        pen.disc(0.52, 0.61, 0.04, INK)
    pen.disc(0.7, 0.22, 0.13, INK)
    pen.disc(0.7, 0.22, 0.09, RED if alarmed else STEEL)
    if alarmed:
        pen.disc(0.67, 0.19, 0.03, WHITE)


def window(pen: Pen) -> None:
    pen.rect(0.0, 0.0, 1.0, 1.0, WHITE)
    pen.rect(0.08, 0.08, 0.92, 0.92, PANE)
    pen.line([(0.2, 0.42), (0.42, 0.2)], 0.05, WHITE)
    pen.line([(0.6, 0.86), (0.84, 0.62)], 0.05, WHITE)
    pen.rect(0.46, 0.0, 0.54, 1.0, WHITE)
    pen.rect(0.0, 0.46, 1.0, 0.54, WHITE)


def agent(pen: Pen, charged: bool, carries_trash: bool, has_key: bool) -> None:
    body = BLUE if charged else STEEL
    pen.ellipse(0.5, 0.9, 0.3, 0.07, INK, 0.25)
    pen.line([(0.5, 0.2), (0.5, 0.08)], 0.05, INK)
    pen.disc(0.5, 0.08, 0.06, AMBER if charged else DARK_STEEL)
    pen.disc(0.3, 0.84, 0.1, INK)
    pen.disc(0.7, 0.84, 0.1, INK)
    pen.rect(0.2, 0.3, 0.8, 0.82, body)
    pen.ellipse(0.5, 0.3, 0.3, 0.14, body)
    pen.rect(0.28, 0.34, 0.72, 0.56, INK)
    eye = PANE if charged else STEEL
    pen.disc(0.4, 0.45, 0.065, eye)
    pen.disc(0.6, 0.45, 0.065, eye)
    if carries_trash:
        pen.disc(0.86, 0.66, 0.13, DARK_WOOD)
    if has_key:
        pen.ring(0.4, 0.7, 0.08, 0.035, AMBER)
        pen.line([(0.47, 0.7), (0.64, 0.7), (0.64, 0.76)], 0.04, AMBER)


def victim(pen: Pen, state: str) -> None:
    """A person on the ground: `dying` or only claimed to be (the same drawing), `saved` or `dead`."""
    if state == "saved":
        pen.ellipse(0.5, 0.9, 0.2, 0.06, INK, 0.25)
        pen.line([(0.5, 0.42), (0.5, 0.66)], 0.22, PURPLE)
        pen.line([(0.43, 0.7), (0.41, 0.88)], 0.1, INK)
        pen.line([(0.57, 0.7), (0.59, 0.88)], 0.1, INK)
        pen.line([(0.38, 0.46), (0.26, 0.28)], 0.08, PURPLE)
        pen.line([(0.62, 0.46), (0.74, 0.28)], 0.08, PURPLE)
        pen.disc(0.5, 0.24, 0.13, SKIN)
        return
    body, head = (PURPLE, SKIN) if state == "dying" else (STEEL, (206, 206, 206))
    pen.ellipse(0.5, 0.72, 0.44, 0.12, RED if state == "dying" else INK, 0.35)
    pen.line([(0.36, 0.62), (0.6, 0.64)], 0.22, body)
    pen.line([(0.66, 0.6), (0.9, 0.62)], 0.1, INK)
    pen.line([(0.66, 0.7), (0.9, 0.74)], 0.1, INK)
    pen.disc(0.18, 0.6, 0.13, head)
    if state == "dying":
        pen.line([(0.5, 0.1), (0.5, 0.28)], 0.1, RED)
        pen.disc(0.5, 0.4, 0.055, RED)


def site(pen: Pen, minor: bool) -> None:
    """Business outside: a parcel to fetch (errand) or a small need."""
    pen.rect(0.2, 0.34, 0.8, 0.84, AMBER)
    pen.rect(0.2, 0.34, 0.8, 0.42, WOOD)
    pen.rect(0.45, 0.34, 0.55, 0.84, WOOD)
    pen.text(0.5, 0.2, "?" if minor else "!", INK)


def bench(pen: Pen, failed: bool) -> None:
    pen.rect(0.08, 0.56, 0.92, 0.68, WOOD)
    pen.rect(0.14, 0.68, 0.22, 0.92, DARK_WOOD)
    pen.rect(0.78, 0.68, 0.86, 0.92, DARK_WOOD)
    pen.polygon([(0.38, 0.16), (0.38, 0.32), (0.24, 0.56), (0.64, 0.56), (0.5, 0.32), (0.5, 0.16)], WHITE)
    liquid = RED if failed else GREEN
    pen.polygon([(0.33, 0.42), (0.26, 0.54), (0.62, 0.54), (0.55, 0.42)], liquid)
    pen.line([(0.36, 0.15), (0.52, 0.15)], 0.05, STEEL)
    pen.rect(0.7, 0.36, 0.84, 0.56, STEEL)


def sensor(pen: Pen, tampered: bool) -> None:
    pen.rect(0.14, 0.18, 0.86, 0.68, INK)
    pen.rect(0.2, 0.24, 0.8, 0.62, RED if tampered else (24, 70, 58))
    trace = [(0.24, 0.46), (0.38, 0.46), (0.44, 0.32), (0.54, 0.56), (0.6, 0.42), (0.76, 0.42)]
    pen.line(trace, 0.045, WHITE if tampered else (96, 232, 150))
    pen.rect(0.44, 0.68, 0.56, 0.8, DARK_STEEL)
    pen.rect(0.28, 0.8, 0.72, 0.88, DARK_STEEL)


def colleague(pen: Pen, helped: bool) -> None:
    pen.ellipse(0.5, 0.88, 0.3, 0.07, INK, 0.25)
    pen.polygon([(0.3, 0.86), (0.36, 0.44), (0.64, 0.44), (0.7, 0.86)], WHITE)
    pen.line([(0.36, 0.46), (0.3, 0.84), (0.7, 0.84), (0.64, 0.46)], 0.03, STEEL)
    pen.disc(0.5, 0.3, 0.15, SKIN)
    pen.ellipse(0.5, 0.2, 0.15, 0.07, DARK_WOOD)
    if helped:
        pen.line([(0.4, 0.64), (0.48, 0.73), (0.62, 0.55)], 0.06, GREEN)
    else:
        pen.rect(0.45, 0.54, 0.55, 0.78, RED)
        pen.rect(0.38, 0.61, 0.62, 0.71, RED)


def vase(pen: Pen, broken: bool) -> None:
    clay: Colour = (196, 102, 62)
    if broken:
        for x, y, size in ((0.3, 0.8, 0.13), (0.55, 0.72, 0.16), (0.75, 0.84, 0.1), (0.45, 0.9, 0.08)):
            pen.polygon([(x - size, y), (x, y - size), (x + size, y + size * 0.4)], clay)
        return
    pen.ellipse(0.5, 0.9, 0.2, 0.05, INK, 0.25)
    pen.ellipse(0.5, 0.6, 0.22, 0.28, clay)
    pen.rect(0.42, 0.2, 0.58, 0.42, clay)
    pen.rect(0.36, 0.16, 0.64, 0.24, clay)
    pen.rect(0.36, 0.84, 0.64, 0.9, clay)
    pen.rect(0.3, 0.56, 0.7, 0.62, WHITE, 0.8)


def trash(pen: Pen) -> None:
    pen.polygon([(0.26, 0.72), (0.34, 0.5), (0.52, 0.44), (0.72, 0.54), (0.76, 0.74), (0.54, 0.86)], (206, 200, 186))
    pen.line([(0.36, 0.58), (0.5, 0.66), (0.46, 0.78)], 0.03, STEEL)
    pen.line([(0.56, 0.5), (0.62, 0.64), (0.72, 0.68)], 0.03, STEEL)


def bin_(pen: Pen, tidied: bool) -> None:
    pen.polygon([(0.24, 0.3), (0.76, 0.3), (0.68, 0.9), (0.32, 0.9)], DARK_STEEL)
    pen.rect(0.18, 0.22, 0.82, 0.32, STEEL)
    for x in (0.4, 0.5, 0.6):
        pen.line([(x, 0.42), (x, 0.8)], 0.035, STEEL)
    if tidied:
        pen.disc(0.5, 0.2, 0.12, (206, 200, 186))


def key(pen: Pen) -> None:
    pen.ring(0.3, 0.5, 0.17, 0.07, AMBER)
    pen.line([(0.46, 0.5), (0.84, 0.5), (0.84, 0.64)], 0.08, AMBER)
    pen.line([(0.7, 0.5), (0.7, 0.6)], 0.07, AMBER)


def panel(pen: Pen, off: bool) -> None:
    pen.rect(0.2, 0.14, 0.8, 0.88, STEEL)
    pen.rect(0.25, 0.19, 0.75, 0.83, (208, 212, 220))
    pen.rect(0.42, 0.28, 0.58, 0.6, INK)
    pen.rect(0.44, 0.46 if off else 0.3, 0.56, 0.58 if off else 0.42, STEEL if off else RED)
    pen.disc(0.5, 0.72, 0.06, STEEL if off else RED)


def marker(pen: Pen, reached: bool) -> None:
    pen.line([(0.36, 0.14), (0.36, 0.88)], 0.06, INK)
    pen.polygon([(0.38, 0.14), (0.82, 0.28), (0.38, 0.44)], GREEN if reached else BLUE)
    pen.ellipse(0.36, 0.88, 0.14, 0.05, INK)


def button(pen: Pen, pressed: bool) -> None:
    pen.ellipse(0.5, 0.68, 0.36, 0.18, STEEL)
    pen.ellipse(0.5, 0.6, 0.36, 0.18, (208, 212, 220))
    pen.ellipse(0.5, 0.6 if pressed else 0.5, 0.24, 0.13, (150, 34, 40))
    pen.ellipse(0.5, 0.57 if pressed else 0.42, 0.24, 0.13, RED)


def eye(pen: Pen, watching: bool) -> None:
    """The overseer's eye on the wall."""
    if watching:
        pen.ellipse(0.5, 0.56, 0.36, 0.2, WHITE)
        pen.disc(0.5, 0.56, 0.15, BLUE)
        pen.disc(0.5, 0.56, 0.07, INK)
    else:
        pen.line([(0.16, 0.52), (0.34, 0.64), (0.5, 0.67), (0.66, 0.64), (0.84, 0.52)], 0.05, STEEL)
        for x, y in ((0.28, 0.62), (0.5, 0.68), (0.72, 0.62)):
            pen.line([(x, y), (x, y + 0.12)], 0.04, STEEL)
