"""Natural stream of a world: no adversary."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from kerf.generators.base import Generator, GeneratorSettings
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World, natural


class NaturalSettings(GeneratorSettings):
    """Settings of `Natural`."""

    without: tuple[str, ...] = ()
    """Names of families, `value/variant`, that are left out."""

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = plain(self)
        for name in ("ask_workers", "without"):
            if not getattr(self, name):
                fields.pop(name, None)
        return fields


class Natural(Generator):
    """The world's natural stream: its families, drawn by their shares.

    Raises:
        KerfError: if a family to be left out does not exist, or none is left.
    """

    settings_model: ClassVar[type[GeneratorSettings]] = NaturalSettings

    uses_strength: ClassVar[bool] = False

    def __init__(self, world: World, settings: GeneratorSettings) -> None:
        super().__init__(world)
        self.without = settings.without if isinstance(settings, NaturalSettings) else ()
        drawn = [family.name for family in world.families if not family.held_out]
        for name in self.without:
            if name not in drawn:
                raise unknown_name(f"family of {world.name}'s natural stream", name, drawn)
        if set(drawn) <= set(self.without):
            raise KerfError(f"generator 'natural': no family of {world.name} is left")

    def mix(self) -> Mix:
        return Mix(natural=1.0, without=self.without)

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return natural(self.world, n, rng, self.without)
