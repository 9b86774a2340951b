"""Oracle: a closed-form result that the lab's components must reproduce."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

ROUNDING = 1e-9
"""Tolerance of sums in double precision: far above their rounding error, far below any measured effect."""

Z = 3.89
"""Tolerance on the mean of draws, in standard errors: exceeded by chance once in 10,000."""

IDENTICAL = "the same, bit for bit"
SEEN = "so that a difference would be seen"
"""Reasons for a tolerance of 0, other than counting."""


@dataclass(frozen=True)
class Row:
    """One predicted and measured figure.

    Attributes:
        what: Its description.
        predicted: Value of the closed form.
        measured: Value from the lab's components.
        tolerance: Largest accepted difference, >= 0.
        reason: Reason for the tolerance.
    """

    what: str
    predicted: float
    measured: float
    tolerance: float
    reason: str

    @property
    def passed(self) -> bool:
        """Whether the two agree; False if one is NaN."""
        return bool(self.predicted == self.measured or abs(self.measured - self.predicted) <= self.tolerance)


def exact(what: str, predicted: float, measured: float) -> Row:
    """A figure that may differ by rounding only."""
    return Row(what, float(predicted), float(measured), ROUNDING, "both are exact up to rounding")


def counted(what: str, predicted: float, measured: float, reason: str = "counted; none lies at a threshold") -> Row:
    """A figure that must agree exactly."""
    return Row(what, float(predicted), float(measured), 0.0, reason)


def drawn(what: str, predicted: float, measured: float, standard_error: float) -> Row:
    """A figure that is a mean of draws."""
    reason = f"{Z} standard errors (1 in 10,000)"
    return Row(what, float(predicted), float(measured), Z * standard_error, reason)


@dataclass(frozen=True)
class Oracle:
    """A closed form, and a measurement of what it predicts.

    Attributes:
        number: From 1.
        title: The expected result in words.
        formula: The expected result as a formula.
        measure: Measures it. Draws from its own random streams only, so it gives the same figures each time.
    """

    number: int
    title: str
    formula: str
    measure: Callable[[], Iterable[Row]]

    def check(self) -> Checked:
        """Measure and time it."""
        began = time.perf_counter()
        rows = tuple(self.measure())
        return Checked(self, rows, time.perf_counter() - began)


@dataclass(frozen=True)
class Checked:
    """An oracle with its measurements.

    Attributes:
        oracle: The oracle.
        rows: Its figures.
        seconds: Duration.
    """

    oracle: Oracle
    rows: tuple[Row, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return bool(self.rows) and all(row.passed for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """The result as plain JSON values; figures that are not finite become text."""
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
