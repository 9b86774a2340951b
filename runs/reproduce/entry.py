"""Entry: a published result, and a measurement of it with the lab's own parts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kerf.lab.statistics.tests import permutation_p

ALPHA = 0.05
"""Two-sided level of an order over paired seeds. Eight seeds that all point one way have p = .008."""

Say = Callable[[str], None]
"""Shows what is being done, in a few words."""


@dataclass(frozen=True)
class Figure:
    """One figure, there and here.

    Attributes:
        what: Its description.
        there: As published, in a few characters.
        here: As measured with the lab.
        needed: The condition under which it counts as reproduced, in a few characters.
        reproduced: Whether it holds; False if the figure is NaN.
    """

    what: str
    there: str
    here: float
    needed: str
    reproduced: bool


def equal(what: str, there: float, here: float, tolerance: float = 1e-9) -> Figure:
    """A level, reproduced within `tolerance`; the usual one allows for rounding alone."""
    needed = f"{there:g}" if tolerance < 1e-6 else f"{there:g} +- {tolerance:g}"
    return Figure(what, f"{there:g}", float(here), needed, bool(abs(here - there) <= tolerance))


def at_least(what: str, there: str, here: float, bound: float) -> Figure:
    """A level of which a lower bound is claimed."""
    return Figure(what, there, float(here), f">= {bound:g}", bool(here >= bound))


def at_most(what: str, there: str, here: float, bound: float) -> Figure:
    """A level of which an upper bound is claimed."""
    return Figure(what, there, float(here), f"<= {bound:g}", bool(here <= bound))


def above(what: str, there: str, differences: ArrayLike) -> Figure:
    """An order: that the mean of `differences` `(S,)`, one a seed, is above 0.

    It is reproduced if the mean is, and a paired sign-flip permutation test rejects "no difference" at `ALPHA`.
    """
    mean = float(np.asarray(differences, np.float64).mean())
    p = permutation_p(differences, np.random.default_rng(0))  # drawn from above 16 seeds alone
    return Figure(what, there, mean, f"> 0, p < {ALPHA:g}", bool(mean > 0.0 and p < ALPHA))


@dataclass(frozen=True)
class Entry:
    """A published result that the lab tries to reproduce.

    Attributes:
        name: By which it is asked for: lower-case words joined by hyphens.
        title: The result, in a line.
        claim: What was reported, in a sentence or two.
        source: Where.
        setting: Our constants.
        tolerance: What counts as reproduced and why; fixed before the outcome was seen.
        trains: Whether it trains agents, which takes tens of seconds.
        measure: Measures it. Draws from its own random streams only, so it gives the same figures each time.
    """

    name: str
    title: str
    claim: str
    source: str
    setting: str
    tolerance: str
    trains: bool
    measure: Callable[[Say], Iterable[Figure]]

    def check(self, say: Say) -> Checked:
        """Measure and time it."""
        began = time.perf_counter()
        figures = tuple(self.measure(say))
        return Checked(self, figures, time.perf_counter() - began)


@dataclass(frozen=True)
class Checked:
    """An entry with its figures.

    Attributes:
        entry: The entry.
        figures: Its figures.
        seconds: Duration.
    """

    entry: Entry
    figures: tuple[Figure, ...]
    seconds: float

    @property
    def reproduced(self) -> bool:
        """Whether there are figures, and all of them are reproduced."""
        return bool(self.figures) and all(figure.reproduced for figure in self.figures)

    def plain(self) -> dict[str, Any]:
        """The result as plain JSON values; figures that are not finite become text."""
        about = {key: value for key, value in vars(self.entry).items() if key != "measure"}
        figures = [
            asdict(figure) | {"here": figure.here if math.isfinite(figure.here) else str(figure.here)}
            for figure in self.figures
        ]
        return {**about, "reproduced": self.reproduced, "seconds": self.seconds, "figures": figures}
