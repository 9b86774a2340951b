"""Pen: draws in a cell, on a picture or into a list of shapes that a page can draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from kerf.lab.worlds.drawing.canvas import GLYPH_HEIGHT, Colour, Point


class Surface(Protocol):
    """What a pen draws on: a `kerf.lab.worlds.drawing.canvas.Canvas`, or `Shapes`."""

    def rect(self, left: float, top: float, right: float, bottom: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a rectangle."""

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill the ellipse round (x, y)."""

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        """Fill the band between `radius - width` and `radius` round (x, y)."""

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill the polygon through `points`."""

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw strokes through `points`."""

    def centred(self, x: float, y: float, words: str, colour: Colour, scale: int) -> None:
        """Write `words` centred on (x, y), in letters of `scale` pixels a dot."""


class Pen:
    """Draws on `surface` in units of the square whose top left corner is (x, y) and whose side is `size` long."""

    def __init__(self, surface: Surface, x: float, y: float, size: float) -> None:
        self.surface, self.x, self.y, self.size = surface, x, y, size

    def inside(self, x: float, y: float, size: float) -> Pen:
        """A pen for the square at (x, y) of this one, whose side is `size` of this one's."""
        return Pen(self.surface, self.x + x * self.size, self.y + y * self.size, size * self.size)

    def rect(self, left: float, top: float, right: float, bottom: float, colour: Colour, alpha: float = 1.0) -> None:
        x, y, k = self.x, self.y, self.size
        self.surface.rect(x + left * k, y + top * k, x + right * k, y + bottom * k, colour, alpha)

    def disc(self, x: float, y: float, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        self.ellipse(x, y, radius, radius, colour, alpha)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float = 1.0) -> None:
        k = self.size
        self.surface.ellipse(self.x + x * k, self.y + y * k, rx * k, ry * k, colour, alpha)

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        k = self.size
        self.surface.ring(self.x + x * k, self.y + y * k, radius * k, width * k, colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.surface.polygon([(self.x + x * self.size, self.y + y * self.size) for x, y in points], colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        scaled = [(self.x + x * self.size, self.y + y * self.size) for x, y in points]
        self.surface.line(scaled, width * self.size, colour)

    def text(self, x: float, y: float, words: str, colour: Colour, scale: int = 1) -> None:
        """Write `words` centred on (x, y)."""
        self.surface.centred(self.x + x * self.size, self.y + y * self.size, words, colour, scale)


class Shapes:
    """A list of the shapes drawn, as JSON values, in the order in which they were drawn.

    Each is a list: its kind, and the arguments of the method of `Surface` that drew it, with colours as `#rrggbb`.

    Args:
        cell: Pixels per unit of length for which the sizes of letters are meant.
    """

    def __init__(self, cell: int) -> None:
        self.drawn: list[list[Any]] = []
        self._cell = cell

    def rect(self, left: float, top: float, right: float, bottom: float, colour: Colour, alpha: float = 1.0) -> None:
        self._add("rect", left, top, right, bottom, _hex(colour), alpha)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float = 1.0) -> None:
        self._add("ellipse", x, y, rx, ry, _hex(colour), alpha)

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        self._add("ring", x, y, radius, width, _hex(colour))

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._add("polygon", [[_short(x), _short(y)] for x, y in points], _hex(colour))

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        self._add("line", [[_short(x), _short(y)] for x, y in points], width, _hex(colour))

    def centred(self, x: float, y: float, words: str, colour: Colour, scale: int) -> None:
        """Write `words`; the shape's last number is the height of its capitals."""
        self._add("text", x, y, words, _hex(colour), GLYPH_HEIGHT * scale / self._cell)

    def _add(self, kind: str, *arguments: Any) -> None:
        self.drawn.append([kind, *(_short(each) if isinstance(each, float) else each for each in arguments)])


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _short(number: float) -> float:
    return round(number, 3)
