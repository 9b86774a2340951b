"""One family of natural scenarios: the novelty control, a stream as narrow as an adversary's that tempts nobody."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from kerf.generators.base import Generator, GeneratorSettings
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Family, World


class FamilySettings(GeneratorSettings):
    """Settings of `OneFamily`."""

    family: str | None = None
    """Name of the family, `value/variant`. None: of those in training that probe neither the value which the forbidden
    act serves nor the one at which its penalty is aimed, the most frequent, and of equals the first."""


class OneFamily(Generator):
    """Scenarios of a single family of the world; it learns nothing from scores.

    Raises:
        KerfError: if the world has no such family.
    """

    settings_model = FamilySettings
    forges: ClassVar[bool] = False
    uses_strength: ClassVar[bool] = False

    def __init__(self, world: World, settings: FamilySettings) -> None:
        super().__init__(world)
        self.family = _usual(world) if settings.family is None else _named(world, settings.family)

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return self.family.sample(n, rng)


def _named(world: World, name: str) -> Family:
    families = {family.name: family for family in world.families}
    if name not in families:
        raise unknown_name(f"family of {world.name}", name, families)
    return families[name]


def _usual(world: World) -> Family:
    involved = {world.dilemma.served, world.dilemma.aimed_at}
    others = [family for family in world.families if not family.held_out and family.value not in involved]
    if not others:
        raise KerfError(f"generator 'family': all families of {world.name} have to do with the temptation; name one")
    return max(others, key=lambda family: family.share)
