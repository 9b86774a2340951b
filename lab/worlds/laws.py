"""Laws of scenarios: distributions that can be sampled, evaluated and enumerated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.scenario import Scenarios, ScenarioSpace

MOST_ROWS = 2**21
"""The most scenarios that are enumerated."""

Probs = NDArray[np.float64]


class Law(Protocol):
    """A distribution of scenarios."""

    def sample(self, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios, `(n, F)`."""

    def density(self, scenarios: Scenarios) -> Probs:
        """The probability of each scenario, `(n,)`."""

    def everything(self) -> tuple[Scenarios, Probs]:
        """Every scenario of positive probability `(m, F)`, and its probability `(m,)`.

        Raises:
            KerfError: for more than `MOST_ROWS`; names their number.
        """


@dataclass(frozen=True)
class Independent:
    """Scenarios whose fields are drawn independently of each other (see `Law`).

    Attributes:
        space: Space of the scenarios.
        probs: Field -> probability of each of its values, from the lowest; fields left out have their default.
    """

    space: ScenarioSpace
    probs: Mapping[str, Probs]

    def sample(self, n: int, rng: np.random.Generator) -> Scenarios:
        rows = self.space.blank(n)
        for name, probs in self.probs.items():
            edges = np.cumsum(probs)[:-1]
            column = self.space.index[name]
            rows[:, column] = np.searchsorted(edges, rng.random(n), side="right") + self.space.fields[column].low
        return rows

    def density(self, scenarios: Scenarios) -> Probs:
        density = np.ones(len(scenarios))
        for column, field in enumerate(self.space.fields):
            probs = self.probs.get(field.name)
            if probs is None:
                density *= scenarios[:, column] == field.default
            else:
                density *= probs[scenarios[:, column] - field.low]
        return density

    def everything(self) -> tuple[Scenarios, Probs]:
        values = {name: np.flatnonzero(probs) for name, probs in self.probs.items()}
        number = math.prod(len(levels) for levels in values.values())
        _refuse_too_many(self.space, number)
        rows = self.space.blank(number)
        for (name, levels), column in zip(values.items(), np.indices([len(v) for v in values.values()]), strict=True):
            at = self.space.index[name]
            rows[:, at] = levels[column.ravel()] + self.space.fields[at].low
        return rows, self.density(rows)


@dataclass(frozen=True)
class Uniform:
    """Scenarios of a list, each as likely as the others (see `Law`): for fields that depend on each other.

    Attributes:
        space: Space of the scenarios.
        rows: `(m, F)`, all different.
    """

    space: ScenarioSpace
    rows: Scenarios

    def sample(self, n: int, rng: np.random.Generator) -> Scenarios:
        return self.rows[rng.integers(0, len(self.rows), n)]

    def density(self, scenarios: Scenarios) -> Probs:
        listed = {row.tobytes() for row in np.ascontiguousarray(self.rows)}
        _, first, of = np.unique(scenarios, axis=0, return_index=True, return_inverse=True)
        inside = np.array([row.tobytes() in listed for row in np.ascontiguousarray(scenarios[first])], np.float64)
        return np.asarray(inside[of.ravel()] / len(self.rows) if len(scenarios) else np.zeros(0))

    def everything(self) -> tuple[Scenarios, Probs]:
        return self.rows.copy(), np.full(len(self.rows), 1.0 / len(self.rows))


def only(value: int, num_values: int) -> Probs:
    """Probabilities of `num_values` values, of which only `value` occurs."""
    probs = np.zeros(num_values)
    probs[value] = 1.0
    return probs


def flag(prob: float) -> Probs:
    """Probabilities of a flag that is 1 with probability `prob`."""
    return np.array([1.0 - prob, prob])


def even(num_values: int, values: Sequence[int] | None = None) -> Probs:
    """Probabilities of `num_values` values, of which `values` (None: all) are equally likely."""
    probs = np.zeros(num_values)
    probs[list(range(num_values) if values is None else values)] = 1.0
    return probs / probs.sum()


def _refuse_too_many(space: ScenarioSpace, number: int) -> None:
    if number > MOST_ROWS:
        raise KerfError(
            f"world {space.name}: {number:,} scenarios are too many to be written out (at most {MOST_ROWS:,})"
        )
