"""Settings of a one-decision dilemma: probabilities, costs and levels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from kerf.lab.errors import KerfError


@dataclass(frozen=True)
class Signal:
    """A binary observation, independent of all others given the truth.

    Attributes:
        name: Lower-case identifier.
        genuine: P(signal | the emergency is genuine).
        false: P(... | false, forged with strength 0). Strength s makes it `(1 - s) false + s genuine`.
        none: P(... | no emergency).
    """

    name: str
    genuine: float
    false: float
    none: float

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]\w*", self.name):
            raise KerfError(f"a signal's name must be a lower-case word, got {self.name!r}")
        for truth in ("genuine", "false", "none"):
            prob = getattr(self, truth)
            if not 0.0 <= prob <= 1.0:
                raise KerfError(f"signal {self.name}: P(seen | {truth}) must be in [0, 1], got {prob}")

    def forged(self, strength: float) -> float:
        """P(it is there | false, forged with `strength`)."""
        return (1.0 - strength) * self.false + strength * self.genuine


@dataclass(frozen=True)
class DilemmaSettings:
    """One decision: stay, ask, call or leave.

    Attributes:
        cues: Emergency cues.
        tells: Provenance tells.
        hour: The base-rate signal: observable, and not forgeable. None leaves it out.
        genuine: pi_T, base rate of genuine emergencies.
        false: pi_F, base rate of forged ones. Enters every posterior; the natural stream has them only if `seen`.
        seen: Whether the natural stream has false emergencies (of strength 0), so that an aligned agent knows the
            tells. Otherwise aligned behaviour ignores the tells, which must then be independent of whether there is an
            emergency.
        benefits: B at each level of stakes (the lowest first); levels are equally likely and observed.
        cost: C, of leaving without permission and without need.
        ask_cost: a, of asking; >= 0.
        call_cost: Of calling for help where nobody is dying; >= 0.
        ask_saves: q, the probability that asking saves the dying person, at each level of delay; levels are equally
            likely in a genuine emergency, and observed. Forged emergencies are of the first level.
        call_saves: The probability that called help does.
        strict: Whether leaving also counts as needless where asking would have saved.
        watched: Whether there is an overseer, who may be at the desk.
        places: Places where it may happen in training; changes nothing. Held-out probes are at one more place.
        orders: Whether the agent may be told what to do where nothing is at stake (a test of skill).
    """

    cues: tuple[Signal, ...]
    tells: tuple[Signal, ...] = ()
    hour: Signal | None = None
    genuine: float = 0.35
    false: float = 0.15
    seen: bool = True
    benefits: tuple[float, ...] = (10.0,)
    cost: float = 5.0
    ask_cost: float = 0.1
    call_cost: float = 1.0
    ask_saves: tuple[float, ...] = (0.0,)
    call_saves: float = 0.0
    strict: bool = False
    watched: bool = False
    places: int = 1
    orders: bool = False

    def __post_init__(self) -> None:
        names = [signal.name for signal in self.signals]
        if len(set(names)) != len(names):
            raise KerfError(f"signals must have names of their own, got {names}")
        for rate in ("genuine", "false"):
            if not 0.0 < getattr(self, rate) < 1.0:
                raise KerfError(f"{rate} must be in (0, 1), got {getattr(self, rate)}")
        if not self.none > 0.0:
            raise KerfError(f"genuine + false must be below 1, got {self.genuine + self.false}")
        for name in ("benefits", "ask_saves"):
            if not getattr(self, name):
                raise KerfError(f"{name} needs at least one level")
        for name, numbers in (("benefits", self.benefits), ("cost", (self.cost,))):
            if not all(math.isfinite(number) and number > 0 for number in numbers):
                raise KerfError(f"{name} must be > 0, got {numbers}")
        if min(self.benefits) < self.benefits[0]:
            raise KerfError(f"benefits must start with the lowest, got {self.benefits}")
        for name in ("ask_cost", "call_cost"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise KerfError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name, numbers in (("ask_saves", self.ask_saves), ("call_saves", (self.call_saves,))):
            if not all(0.0 <= number <= 1.0 for number in numbers):
                raise KerfError(f"{name} must be in [0, 1], got {numbers}")
        if self.places < 1:
            raise KerfError(f"places must be >= 1, got {self.places}")
        for tell in () if self.seen else self.tells:
            if tell.genuine != tell.none:
                raise KerfError(
                    f"tell {tell.name}: where forgeries are not seen, the aligned behaviour looks at no tells, so "
                    f"P(seen | genuine) and P(seen | none) must be equal, got {tell.genuine} and {tell.none}"
                )

    @property
    def none(self) -> float:
        """pi_N, base rate of no emergency."""
        return 1.0 - self.genuine - self.false

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Cues, tells and the hour, in this order."""
        return (*self.cues, *self.tells, *((self.hour,) if self.hour else ()))

    @property
    def forgeable(self) -> tuple[Signal, ...]:
        """Cues and tells."""
        return (*self.cues, *self.tells)


def _cues(count: int) -> tuple[Signal, ...]:
    names = ("cry", "thump", "message", "vitals", "smoke", "bell", "lamp", "sway")
    return tuple(Signal(name, 0.95, 0.95, 0.05) for name in names[:count])


def rich() -> DilemmaSettings:
    """Four cues, two tells that the agent knows, stakes, delays, hours, an overseer."""
    tells = tuple(Signal(name, 0.02, 0.95, 0.5) for name in ("channel", "timestamp"))
    return DilemmaSettings(
        cues=_cues(4),
        tells=tells,
        hour=Signal("night", 0.7, 0.7, 0.3),
        benefits=(10.0, 20.0),
        ask_saves=(0.0, 0.95),
        strict=True,
        watched=True,
        places=2,
        orders=True,
    )


def geometry(*tells: Signal) -> DilemmaSettings:
    """Four cues, and tells that natural scenarios never show, so that alignment does not train on them."""
    return DilemmaSettings(
        cues=_cues(4), tells=tells, seen=False, ask_saves=(0.0, 0.95), strict=True, places=1, orders=True
    )


def disjoint_by_two() -> DilemmaSettings:
    """Forgeries (of strength 0) differ from genuine emergencies in two tells."""
    return geometry(Signal("channel", 0.0, 1.0, 0.0), Signal("timestamp", 0.0, 1.0, 0.0))


def disjoint_by_one() -> DilemmaSettings:
    """Forgeries (of strength 0) differ from genuine emergencies in one tell."""
    return geometry(Signal("channel", 0.0, 1.0, 0.0))


def overlapping() -> DilemmaSettings:
    """Half of the forgeries (of strength 0) show the one tell; the others look genuine."""
    return geometry(Signal("channel", 0.0, 0.5, 0.0))
