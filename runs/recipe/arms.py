"""Arms are only settings: what each kind of arm fixes, what it inherits, and how one is made explicit.

Three layers, the later winning: the recipe's defaults, the arm's kind, the arm's own overrides. `None` means
"not said here".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

from pydantic import Field, SerializeAsAny

from kerf.agents.settings import ExactSettings, NonNegative, Share, TrainingSettings
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import known_generators, typed
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.settings import Settings
from kerf.runs.recipe.arm_kinds import ARMS, NOT_SAID, Agent, Arm, ArmSettings
from kerf.runs.records.store import ALIGNED, Unit

T = TypeVar("T", TrainingSettings, ExactSettings)


class ResolvedArm(Settings):
    """An arm with nothing left to inherit: all that a cell needs besides its seed."""

    name: str
    """Name of the arm in its recipe."""

    kind: str
    """Name of its kind, for reports; everything that the kind means is in the other fields."""

    train: bool
    """Whether it trains."""

    generator: SerializeAsAny[GeneratorSettings]
    """Where its scenarios come from, with the settings of that kind."""

    adversarial_share: Share
    """Share of scenarios from the generator; the rest is natural."""

    grader: str
    """Name in `kerf.lab.grader.GRADERS`."""

    strength: Share
    """What the grader takes the strength of forgeries to be; the generator's own is `generator.strength`."""

    objective: str = "elicit"
    """What the generator is told of each episode."""

    after: str | None = None
    """The arm from whose end it starts; None: from the aligned agent."""

    yoked_to: str | None = None
    """The arm that says how many episodes are penalised when; None: the grader says which acts are."""

    shaping: NonNegative
    """Standard deviation of the potential that shapes the design reward; 0 for none."""

    penalty: NonNegative
    """L >= 0."""

    penalty_sign: Literal[1, -1]
    """-1 rewards what is else penalised."""

    agent: Agent = "network"
    """What is trained."""

    training: TrainingSettings | ExactSettings
    """How it is trained, with the arm's anchor in `anchor_coeff` and its latent radius in `latent_radius`."""

    iterations: Annotated[int, Field(ge=0)]
    """Training iterations; 0 if the arm does not train."""

    @property
    def signed_penalty(self) -> float:
        """What is subtracted from the reward at each penalised step: L times its sign (and +0.0 for none)."""
        return self.penalty_sign * self.penalty if self.penalty else 0.0

    def trained_by(self, settings: type[T]) -> T:
        """`training`, which is of this class in all arms of a recipe that trains that way.

        Raises:
            TypeError: if it is of another class.
        """
        if not isinstance(self.training, settings):
            raise TypeError(f"arm {self.name!r} is trained by {type(self.training).__name__}, not {settings.__name__}")
        return self.training


def resolve_arm(
    name: str,
    arm: Arm,
    *,
    penalty: float,
    strength: float,
    adversarial_share: float,
    training: TrainingSettings | ExactSettings,
    iterations: int,
    table: ExactSettings | None = None,
) -> ResolvedArm:
    """`arm`, whose kind must be in `ARMS`, over its kind, over the recipe's defaults; `table` trains tables.

    Raises:
        KerfError: for a latent radius where training is by exact gradients.
    """
    kind = arm.kind or name
    settings = ARMS[kind]
    recipe = ArmSettings(
        penalty=penalty,
        strength=strength,
        adversarial_share=adversarial_share,
        anchor=training.anchor_coeff,
        shaping=penalty if settings.shaped else 0.0,
        latent=None if settings.perturbed or isinstance(training, ExactSettings) else training.latent_radius,
    )
    said: dict[str, object] = {}
    source: dict[str, object] = {}
    for layer in (NOT_SAID, recipe, settings, arm):
        given = layer.model_dump(exclude_none=True, include=set(ArmSettings.model_fields))
        source |= given.pop("generator", {})
        said |= given
    train = bool(said["train"])
    trainer = table if said["agent"] == "table" and table is not None else training
    generator = _generator(name, {"strength": said["strength"], **source})
    radius = said.pop("latent", said["strength"] if settings.perturbed else 0.0)
    changes = {"anchor_coeff": said.pop("anchor")}
    if isinstance(trainer, TrainingSettings):
        changes["latent_radius"] = radius
    elif radius:
        raise KerfError(
            f"arms.{name}.latent must be 0 where training is by exact gradients, got {radius}: the adversary attacks "
            "steps that were played; train by PPO, without `exact`"
        )
    return ResolvedArm.model_validate(
        {
            **said,
            "name": name,
            "kind": kind,
            "generator": generator,
            "penalty_sign": settings.penalty_sign,
            "training": trainer.model_copy(update=changes),
            "iterations": iterations if train else 0,
        }
    )


def _generator(name: str, said: Mapping[str, object]) -> GeneratorSettings:
    """The settings of arm `name`'s generator, checked as its kind asks; raises `KerfError` with the field's path."""
    try:
        return _typed(json.dumps(said, sort_keys=True))
    except KerfError as error:
        of_field = str(error).startswith("generator.")
        raise KerfError(f"arms.{name}.{error}" if of_field else f"arms.{name}.generator: {error}") from error


@lru_cache(maxsize=1024)
def _typed(said: str) -> GeneratorSettings:
    """By JSON: a recipe's arms are resolved again and again, and finding a kind's settings takes milliseconds."""
    settings, known = GeneratorSettings.model_validate_json(said), known_generators()
    if settings.kind not in known:
        raise KerfError(f"generator.kind: {unknown_name('generator', settings.kind, known)}")
    return typed(settings)


def resolve_arms(
    arms: Mapping[str, Arm],
    *,
    penalty: float,
    strength: float,
    adversarial_share: float,
    training: TrainingSettings | ExactSettings,
    iterations: int,
    table: ExactSettings | None = None,
) -> dict[str, ResolvedArm]:
    """Every arm in full, by name, in their order; yoked ones have the penalty of their partner."""

    def resolve(name: str, penalty: float) -> ResolvedArm:
        return resolve_arm(
            name,
            arms[name],
            penalty=penalty,
            strength=strength,
            adversarial_share=adversarial_share,
            training=training,
            table=table,
            iterations=iterations,
        )

    resolved = {name: resolve(name, penalty) for name in arms}
    for name, arm in resolved.items():
        partner = resolved.get(arm.yoked_to) if arm.yoked_to else None
        if partner is not None:
            yoked = resolve(name, partner.penalty)
            resolved[name] = yoked.model_copy(update={"penalty_sign": partner.penalty_sign})
    return resolved


def before(arms: Mapping[str, ResolvedArm], name: str) -> list[ResolvedArm]:
    """The arms that came before arm `name`, the first one first.

    Raises:
        KerfError: for one that is not there or does not train, and if the arms go in a circle; with the field's path.
    """
    chain = [name]
    while (earlier := arms[chain[-1]].after) is not None:
        path = f"arms.{chain[-1]}.after"
        if earlier not in arms:
            raise KerfError(f"{path}: {unknown_name('arm', earlier, arms)}; it starts where another arm ends")
        if earlier in chain:
            raise KerfError(f"{path}: {' after '.join((*chain, earlier))} is a circle, so none of them could begin")
        if not arms[earlier].train:
            raise KerfError(f"{path}: arm {earlier!r} does not train, so it ends where it began; leave `after` out")
        chain.append(earlier)
    return [arms[earlier] for earlier in reversed(chain[1:])]


def check_yokes(arms: Mapping[str, ResolvedArm]) -> None:
    """Refuse yoked arms whose partner cannot say what to deal out.

    Raises:
        KerfError: with the field's path.
    """
    for name, arm in arms.items():
        if arm.yoked_to is None:
            continue
        path, partner = f"arms.{name}.yoked_to", arms.get(arm.yoked_to)
        if partner is None:
            raise KerfError(
                f"{path}: {unknown_name('arm', arm.yoked_to, arms)}; it is dealt the penalties of another arm"
            )
        if partner.yoked_to is not None:
            raise KerfError(f"{path}: arm {partner.name!r} is yoked itself; name an arm that is penalised for its acts")
        # A penalty of 0 that the recipe sets, as in a sweep, deals out nothing; a kind that has none is a mistake.
        if not partner.train or ARMS[partner.kind].penalty == 0.0:
            raise KerfError(
                f"{path}: arm {partner.name!r} is never penalised, so there would be nothing to deal out; name one "
                "that trains under a penalty"
            )


def needs(arms: Mapping[str, ResolvedArm], unit: Unit) -> list[Unit]:
    """What must be finished before `unit` can begin: the seed's aligned agent, the cell that it is yoked to, and the
    one from whose end it starts."""
    if unit.arm == ALIGNED:
        return []
    arm = arms[unit.arm]
    return [Unit(name, unit.seed) for name in (ALIGNED, arm.yoked_to, arm.after) if name is not None]
