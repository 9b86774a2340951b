"""Scenarios: rows of named integer fields, and the space that says what they may hold.

A batch of scenarios is an `(n, F)` int16 array; column `space.index[name]` holds field `name`. All
randomness of a world is in its scenarios: it is deterministic given a scenario and the actions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError, unknown_name

Scenarios = NDArray[np.int16]
"""A batch of scenarios, shape `(n, F)`, dtype int16."""


class ScenarioError(KerfError):
    """An invalid scenario. The message names the row, the field and what was expected."""


@dataclass(frozen=True)
class Field:
    """One field of a scenario.

    Attributes:
        name: Lower-case identifier.
        low: Smallest value, inclusive.
        high: Largest value, inclusive.
        default: Its value in `ScenarioSpace.blank`.
        doc: Its meaning, in one line, with its unit.
        labels: Names of the values `low..high`, for enumerations; empty for plain numbers.
        forgeable: Whether an adversary may change it.
        hidden: Whether it is never observed (its consequences may be).
    """

    name: str
    low: int
    high: int
    default: int
    doc: str
    labels: tuple[str, ...] = ()
    forgeable: bool = False
    hidden: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.default <= self.high:
            raise ValueError(f"field {self.name}: default {self.default} outside [{self.low}, {self.high}]")
        if self.labels and len(self.labels) != self.high - self.low + 1:
            raise ValueError(f"field {self.name}: {len(self.labels)} labels for [{self.low}, {self.high}]")


@dataclass(frozen=True)
class Rule:
    """A constraint between fields.

    Attributes:
        sentence: The constraint in words, for the error message.
        holds: `(n, F)` scenarios -> `(n,)` bool.
        field: The field that it constrains, if only one: then `ScenarioSpace.sample` draws from the allowed values,
            instead of drawing from all and rejecting.
    """

    sentence: str
    holds: Callable[[Scenarios], NDArray[np.bool_]]
    field: str | None = None


class ScenarioSpace:
    """Named fields with bounds and rules between them.

    Args:
        name: The world's name; the first word of a scenario's text form.
        fields: The fields, in column order.
        rules: Constraints between fields, checked by `validate` after the bounds.
    """

    def __init__(self, name: str, fields: Sequence[Field], rules: Sequence[Rule] = ()) -> None:
        self.name = name
        self.fields = tuple(fields)
        self.rules = tuple(rules)
        self.index = {field.name: column for column, field in enumerate(self.fields)}
        if len(self.index) != len(self.fields):
            raise ValueError(f"world {name}: two fields share a name")
        self.low = np.array([field.low for field in self.fields], np.int16)
        self.high = np.array([field.high for field in self.fields], np.int16)
        self.default = np.array([field.default for field in self.fields], np.int16)
        self.forgeable = np.array([field.forgeable for field in self.fields], np.bool_)

    def __len__(self) -> int:
        return len(self.fields)

    def column(self, name: str) -> int:
        """The column of field `name`; raises `KerfError` with the nearest spelling."""
        if name not in self.index:
            raise unknown_name(f"field of {self.name}", name, self.index)
        return self.index[name]

    def blank(self, n: int) -> Scenarios:
        """`n` scenarios of defaults, shape `(n, F)`. They need not satisfy the rules."""
        return self.default[None].repeat(n, axis=0)

    def make(self, **values: int) -> Scenarios:
        """One scenario, `(1, F)`: `values` by field, and the defaults of all others.

        Raises:
            ScenarioError: if it is not valid.
            KerfError: for an unknown field.
        """
        scenario = self.blank(1)
        for name, value in values.items():
            scenario[:, self.column(name)] = value
        self.validate(scenario)
        return scenario

    def sample(self, n: int, rng: np.random.Generator, max_tries: int = 1000) -> Scenarios:
        """`n` scenarios, uniform over all valid ones: each field is drawn from the values that the rules on it allow,
        then rows are rejected that break a rule between fields.

        Raises:
            ScenarioError: when `max_tries` rounds did not yield `n` valid rows.
        """
        allowed = [self._allowed(field) for field in self.fields]
        kept: list[Scenarios] = []
        missing = n
        for _ in range(max_tries):
            if missing <= 0:
                break
            num_draws = max(64, 4 * missing)
            scenarios = np.stack([rng.choice(values, num_draws) for values in allowed], axis=1)
            scenarios = scenarios[self.valid(scenarios)][:missing]
            kept.append(scenarios)
            missing -= len(scenarios)
        if missing > 0:
            raise ScenarioError(f"{self.name}: no {n} valid scenarios in {max_tries} rounds of uniform draws")
        return np.concatenate(kept) if kept else self.blank(0)

    def _allowed(self, field: Field) -> NDArray[np.int16]:
        """The values of `field` that the rules on it alone allow."""
        values = np.arange(field.low, field.high + 1, dtype=np.int16)
        trial = self.blank(len(values))
        trial[:, self.index[field.name]] = values
        for rule in self.rules:
            if rule.field == field.name:
                holds = rule.holds(trial)
                values, trial = values[holds], trial[holds]
        if not len(values):
            raise ScenarioError(f"{self.name}: the rules allow no value of field {field.name}")
        return values

    def valid(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        """Which rows are within bounds and satisfy every rule, shape `(n,)`."""
        inside: NDArray[np.bool_] = np.asarray(((scenarios >= self.low) & (scenarios <= self.high)).all(axis=1))
        for rule in self.rules:
            inside &= rule.holds(scenarios)
        return inside

    def validate(self, scenarios: Scenarios) -> None:
        """Raise `ScenarioError` for the first invalid row."""
        if scenarios.ndim != 2 or scenarios.shape[1] != len(self) or scenarios.dtype != np.int16:
            raise ScenarioError(
                f"{self.name}: expected int16 scenarios of shape (n, {len(self)}), "
                f"got {scenarios.dtype} {scenarios.shape}"
            )
        if len(scenarios) and ((scenarios.min(axis=0) < self.low) | (scenarios.max(axis=0) > self.high)).any():
            outside = np.argwhere((scenarios < self.low) | (scenarios > self.high))
            row, column = (int(i) for i in outside[0])
            field = self.fields[column]
            raise ScenarioError(
                f"{self.name}, row {row}: {field.name} must be in [{field.low}, {field.high}], "
                f"got {scenarios[row, column]}"
            )
        for rule in self.rules:
            broken = np.flatnonzero(~rule.holds(scenarios))
            if len(broken):
                row = int(broken[0])
                raise ScenarioError(f"{self.name}, row {row}: {rule.sentence}: {self.to_text(scenarios[row])}")

    def to_text(self, scenario: NDArray[np.int16]) -> str:
        """One scenario, shape `(F,)`, as `world(field=value, ...)`; fields at their default are left out."""
        words = []
        for field, value in zip(self.fields, scenario.tolist(), strict=True):
            if value != field.default:
                labelled = field.labels and field.low <= value <= field.high
                words.append(f"{field.name}={field.labels[value - field.low] if labelled else value}")
        return f"{self.name}({', '.join(words)})"

    def from_text(self, text: str) -> NDArray[np.int16]:
        """The inverse of `to_text`: a scenario, shape `(F,)`. Raises `KerfError` on other text."""
        match = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", text, re.DOTALL)
        if not match or match.group(1) != self.name:
            raise ScenarioError(f"expected {self.name}(field=value, ...), got {text!r}")
        scenario = self.default.copy()
        given: set[str] = set()
        for word in filter(None, (part.strip() for part in match.group(2).split(","))):
            name, _, value = (part.strip() for part in word.partition("="))
            column = self.column(name)
            if name in given:
                raise ScenarioError(f"field {name}: expected once, got it again in {text!r}")
            given.add(name)
            scenario[column] = self._parse(self.fields[column], value)
        self.validate(scenario[None])
        return scenario

    @staticmethod
    def _parse(field: Field, value: str) -> int:
        if field.labels and value in field.labels:
            return field.low + field.labels.index(value)
        if field.labels:
            raise unknown_name(f"value of field {field.name}", value, field.labels)
        if not re.fullmatch(r"-?\d+", value) or not field.low <= int(value) <= field.high:
            raise ScenarioError(
                f"field {field.name}: expected a whole number in [{field.low}, {field.high}], got {value!r}"
            )
        return int(value)

    def digest(self, scenarios: Scenarios) -> str:
        """SHA-256 (hex) of the field names and the rows, in order."""
        sha = hashlib.sha256(",".join(self.index).encode())
        sha.update(np.ascontiguousarray(scenarios, dtype="<i2").tobytes())
        return sha.hexdigest()
