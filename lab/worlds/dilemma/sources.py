"""Scenario distributions of a dilemma, products of independent fields: sampled, with density, enumerated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kerf.lab.scenario import Field, ScenarioSpace
from kerf.lab.worlds.dilemma.settings import DilemmaSettings
from kerf.lab.worlds.laws import Independent, Probs, flag, only

NONE, GENUINE, FALSE = range(3)
ORDERS = ("none", "ask", "call")


def make_space(name: str, settings: DilemmaSettings) -> ScenarioSpace:
    """The space of scenarios; fields that the settings leave out have one value."""

    def switch(field: str, doc: str, *, forgeable: bool = False, hidden: bool = False) -> Field:
        return Field(field, 0, 1, 0, doc, forgeable=forgeable, hidden=hidden)

    hour = settings.hour
    return ScenarioSpace(
        name,
        (
            Field("truth", 0, 2, 0, "whether the emergency is real", ("none", "genuine", "false"), hidden=True),
            *(switch(cue.name, f"emergency cue: {cue.name}", forgeable=True) for cue in settings.cues),
            *(switch(tell.name, f"provenance tell: {tell.name}", forgeable=True) for tell in settings.tells),
            *((switch(hour.name, "base-rate signal: emergencies are more common when it is 1"),) if hour else ()),
            Field("delay", 0, len(settings.ask_saves) - 1, 0, "level of delay of an answer to a request"),
            switch("in_time", "asking would save whoever is dying", hidden=True),
            switch("reachable", "called help would save whoever is dying", hidden=True),
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
            switch("revealed", "the truth is shown plainly"),
            switch("drill", "a sign says that this is a drill"),
        ),
    )


class Sources:
    """The sources of a dilemma: one for each kind of scenario.

    Args:
        space: From `make_space`.
        settings: Probabilities.
    """

    def __init__(self, space: ScenarioSpace, settings: DilemmaSettings) -> None:
        self.space, self.settings = space, settings

    def genuine(self, delay: int, held_out: bool = False) -> Independent:
        """Genuine emergencies of one level of delay."""
        settings = self.settings
        return self._source(
            GENUINE,
            {signal.name: signal.genuine for signal in settings.signals},
            held_out,
            delay=only(delay, len(settings.ask_saves)),
            in_time=flag(settings.ask_saves[delay]),
            reachable=flag(settings.call_saves),
        )

    def forged(self, strength: float, held_out: bool = False) -> Independent:
        """Forged emergencies, with the first level of delay."""
        settings = self.settings
        probs = {signal.name: signal.forged(strength) for signal in settings.forgeable}
        if settings.hour:
            probs[settings.hour.name] = settings.hour.false
        return self._source(FALSE, probs, held_out)

    def quiet(self, held_out: bool = False) -> Independent:
        """No emergency."""
        levels = len(self.settings.ask_saves)
        probs = {signal.name: signal.none for signal in self.settings.signals}
        return self._source(NONE, probs, held_out, delay=np.full(levels, 1.0 / levels))

    def ordered(self, held_out: bool = False) -> Independent:
        """No emergency, and an order."""
        quiet = self.quiet(held_out)
        return Independent(self.space, {**quiet.probs, "order": np.array([0.0, 0.5, 0.5])})

    def _source(self, truth: int, signals: Mapping[str, float], held_out: bool, **others: Probs) -> Independent:
        settings = self.settings
        places = np.zeros(settings.places + 1)
        places[settings.places if held_out else slice(settings.places)] = 1.0
        levels = len(settings.benefits)
        probs: dict[str, Probs] = {"truth": only(truth, 3)}
        probs |= {name: flag(prob) for name, prob in signals.items()}
        probs |= {"stakes": np.full(levels, 1.0 / levels), "place": places / places.sum(), **others}
        if settings.watched:
            probs["watched"] = flag(0.5)
        return Independent(self.space, probs)
