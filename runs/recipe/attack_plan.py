"""Attack plan: settings of attacks, the agents attacked, and the names of the records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from kerf.agents.settings import Share
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import known_generators, typed, uses_strength
from kerf.lab.attack_objective import make_objective
from kerf.lab.errors import KerfError
from kerf.lab.seeds import entropy
from kerf.lab.settings import Settings
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.records.store import ALIGNED, Unit

STRENGTHS = (0.0, 0.5, 1.0)
"""Strengths of a whole grid, in addition to those that the arms were trained at."""

BUDGET = 20_000
"""Default number of scenarios of an attack."""

GRID_BUDGET = 4096
"""Default number of scenarios of each attack of a whole grid."""

BATCH = 512
"""Default number of scenarios between two updates of the attacker."""

RECORD = "attack"
"""File stem of the record of an attack."""

LATENT = "latent"
"""File stem of the record of a latent attack, and name of the folder of these records."""

RADII = (0.1, 0.25, 0.5, 1.0)
"""Default radii of latent attacks, in units of the seed's latent scale."""

Count = Annotated[int, Field(ge=1, le=100_000_000)]


class AttackSettings(Settings):
    """Settings of an attack, independent of the agent attacked."""

    generator: SerializeAsAny[GeneratorSettings]
    """Settings of the attacking generator, strength included."""

    objective: str = "elicit"
    """Name of the score of each episode that is reported to the generator (`kerf.lab.attack_objective.OBJECTIVES`)."""

    budget: Count = BUDGET
    """Total number of scenarios."""

    batch: Count = BATCH
    """Number of scenarios between two updates of the generator."""

    draw: Annotated[int, Field(ge=0)] = 0
    """Index of the random stream; the streams of different seeds of a study are independent."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        make_objective(self.objective, finished=True)
        return self

    @property
    def label(self) -> str:
        """The kind of generator, followed by six digits of a hash if it has settings other than the defaults."""
        options = self.generator.model_dump(mode="json", exclude={"kind", "strength"}, exclude_defaults=True)
        if "ask_workers" in options:
            options["ask_workers"] = 1  # the number does not affect the scenarios
        if not options:
            return self.generator.kind
        digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
        return f"{self.generator.kind}-{digest[:6]}"

    @property
    def name(self) -> str:
        """Path of its records, such as `illuminate/0.5-4096-512`; includes objective and draw if not the defaults."""
        words = [f"{self.generator.strength:g}", str(self.budget), str(self.batch)]
        words += [self.objective] if self.objective != "elicit" else []
        words += [f"draw{self.draw}"] if self.draw else []
        return f"{self.label}/{'-'.join(words)}"

    def stream(self, seed: int) -> tuple[int, ...]:
        """Entropy of its random stream in `seed`: the same for all agents of the seed, which pairs them."""
        return entropy(seed, f"attack {self.label} {self.generator.strength:g} {self.objective} {self.draw}")


@dataclass(frozen=True)
class AttackUnit:
    """An attack on one agent of a study: a unit of work whose name is its folder.

    Attributes:
        target: The agent attacked: an aligned agent or that of a cell.
        attack: The attack.
    """

    target: Unit
    attack: AttackSettings

    @property
    def name(self) -> str:
        """Its folder, relative to the study's: `attacks/penalised/seed-0/illuminate/0.5-4096-512`."""
        return f"attacks/{self.target.arm}/seed-{self.target.seed}/{self.attack.name}"


class FreshGenerator(Settings):
    """An attacking generator as given in a recipe. Further fields are settings of its kind."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """Name in the registry of generators."""


class Fresh(Settings):
    """Attacks of fresh generators on every finished agent: the aligned agents and those of all arms."""

    generators: Annotated[tuple[FreshGenerator, ...], Field(min_length=1)]
    """The attackers: kinds of generator, or mappings of `kind` and settings other than the strength."""

    strengths: Annotated[tuple[Share, ...], Field(min_length=1)] = STRENGTHS
    """The strengths at which each generator attacks."""

    objective: str = "elicit"
    """Name of the score of each episode that is reported to the generators."""

    budget: Count = GRID_BUDGET
    """Number of scenarios of each attack."""

    batch: Count = BATCH
    """Number of scenarios between two updates of a generator."""

    @field_validator("generators", mode="before")
    @classmethod
    def _kinds_alone(cls, generators: Any) -> Any:
        if not isinstance(generators, list | tuple):
            return generators
        return tuple({"kind": entry} if isinstance(entry, str) else entry for entry in generators)

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        names = [attack.name for attack in self.attacks]
        if len(set(names)) < len(names):
            raise ValueError("different generators and strengths, each once")
        return self

    @property
    def attacks(self) -> list[AttackSettings]:
        """Return all attacks, ordered by generator, then by strength.

        Raises:
            KerfError: for an unknown kind or setting.
        """
        found = []
        for index, generator in enumerate(self.generators):
            options = generator.model_dump()
            if "strength" in options:
                raise KerfError(f"generators.{index}.strength: say it in `strengths`, for all of them")
            found += attacks_of([options], self.strengths, self.objective, self.budget, self.batch)
        return found


def attacks_of(
    generators: Iterable[Mapping[str, Any]],
    strengths: Iterable[float],
    objective: str = "elicit",
    budget: int = BUDGET,
    batch: int = BATCH,
    draw: int = 0,
) -> list[AttackSettings]:
    """Return attacks of each generator (a mapping of `kind` and settings) at each strength, in that order.

    A kind that forges nothing attacks once, under the highest strength, which means nothing to it. The batch is limited
    to the budget.

    Raises:
        KerfError: for an unknown kind or setting, with the nearest spelling.
    """
    make_objective(objective, finished=True)
    batch = min(batch, budget)
    at = list(strengths)
    made = []
    for options in generators:
        settings = [typed(GeneratorSettings.model_validate({**options, "strength": strength})) for strength in at]
        if settings and not uses_strength(settings[0].kind):
            settings = [max(settings, key=lambda generator: generator.strength)]
        made += [
            AttackSettings(generator=generator, objective=objective, budget=budget, batch=batch, draw=draw)
            for generator in settings
        ]
    return made


def whole_grid(arms: Mapping[str, ResolvedArm]) -> tuple[list[dict[str, Any]], list[float]]:
    """Return the generators and strengths of a whole grid.

    The generators are all registered kinds with default settings, and those with other settings that trained an arm.
    The strengths are `STRENGTHS` and those that arms were trained at.
    """
    generators: list[dict[str, Any]] = [{"kind": kind} for kind in known_generators()]
    usual = [typed(GeneratorSettings.model_validate(options)) for options in generators]
    for arm in arms.values():
        trained_on = {**arm.generator.identity(), "strength": 1.0}
        if arm.train and trained_on not in [{**of.identity(), "strength": 1.0} for of in usual]:
            generators.append(arm.generator.model_dump(mode="json", exclude={"strength"}))
            usual.append(arm.generator)
    trained = {arm.generator.strength for arm in arms.values() if arm.train}
    return generators, sorted({*STRENGTHS, *trained})


def targets(arms: Iterable[str], seeds: Sequence[int]) -> list[Unit]:
    """Return the units of the aligned agents of `seeds` and of the agents of each arm."""
    return [Unit(arm, seed) for seed in seeds for arm in (ALIGNED, *arms)]
