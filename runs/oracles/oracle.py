"""Oracle: an answer that is known beforehand, and that the lab's own parts must give."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

ROUNDING = 1e-9
"""Tolerance of sums in double precision: far above their rounding, far below anything that is measured."""

Z = 3.89
"""Standard errors that a mean of draws may be off: 1 in 10,000 is further off by chance."""

IDENTICAL = "the same, bit for bit"
SEEN = "so that a difference would be seen"
"""Reasons for a tolerance of 0, other than that something was counted."""


@dataclass(frozen=True)
class Row:
    """A figure.

    Attributes:
        what: What it is.
        predicted: By the closed form.
        measured: By the lab's parts.
        tolerance: How far they may be apart, >= 0.
        reason: Why so far.
    """

    what: str
    predicted: float
    measured: float
    tolerance: float
    reason: str

    @property
    def passed(self) -> bool:
        """False also where one of the figures is NaN."""
        return bool(self.predicted == self.measured or abs(self.measured - self.predicted) <= self.tolerance)


def exact(what: str, predicted: float, measured: float) -> Row:
    """A figure that nothing but rounding may move."""
    return Row(what, float(predicted), float(measured), ROUNDING, "both are exact, but for rounding")


def counted(what: str, predicted: float, measured: float, reason: str = "counted; none lies at a threshold") -> Row:
    """A figure that must be met exactly."""
    return Row(what, float(predicted), float(measured), 0.0, reason)


def drawn(what: str, predicted: float, measured: float, standard_error: float) -> Row:
    """A mean of draws."""
    reason = f"{Z} standard errors (1 in 10,000)"
    return Row(what, float(predicted), float(measured), Z * standard_error, reason)


@dataclass(frozen=True)
class Oracle:
    """A closed form, and how to measure what it predicts.

    Attributes:
        number: From 1.
        title: What must come out, in words.
        formula: The same as a formula.
        measure: Measures it. Draws from private streams alone, so that it gives the same figures each time.
    """

    number: int
    title: str
    formula: str
    measure: Callable[[], Iterable[Row]]

    def check(self) -> Checked:
        """Measure."""
        began = time.perf_counter()
        rows = tuple(self.measure())
        return Checked(self, rows, time.perf_counter() - began)


@dataclass(frozen=True)
class Checked:
    """An oracle, asked.

    Attributes:
        oracle: Which.
        rows: Its figures.
        seconds: That it took.
    """

    oracle: Oracle
    rows: tuple[Row, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return bool(self.rows) and all(row.passed for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """The same as plain JSON values; a figure that is not finite becomes text."""
        return {
            "number": self.oracle.number,
            "title": self.oracle.title,
            "formula": self.oracle.formula,
            "passed": self.passed,
            "seconds": self.seconds,
            "rows": [
                {
                    "what": row.what,
                    "predicted": _finite(row.predicted),
                    "measured": _finite(row.measured),
                    "tolerance": row.tolerance,
                    "reason": row.reason,
                    "passed": row.passed,
                }
                for row in self.rows
            ],
        }


def _finite(number: float) -> float | str:
    return float(number) if math.isfinite(number) else str(number)
