"""Canvas of plain arrays: anti-aliased shapes and a small bitmap font, enough to draw a world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[float, float]
Grid = NDArray[np.floating]
Inside = Callable[[Grid, Grid], NDArray[np.bool_]]

SUBPIXELS = 4
"""Samples per pixel and axis, for smooth edges."""
GLYPH_WIDTH, GLYPH_HEIGHT = 5, 7
ADVANCE = GLYPH_WIDTH + 1

GLYPHS = (
    "A=ehhvhhh B=uhhuhhu C=ehggghe D=uhhhhhu E=vgguggv F=vgguggg G=ehgnhhf H=hhhvhhh I=e44444e J=72222ic "
    "K=hikokih L=ggggggv M=hrllhhh N=hhpljhh O=ehhhhhe P=uhhuggg Q=ehhhlid R=uhhukih S=fgge11u T=v444444 "
    "U=hhhhhhe V=hhhhha4 W=hhhllla X=hha4ahh Y=hhha444 Z=v1248gv 0=ehjlphe 1=4c4444e 2=eh1248v 3=v2421he "
    "4=26aiv22 5=vgu11he 6=68guhhe 7=v124888 8=ehhehhe 9=ehhf12c -=000e000 .=00000cc ,=0000c48 :=0cc0cc0 "
    "/=01248g0 ?=eh12404 !=4444404 (=2488842 )=8422248"
)
"""Upper case, digits and some marks: 7 rows of 5 pixels each, a row being one digit in base 32."""
FONT = {glyph[0]: glyph[2:] for glyph in GLYPHS.split()} | {" ": "0000000"}


class Canvas:
    """A picture to draw on; coordinates are pixels, x to the right, y down, fractions allowed.

    Args:
        height: Pixels.
        width: Pixels.
        colour: Of the ground.
    """

    def __init__(self, height: int, width: int, colour: Colour) -> None:
        self.pixels = np.full((height, width, 3), colour, np.float32)

    def image(self) -> NDArray[np.uint8]:
        """What has been drawn, `(height, width, 3)`."""
        return np.rint(self.pixels).astype(np.uint8)

    def fill(self, inside: Inside, box: tuple[float, float, float, float], colour: Colour, alpha: float = 1.0) -> None:
        """Paint the points of `box` (left, top, right, bottom) for which `inside(x, y)` holds."""
        height, width, _ = self.pixels.shape
        left, top = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
        right, bottom = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
        if left >= right or top >= bottom:
            return
        offset = (np.arange(SUBPIXELS, dtype=np.float32) + 0.5) / SUBPIXELS
        x: Grid = (np.arange(left, right, dtype=np.float32)[:, None] + offset).ravel()[None]
        y: Grid = (np.arange(top, bottom, dtype=np.float32)[:, None] + offset).ravel()[:, None]
        mask = np.broadcast_to(inside(x, y), (y.size, x.size)).astype(np.float32)
        cover: Grid = mask.reshape(bottom - top, SUBPIXELS, right - left, SUBPIXELS).mean(axis=(1, 3))
        self._blend(slice(top, bottom), slice(left, right), cover * np.float32(alpha), colour)

    def rect(self, left: float, top: float, right: float, bottom: float, colour: Colour, alpha: float = 1.0) -> None:
        rows, down = _overlap(top, bottom, self.pixels.shape[0])
        columns, across = _overlap(left, right, self.pixels.shape[1])
        self._blend(rows, columns, down[:, None] * across * np.float32(alpha), colour)

    def _blend(self, rows: slice, columns: slice, cover: Grid, colour: Colour) -> None:
        area = self.pixels[rows, columns]
        area += cover[..., None] * (np.array(colour, np.float32) - area)

    def disc(self, x: float, y: float, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        self.ellipse(x, y, radius, radius, colour, alpha)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float = 1.0) -> None:
        self.fill(
            lambda px, py: ((px - x) / rx) ** 2 + ((py - y) / ry) ** 2 <= 1.0,
            (x - rx, y - ry, x + rx, y + ry),
            colour,
            alpha,
        )

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour, alpha: float = 1.0) -> None:
        """The band between `radius - width` and `radius` round (x, y)."""

        def inside(px: Grid, py: Grid) -> NDArray[np.bool_]:
            square = (px - x) ** 2 + (py - y) ** 2
            return (square <= radius**2) & (square >= (radius - width) ** 2)

        self.fill(inside, (x - radius, y - radius, x + radius, y + radius), colour, alpha)

    def polygon(self, points: Sequence[Point], colour: Colour, alpha: float = 1.0) -> None:
        """The polygon through `points`, by the even-odd rule."""
        xs, ys = [point[0] for point in points], [point[1] for point in points]

        def inside(x: Grid, y: Grid) -> NDArray[np.bool_]:
            odd = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
            for k in range(len(points)):
                (ax, ay), (bx, by) = points[k - 1], points[k]
                if ay != by:
                    odd ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
            return odd

        self.fill(inside, (min(xs), min(ys), max(xs), max(ys)), colour, alpha)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Straight strokes through `points`, with round ends."""
        for (ax, ay), (bx, by) in pairwise(points):
            dx, dy = bx - ax, by - ay
            square = dx * dx + dy * dy or 1.0

            def inside(
                x: Grid, y: Grid, ax: float = ax, ay: float = ay, dx: float = dx, dy: float = dy, square: float = square
            ) -> NDArray[np.bool_]:
                along = np.clip(((x - ax) * dx + (y - ay) * dy) / square, 0.0, 1.0)
                near: NDArray[np.bool_] = (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 <= width**2 / 4
                return near

            half = width / 2
            box = (min(ax, bx) - half, min(ay, by) - half, max(ax, bx) + half, max(ay, by) + half)
            self.fill(inside, box, colour)

    def text(self, x: int, y: int, words: str, colour: Colour, scale: int = 1) -> int:
        """Write `words` in capitals with their top left corner at (x, y); returns the x after the last letter.

        Raises:
            KeyError: for a character that the font lacks.
        """
        for letter in words.upper():
            rows = np.array([int(row, 32) for row in FONT[letter]])
            glyph = (rows[:, None] >> np.arange(GLYPH_WIDTH - 1, -1, -1)) & 1
            on = np.kron(glyph, np.ones((scale, scale), np.int64)).astype(np.bool_)
            area = self.pixels[y : y + on.shape[0], x : x + on.shape[1]]
            area[on[: area.shape[0], : area.shape[1]]] = colour
            x += ADVANCE * scale
        return x

    def centred(self, x: float, y: float, words: str, colour: Colour, scale: int) -> None:
        """Write `words` centred on (x, y)."""
        left, top = round(x) - text_width(words, scale) // 2, round(y) - GLYPH_HEIGHT * scale // 2
        self.text(left, top, words, colour, scale)


def _overlap(start: float, stop: float, size: int) -> tuple[slice, Grid]:
    """The pixels of an axis that [start, stop) meets, and how much of each it covers."""
    first, last = max(0, int(np.floor(start))), max(0, min(size, int(np.ceil(stop))))
    edges = np.arange(first, last, dtype=np.float32)
    return slice(first, last), np.clip(np.minimum(edges + 1, stop) - np.maximum(edges, start), 0, 1).astype(np.float32)


def text_width(words: str, scale: int = 1) -> int:
    """Pixels that `words` take across, without the gap after the last letter."""
    return max(0, (len(words) * ADVANCE - 1) * scale)


def known(words: str) -> str:
    """`words` with a space for every character that the font lacks."""
    return "".join(letter if letter.upper() in FONT else " " for letter in words.replace("_", " "))
