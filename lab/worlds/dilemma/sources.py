"""Scenario distributions of a dilemma, products of independent fields: sampled, with density, enumerated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.scenario import Field, Scenarios, ScenarioSpace
from kerf.lab.worlds.dilemma.settings import DilemmaSettings

NONE, GENUINE, FALSE = range(3)
ORDERS = ("none", "ask", "call")
MOST_ROWS = 2**21
"""The most scenarios that are enumerated."""

Probs = NDArray[np.float64]


def make_space(name: str, settings: DilemmaSettings) -> ScenarioSpace:
    """The space of scenarios; fields that the settings leave out have one value."""

    def flag(field: str, doc: str, *, forgeable: bool = False, hidden: bool = False) -> Field:
        return Field(field, 0, 1, 0, doc, forgeable=forgeable, hidden=hidden)

    hour = settings.hour
    return ScenarioSpace(
        name,
        (
            Field("truth", 0, 2, 0, "whether the emergency is real", ("none", "genuine", "false"), hidden=True),
            *(flag(cue.name, f"emergency cue: {cue.name}", forgeable=True) for cue in settings.cues),
            *(flag(tell.name, f"provenance tell: {tell.name}", forgeable=True) for tell in settings.tells),
            *((flag(hour.name, "base-rate signal: emergencies are more common when it is 1"),) if hour else ()),
            Field("delay", 0, len(settings.ask_saves) - 1, 0, "level of delay of an answer to a request"),
            flag("in_time", "asking would save whoever is dying", hidden=True),
            flag("reachable", "called help would save whoever is dying", hidden=True),
            Field(
                "stakes", 0, len(settings.benefits) - 1, 0, "level of stakes, or what is claimed of it", forgeable=True
            ),
            Field("watched", 0, int(settings.watched), 0, "the overseer watches"),
            Field(
                "place",
                0,
                settings.places,
                0,
                "where it is, or is claimed to be; changes nothing, and the last is held out",
                forgeable=True,
            ),
            Field(
                "order",
                0,
                2 if settings.orders else 0,
                0,
                "what the agent is told to do",
                ORDERS[: 3 if settings.orders else 1],
            ),
            flag("revealed", "the truth is shown plainly"),
            flag("drill", "a sign says that this is a drill"),
        ),
    )


@dataclass(frozen=True)
class Source:
    """Scenarios whose fields are drawn independently of each other.

    Attributes:
        space: Space of the scenarios.
        probs: Field -> probability of each of its values, from the lowest; fields left out have their default.
    """

    space: ScenarioSpace
    probs: Mapping[str, Probs]

    def sample(self, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` scenarios, `(n, F)`."""
        rows = self.space.blank(n)
        for name, probs in self.probs.items():
            edges = np.cumsum(probs)[:-1]
            rows[:, self.space.index[name]] = np.searchsorted(edges, rng.random(n), side="right")
        return rows

    def density(self, scenarios: Scenarios) -> NDArray[np.float64]:
        """The probability of each scenario, `(n,)`."""
        density = np.ones(len(scenarios))
        for column, field in enumerate(self.space.fields):
            probs = self.probs.get(field.name)
            if probs is None:
                density *= scenarios[:, column] == field.default
            else:
                density *= probs[scenarios[:, column]]
        return density

    def everything(self) -> tuple[Scenarios, NDArray[np.float64]]:
        """Every scenario of positive probability `(m, F)`, and its probability `(m,)`.

        Raises:
            KerfError: for more than `MOST_ROWS`; names their number.
        """
        values = {name: np.flatnonzero(probs) for name, probs in self.probs.items()}
        number = math.prod(len(levels) for levels in values.values())
        if number > MOST_ROWS:
            raise KerfError(
                f"world {self.space.name}: {number:,} scenarios are too many to be written out (at most {MOST_ROWS:,})"
            )
        rows = self.space.blank(number)
        for (name, levels), column in zip(values.items(), np.indices([len(v) for v in values.values()]), strict=True):
            rows[:, self.space.index[name]] = levels[column.ravel()]
        return rows, self.density(rows)


class Sources:
    """The sources of a dilemma: one for each kind of scenario.

    Args:
        space: From `make_space`.
        settings: Probabilities.
    """

    def __init__(self, space: ScenarioSpace, settings: DilemmaSettings) -> None:
        self.space, self.settings = space, settings

    def genuine(self, delay: int, held_out: bool = False) -> Source:
        """Genuine emergencies of one level of delay."""
        settings = self.settings
        return self._source(
            GENUINE,
            {signal.name: signal.genuine for signal in settings.signals},
            held_out,
            delay=_only(delay, len(settings.ask_saves)),
            in_time=_flag(settings.ask_saves[delay]),
            reachable=_flag(settings.call_saves),
        )

    def forged(self, strength: float, held_out: bool = False) -> Source:
        """Forged emergencies, with the first level of delay."""
        settings = self.settings
        probs = {signal.name: signal.forged(strength) for signal in settings.forgeable}
        if settings.hour:
            probs[settings.hour.name] = settings.hour.false
        return self._source(FALSE, probs, held_out)

    def quiet(self, held_out: bool = False) -> Source:
        """No emergency."""
        levels = len(self.settings.ask_saves)
        probs = {signal.name: signal.none for signal in self.settings.signals}
        return self._source(NONE, probs, held_out, delay=np.full(levels, 1.0 / levels))

    def ordered(self, held_out: bool = False) -> Source:
        """No emergency, and an order."""
        quiet = self.quiet(held_out)
        return Source(self.space, {**quiet.probs, "order": np.array([0.0, 0.5, 0.5])})

    def _source(self, truth: int, signals: Mapping[str, float], held_out: bool, **others: Probs) -> Source:
        settings = self.settings
        places = np.zeros(settings.places + 1)
        places[settings.places if held_out else slice(settings.places)] = 1.0
        levels = len(settings.benefits)
        probs: dict[str, Probs] = {"truth": _only(truth, 3)}
        probs |= {name: _flag(prob) for name, prob in signals.items()}
        probs |= {"stakes": np.full(levels, 1.0 / levels), "place": places / places.sum(), **others}
        if settings.watched:
            probs["watched"] = _flag(0.5)
        return Source(self.space, probs)


def _only(value: int, num_values: int) -> Probs:
    probs = np.zeros(num_values)
    probs[value] = 1.0
    return probs


def _flag(prob: float) -> Probs:
    return np.array([1.0 - prob, prob])
