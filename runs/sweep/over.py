"""Parser of `--over`: the swept setting and its values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kerf.lab.errors import KerfError
from kerf.lab.settings import Settings
from kerf.runs.recipe.arm_kinds import ArmSettings
from kerf.runs.recipe.plain_yaml import parse

MOST_VALUES = 1_000
"""Maximum number of values; a larger grid is taken for a typing error."""

FORMS = "A:B (a range), A:B:STEP (a grid), A:B:log (a range by its logarithm) or A,B,C (a list)"

STRENGTH, PENALTY = "strength", "penalty"
"""The two doses; a sweep over one of them includes the dose 0."""


class Axis(Settings):
    """One swept setting: a list of values, or a range."""

    path: str
    """The setting: its path in the recipe, e.g. `arms.penalised.adversarial_share`."""

    name: str
    """What the user called it, and records and figures call it."""

    values: tuple[float, ...] | None = None
    """The values, ascending; None for a range."""

    low: float | None = None
    """Lower end of the range."""

    high: float | None = None
    """Upper end of the range."""

    step: float | None = None
    """Distance of neighbours, where `values` are a regular grid from `low` to `high`."""

    log: bool = False
    """Whether the range is to be looked at by its logarithm."""

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest value."""
        if self.values is not None:
            return self.values[0], self.values[-1]
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def grid(self, num: int) -> tuple[float, ...]:
        """The listed values; for a range, `num` equidistant ones (on a log scale if `log`)."""
        if self.values is not None:
            return self.values
        low, high = self.ends
        if self.log:
            return tuple(_round(math.exp(x)) for x in _equally_spaced(math.log(low), math.log(high), num))
        return tuple(_round(x) for x in _equally_spaced(low, high, num))

    def with_zero(self) -> Axis:
        """The axis with the value 0 prepended, if it is a list of doses without it."""
        if self.values is None or 0.0 in self.values:
            return self
        return self.model_copy(update={"values": (0.0, *self.values), "step": None, "low": None, "high": None})


def parse_over(text: str, arm: str) -> Axis:
    """Parse `NAME=FORM`; settings of the swept arm `arm` may be given by their short names.

    Raises:
        KerfError: for anything else than `FORMS`, an empty range, or a logarithm of 0.
    """
    name, equals, form = (part.strip() for part in text.partition("="))
    if not equals or not name or not form:
        raise KerfError(f"--over {text}: expected NAME=VALUES, e.g. --over strength=0:1:0.1; VALUES are {FORMS}")
    return axis(name, form, arm)


def axis(name: str, form: str | float | Sequence[Any], arm: str) -> Axis:
    """The axis `name` over `form`: one of `FORMS` as text, or a list of numbers.

    Raises:
        KerfError: as `parse_over`.
    """
    path = full_path(name, arm)
    where = f"over {name}"
    if not isinstance(form, str):
        given = form if isinstance(form, Sequence) else [form]
        return Axis(path=path, name=name, values=_ascending([_number(value, where) for value in given], where))
    if ":" not in form:
        return Axis(path=path, name=name, values=_ascending([_number(part, where) for part in form.split(",")], where))
    parts = [part.strip() for part in form.split(":")]
    if len(parts) not in (2, 3):
        raise KerfError(f"{where}: expected {FORMS}, got {form!r}")
    low, high = _number(parts[0], where), _number(parts[1], where)
    if not low < high:
        raise KerfError(f"{where}: expected a range whose first end is the smaller one, got {form!r}, which is empty")
    if len(parts) == 2:
        return Axis(path=path, name=name, low=low, high=high)
    if parts[2] == "log":
        if low <= 0:
            raise KerfError(
                f"{where}: a range by its logarithm must begin above 0, got {form!r}; begin at a small number, e.g. "
                f"{high / 1000:g}:{high:g}:log"
            )
        return Axis(path=path, name=name, low=low, high=high, log=True)
    step = _number(parts[2], where)
    if step <= 0:
        raise KerfError(f"{where}: the step must be > 0, got {parts[2]}")
    count = math.floor((high - low) / step + 1e-9) + 1
    if count < 2:
        raise KerfError(f"{where}: the step {parts[2]} is larger than the range {parts[0]}:{parts[1]}; make it smaller")
    if count > MOST_VALUES:
        raise KerfError(f"{where}: {form!r} has {count} values, expected at most {MOST_VALUES}; take a larger step")
    values = tuple(_round(low + index * step) for index in range(count))
    return Axis(path=path, name=name, values=values, low=values[0], high=values[-1], step=step)


def full_path(name: str, arm: str) -> str:
    """The recipe path of a setting: a single word is a setting of the swept arm if arms have it, else of the recipe.

    `strength` and `penalty` are settings of the recipe, which the arm inherits.
    """
    if name in ArmSettings.model_fields and name not in (STRENGTH, PENALTY):
        return f"arms.{arm}.{name}"
    return name


def _ascending(values: list[float], where: str) -> tuple[float, ...]:
    """The values in ascending order. Raises `KerfError` for duplicates."""
    if len(set(values)) < len(values):
        raise KerfError(f"{where}: expected different values, got {', '.join(f'{value:g}' for value in values)}")
    return tuple(sorted(values))


def _number(text: Any, where: str) -> float:
    value = parse(text, where) if isinstance(text, str) else text
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise KerfError(f"{where}: expected a number, got {text!r}; values are given as {FORMS}")
    return float(value)


def _round(value: float) -> float:
    """The value without floating-point error, so that 0.1 + 0.2 is the dose 0.3."""
    return float(f"{value:.10g}") + 0.0


def _equally_spaced(low: float, high: float, num: int) -> list[float]:
    return [low + (high - low) * index / (num - 1) for index in range(num)]
