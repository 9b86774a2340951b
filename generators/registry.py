"""The generators, by name. Packages add theirs through the entry-point group `kerf.generators`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points

from generators.base import Generator, GeneratorSettings
from generators.mixture import Mixture
from lab.errors import KerfError, unknown_name
from lab.world import World

Factory = Callable[[World, GeneratorSettings], Generator]

BUILT_IN = {
    "natural": "generators.natural:Natural",
    "scripted": "generators.scripted:Scripted",
}
"""Kind -> `module:attribute` of a `Factory`."""


def known_generators() -> dict[str, str]:
    """All kinds that can be named: built in and installed plug-ins, as `{kind: "module:attribute"}`."""
    return {point.name: point.value for point in entry_points(group="kerf.generators")} | BUILT_IN


def make_generator(world: World, settings: GeneratorSettings, replay: float = 0.0) -> Generator:
    """A new generator of scenarios of `world`.

    Args:
        world: Whose scenarios.
        settings: Which kind, and its settings.
        replay: Share in [0, 1] of scenarios that come from the natural stream instead; 0 leaves the generator
            bare, so that it gives the very scenarios that it would give without replay.

    Raises:
        KerfError: for an unknown kind (with the nearest spelling), or one that cannot be loaded.
    """
    generator = _make(world, settings)
    if replay == 0.0:
        return generator
    return Mixture((generator, _make(world, GeneratorSettings(kind="natural"))), (1.0 - replay, replay))


def _make(world: World, settings: GeneratorSettings) -> Generator:
    known = known_generators()
    if settings.kind not in known:
        raise unknown_name("generator", settings.kind, known)
    module, _, attribute = known[settings.kind].partition(":")
    try:
        factory: Factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise KerfError(f"generator {settings.kind!r}: cannot load {known[settings.kind]!r}: {error}") from error
    generator = factory(world, settings)
    if not isinstance(generator, Generator):
        raise KerfError(
            f"generator {settings.kind!r}: {known[settings.kind]!r} must make a generators.base.Generator, "
            f"got {type(generator).__name__}"
        )
    return generator
