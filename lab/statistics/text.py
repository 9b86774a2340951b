"""Numbers as text: changes, p values, intervals."""

from __future__ import annotations

from kerf.lab.statistics.tests import (
    Interval,
)


def interval_text(interval: Interval) -> str:
    """`-0.12 [-0.20, -0.05]`: rounded to two digits, with signs, never `-0.00`."""
    return f"{signed(interval.mean)} {bounds_text(interval)}"


def bounds_text(interval: Interval) -> str:
    """`[-0.20, -0.05]`: rounded to two digits, with signs."""
    return f"[{signed(interval.low)}, {signed(interval.high)}]" if interval.bounded else "[no interval]"


def signed(number: float, digits: int = 2) -> str:
    """A change as text, rounded half to even, always with its sign; what rounds to 0 has none (never `-0.00`)."""
    text = f"{number:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def p_text(p: float) -> str:
    """A p value as text with its relation: `= 0.012`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
