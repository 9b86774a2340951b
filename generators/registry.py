"""Generators by name. Packages add theirs through the entry-point group `kerf.generators`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from kerf.generators.adversary import Adversary
from kerf.generators.base import Generator, GeneratorSettings
from kerf.generators.mixture import Mixture
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.forging import refuse_without_forgeries
from kerf.lab.plugins import plugged_in
from kerf.lab.world import World

Factory = Callable[[World, Any], Generator]

BUILT_IN = {
    "natural": "kerf.generators.natural:Natural",
    "family": "kerf.generators.family:OneFamily",
    "hardest": "kerf.generators.hardest:Hardest",
    "scripted": "kerf.generators.scripted:Scripted",
    "uniform": "kerf.generators.uniform:Uniform",
    "replay": "kerf.generators.replay:Replay",
    "mutation": "kerf.generators.mutation:Mutation",
    "illuminate": "kerf.generators.illuminate:Illuminate",
    "search": "kerf.generators.search:Search",
    "learned": "kerf.generators.learned:Learned",
}
"""Kind -> `module:attribute` of a `Factory`."""


def known_generators() -> dict[str, str]:
    """All kinds, built in or from installed plug-ins, as `{kind: "module:attribute"}`."""
    return {**plugged_in("kerf.generators"), **BUILT_IN}


RENAMED = {"measures": "`descriptors`"}
"""Names of settings in earlier versions, with their present ones."""


def make_generator(world: World, settings: GeneratorSettings, adversarial_share: float = 1.0) -> Generator:
    """A new generator of scenarios of `world`.

    Args:
        world: The world of the scenarios.
        settings: The kind, and its settings.
        adversarial_share: Share in [0, 1] of scenarios from the generator; the others come from the natural stream. 1
            returns the generator itself, not in a mixture.

    With `ask_workers` it is asked in parts on Ray workers, which start with the first `ask`: Ray must run by then.

    Raises:
        KerfError: for an unknown kind or setting (with the nearest spelling), a setting that is out of range, or a kind
            that cannot be loaded, or that is neither an `Adversary` nor a fixed mix.
    """
    if settings.ask_workers:
        from kerf.generators.distributed import Distributed

        whole = typed(settings).model_copy(update={"ask_workers": 0})
        return Distributed(world, whole, adversarial_share, num_workers=settings.ask_workers)
    generator = _make(world, settings)
    if adversarial_share == 1.0:
        return generator
    natural_share = round(1.0 - adversarial_share, 12)  # exactly 0.1 for 0.9, without a rounding error
    return Mixture((generator, _make(world, GeneratorSettings(kind="natural"))), (adversarial_share, natural_share))


def check_generator(world: World, settings: GeneratorSettings) -> None:
    """Refuse what `make_generator` would refuse, without sampling the world's forgeries where that is not needed.

    Raises:
        KerfError: as `make_generator`.
    """
    factory = _factory(settings.kind)
    if isinstance(factory, type) and issubclass(factory, Adversary):
        refuse_without_forgeries(world)
        factory.check(world, _typed(settings, factory))
    else:
        _make(world, settings)


def typed(settings: GeneratorSettings) -> GeneratorSettings:
    """`settings` as the settings of their kind, checked.

    Raises:
        KerfError: as `make_generator`, for the kind and its settings.
    """
    return _typed(settings, _factory(settings.kind))


def uses_strength(kind: str) -> bool:
    """Whether the scenarios of a kind of generator depend on the strength in its settings.

    Raises:
        KerfError: for an unknown kind, or one that cannot be loaded.
    """
    return bool(getattr(_factory(kind), "uses_strength", True))


def _factory(kind: str) -> Factory:
    known = known_generators()
    if kind not in known:
        raise unknown_name("generator", kind, known)
    module, _, attribute = known[kind].partition(":")
    try:
        factory: Factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise KerfError(f"generator {kind!r}: cannot load {known[kind]!r}: {error}") from error
    return factory


def _typed(settings: GeneratorSettings, factory: Factory) -> GeneratorSettings:
    model: type[GeneratorSettings] = getattr(factory, "settings_model", GeneratorSettings)
    fields = settings.model_dump()
    for name in fields:
        if name not in model.model_fields:
            raise unknown_name(f"setting of generator {settings.kind!r}", name, model.model_fields, RENAMED)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"])) or "settings"
        sentence = first["msg"].removeprefix("Value error, ")
        raise KerfError(f"generator.{path}: {sentence}, got {first['input']!r}") from error


def _make(world: World, settings: GeneratorSettings) -> Generator:
    factory = _factory(settings.kind)
    generator = factory(world, _typed(settings, factory))
    target = known_generators()[settings.kind]
    if not isinstance(generator, Generator):
        raise KerfError(
            f"generator {settings.kind!r}: {target!r} must make a kerf.generators.base.Generator, "
            f"got {type(generator).__name__}"
        )
    if generator.forges and not isinstance(generator, Adversary) and generator.mix() is None:
        raise KerfError(
            f"generator {settings.kind!r}: {target!r} is no fixed mix of scenarios, so it must make a "
            f"kerf.generators.adversary.Adversary, whose strength is enforced; got {type(generator).__name__}"
        )
    return generator
