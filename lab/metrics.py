"""Grammar of metric names. Nothing else builds such a name or parses one.

A name is a kind and the words that the kind takes, with `/` between them (`FORMS`). In the records names are plain
strings; `Metric` is one of them taken apart, and `str` gives the very same string back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from kerf.lab.errors import KerfError, unknown_name


class Kind(StrEnum):
    """What a metric is: the first word of its name."""

    VALUE = "value"
    """A value's score: the mean over its families, held-out ones included."""
    SKILL = "skill"
    """A skill's score, likewise."""
    FAMILY = "family"
    """The score of one family, or what `FALSE_EXIT` and `WAY` are in the forgeries of training alone."""
    HELD_OUT = "held_out"
    """The mean over the held-out families alone; `FALSE_EXIT` and `WAY` in held-out forgeries alone."""
    FALSE_EXIT = "false_exit"
    """Share of the false emergencies of a strength in which the forbidden act was done."""
    WAY = "way"
    """Share of the hardest false emergencies in which it was done by that way."""
    UTILITY = "utility"
    """Ideal utility of an episode. All other metrics of a battery lie in [0, 1]."""
    COMPETENCE = "competence"
    """The least score of all skills."""
    ROBUSTNESS = "robustness"
    """Minus the share of false exits at a sweep's yardstick."""
    COLLATERAL = "collateral"
    """The mean of the values that a penalty on forgeries of a strength is not aimed at (`kerf.lab.collateral`); in a
    sweep, at any strength that is swept."""
    ATTACK = "attack"
    """Result of an attack on a finished agent: the success of a generator at a strength (or, of a latent adversary,
    within a radius), or another figure."""
    SAMPLE = "sample"
    """Training metrics of the episodes played."""
    LEARN = "learn"
    """Training metrics of the updates."""


FORMS: Mapping[Kind, tuple[str, ...]] = {
    Kind.VALUE: ("value/<value>",),
    Kind.SKILL: ("skill/<skill>",),
    Kind.FAMILY: ("family/<value or skill>/<variant>", "family/false_exit/<strength>", "family/way/<event>"),
    Kind.HELD_OUT: ("held_out/<value or skill>", "held_out/false_exit/<strength>", "held_out/way/<event>"),
    Kind.FALSE_EXIT: ("false_exit/<strength>",),
    Kind.WAY: ("way/<event>",),
    Kind.UTILITY: ("utility/ideal",),
    Kind.COMPETENCE: ("competence",),
    Kind.ROBUSTNESS: ("robustness",),
    Kind.COLLATERAL: ("collateral", "collateral/<strength>"),
    Kind.ATTACK: ("attack/<generator>/<at>", "attack/<generator>/<at>/<figure>"),
    Kind.SAMPLE: ("sample/<figure>",),
    Kind.LEARN: ("learn/<figure>",),
}
"""What a name of each kind looks like."""

OF_FORGERIES = (Kind.FALSE_EXIT, Kind.WAY)
"""Kinds that are measured in false emergencies; no value may be called so."""

UTILITY, COMPETENCE, ROBUSTNESS, COLLATERAL = "utility/ideal", "competence", "robustness", "collateral"
"""Metrics that stand for themselves."""


@dataclass(frozen=True)
class Metric:
    """A metric's name, taken apart.

    Attributes:
        kind: The first word.
        words: The other words, none of them empty or with a `/` in it.

    Raises:
        KerfError: if the kind takes other words.
    """

    kind: Kind
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fits = any(self._has(form) for form in FORMS[self.kind])
        if not fits or any("/" in word for word in self.words):
            raise KerfError(f"metric {str(self)!r}: expected {' or '.join(FORMS[self.kind])}")

    def __str__(self) -> str:
        return "/".join((self.kind, *self.words))

    @staticmethod
    @cache
    def parse(name: str) -> Metric:
        """The metric called `name`.

        Raises:
            KerfError: for a name that is none: an unknown kind (with the nearest spelling), or other words than it
                takes.
        """
        kind, *words = name.split("/")
        if kind not in FORMS:
            raise unknown_name("kind of metric", kind, map(str, FORMS))
        return Metric(Kind(kind), tuple(words))

    @property
    def value(self) -> str | None:
        """The value or skill that it scores; None for any other metric."""
        scores = self.kind in (Kind.VALUE, Kind.SKILL, Kind.FAMILY, Kind.HELD_OUT)
        return self.words[0] if scores and self.words[0] not in OF_FORGERIES else None

    @property
    def strength(self) -> float | None:
        """The strength of the false emergencies in which exits are counted; None for any other metric."""
        kind, *rest = (self.kind, *self.words)[-2:]
        return float(rest[0]) if kind == Kind.FALSE_EXIT else None

    def _has(self, form: str) -> bool:
        expected = form.split("/")[1:]
        return len(expected) == len(self.words) and all(map(_fills, expected, self.words))


def _fills(place: str, word: str) -> bool:
    """Whether `word` may stand where a form says `place`."""
    if not place.startswith("<"):
        return word == place
    if place == "<strength>":
        return _is_share(word)
    return bool(word) and not (place.startswith("<value") and word in OF_FORGERIES)


def _is_share(word: str) -> bool:
    try:
        return 0.0 <= float(word) <= 1.0
    except ValueError:
        return False


def value_metric(name: str, skill: bool = False) -> str:
    """The score of the value, or skill, called `name`."""
    return str(Metric(Kind.SKILL if skill else Kind.VALUE, (name,)))


def exit_metric(strength: float) -> str:
    """The share of false emergencies of `strength` in which the forbidden act was done."""
    return str(Metric(Kind.FALSE_EXIT, (str(float(strength)),)))


def collateral_metric(strength: float) -> str:
    """The mean of the values that a penalty on false emergencies of `strength` is not aimed at."""
    return str(Metric(Kind.COLLATERAL, (str(float(strength)),)))


def way_metric(event: str) -> str:
    """The share of the hardest false emergencies in which the forbidden act was done by the way that `event` names."""
    return str(Metric(Kind.WAY, (event,)))


def family_metric(name: str) -> str:
    """The metric of one family alone: a `kerf.lab.world.Family` by its name; exit or way metrics in the forgeries of
    training."""
    return str(Metric.parse(f"{Kind.FAMILY}/{name}"))


def value_of_family(family: str) -> str:
    """The value that a family called `value/variant` probes."""
    return family.partition("/")[0]


def held_out_metric(name: str) -> str:
    """The metric on held-out scenarios alone: of a value or skill by its name, or of an exit or way metric."""
    return str(Metric.parse(f"{Kind.HELD_OUT}/{name}"))


def attack_metric(generator: str, at: float, *figure: str) -> str:
    """The success of an attack by a generator's label at a strength, or another figure of it."""
    return str(Metric(Kind.ATTACK, (generator, f"{at:g}", *figure)))


def training_metric(part: str, figure: str) -> str:
    """A training metric, by the part that reports it (`sample` or `learn`)."""
    return str(Metric(Kind(part), (figure,)))


TRAINED_EXIT, TRAINED_COLLATERAL = f"{Kind.FALSE_EXIT}/trained", f"{Kind.COLLATERAL}/trained"
"""Names of exits and collateral at the strength that each arm trains on, for arms side by side. No records' metrics."""


def is_of_attack(name: str) -> bool:
    """Whether a name, be it a metric's or not, is one of an attack's."""
    return name.startswith(f"{Kind.ATTACK}/")


def kind_of(name: str) -> Kind:
    """The kind of the metric called `name`."""
    return Metric.parse(name).kind


def of_kind(names: Iterable[str], *kinds: Kind) -> list[str]:
    """Those of `names` that are of one of these kinds, in their order."""
    return [name for name in names if kind_of(name) in kinds]


def exits_by_strength(names: Iterable[str]) -> dict[float, str]:
    """Strength -> the metric of false exits, for those among `names`, ascending."""
    found = {Metric.parse(name).strength: name for name in of_kind(names, Kind.FALSE_EXIT)}
    return dict(sorted((strength, name) for strength, name in found.items() if strength is not None))


def in_full(name: str, known: Collection[str], others: Iterable[str] = ()) -> str:
    """The metric called `name`, where the kind of a value, a skill or the ideal utility may be left out.

    Args:
        name: As the user typed it.
        known: All metrics.
        others: Metrics that a message lists besides the values.

    Raises:
        KerfError: if there is none; with the nearest spelling.
    """
    for metric in (name, *(f"{kind}/{name}" for kind in (Kind.VALUE, Kind.SKILL, Kind.UTILITY))):
        if metric in known:
            return metric
    values = [metric.words[0] for metric in map(Metric.parse, known) if metric.kind is Kind.VALUE]
    raise unknown_name("metric", name, [*values, *others])
