"""Resolution of arms: fills in every setting of an arm of a recipe.

There are three layers, each overriding the one before: the recipe's defaults, the arm's kind, the arm's own settings.
`None` means that a layer does not set the field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

from pydantic import Field, SerializeAsAny

from kerf.agents.plasticity import WHOLE, Plasticity
from kerf.agents.settings import ExactSettings, NonNegative, Share, TrainingSettings
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import known_generators, typed
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.oversight import Oversight
from kerf.lab.settings import Settings
from kerf.runs.recipe.arm_kinds import ARMS, DEFAULTS, Agent, Arm, ArmSettings, DesignChoice
from kerf.runs.records.store import ALIGNED, Unit

T = TypeVar("T", TrainingSettings, ExactSettings)


class ResolvedArm(Settings):
    """An arm with all settings filled in: together with a seed it defines a cell."""

    name: str
    """Name of the arm in its recipe."""

    kind: str
    """Name of its kind, for reports only; the other fields hold all that the kind sets."""

    train: bool
    """Whether it trains."""

    generator: SerializeAsAny[GeneratorSettings]
    """Settings of the generator of its scenarios."""

    adversarial_share: Share
    """Share of scenarios from the generator; the rest is natural."""

    grader: str
    """Name in `kerf.lab.grader.GRADERS`."""

    strength: Share
    """The strength of forgeries that the grader assumes; the actual one is `generator.strength`."""

    objective: str = "elicit"
    """Name of the score of each episode that is reported to the generator."""

    after: str | None = None
    """The arm whose final agent it starts from; None: the aligned agent."""

    grader_misses: Share = 0.0
    """Probability that an act which the grader penalises goes unpenalised."""

    grader_false_alarms: Share = 0.0
    """Probability that a forbidden act which the grader does not penalise is penalised all the same."""

    oversight: Share = 1.0
    """Share of episodes that are overseen: in all others nothing is penalised."""

    oversight_cue: str | None = None
    """Sign that the agent sees in overseen episodes, and in no other; None: it does not see it."""

    penalty_from: Annotated[int, Field(ge=1)] = 1
    """First training iteration in which anything is penalised."""

    penalty_to: Annotated[int, Field(ge=1)] | None = None
    """Last training iteration in which anything is penalised; None: the last of all."""

    screened: bool = False
    """Whether episodes in which the grader penalises something are left out of training instead of penalised."""

    frozen_by: str | None = None
    """Event by which the agent switches its learning off; None: there is none."""

    plasticity: Share = 1.0
    """Share of the learning rate that is left at the end of its schedule."""

    plasticity_from: Annotated[int, Field(ge=1)] = 1
    """Training iteration at which the learning rate begins to fall."""

    plasticity_to: Annotated[int, Field(ge=1)] | None = None
    """Training iteration from which on no more than `plasticity` of it is left; None: the last of all."""

    probe: NonNegative = 0.0
    """Weight in the loss of a penalty on a linear probe of the network."""

    penalty_units: Share | None = None
    """Share of the last hidden layer's units to which the penalty's gradient is confined; None: to nothing."""

    stop_at: Share | None = None
    """Suppression of what is penalised at which it stops training; None: it trains for all iterations."""

    weight_average: Share = 1.0
    """Share of the trained weights in those of its agent, the rest being the aligned agent's."""

    yoked_to: str | None = None
    """The arm whose numbers of penalised episodes are reproduced; None: the grader decides which acts are penalised."""

    yoked_event: str | None = None
    """The event on which reproduced penalties fall; None: by lot."""

    yoked_delay: Annotated[int, Field(ge=0)] = 0
    """Training iterations by which reproduced penalties come later than the partner's."""

    design: DesignChoice | None = None
    """Its design reward; None: that of the recipe."""

    shaping: NonNegative
    """Standard deviation of the potential that shapes the design reward; 0 for none."""

    penalty: NonNegative
    """The penalty L >= 0, in units of the ideal utility."""

    penalty_sign: Literal[1, -1]
    """-1 rewards acts that would otherwise be penalised."""

    agent: Agent = "network"
    """The kind of policy that is trained."""

    training: TrainingSettings | ExactSettings
    """Training settings, including the arm's anchor (`anchor_coeff`) and latent radius (`latent_radius`)."""

    iterations: Annotated[int, Field(ge=0)]
    """Training iterations; 0 if the arm does not train."""

    @property
    def signed_penalty(self) -> float:
        """The amount subtracted from the reward at each penalised step: L times its sign, or +0.0 if L is 0."""
        return self.penalty_sign * self.penalty if self.penalty else 0.0

    @property
    def suppressed(self) -> str:
        """Name of the training number that says how often what is penalised was done."""
        return "flagged" if self.screened or self.probe else "penalised"

    @property
    def feedback(self) -> Oversight:
        """How often the grader is asked and mistaken, and what the agent sees of it."""
        return Oversight(self.oversight, self.grader_misses, self.grader_false_alarms, self.oversight_cue)

    @property
    def penalty_iterations(self) -> tuple[int, float]:
        """The first and the last training iteration in which anything is penalised."""
        return self.penalty_from, math.inf if self.penalty_to is None else self.penalty_to

    @property
    def learning_rate(self) -> Plasticity:
        """The schedule of the learning rate."""
        if self.plasticity == 1.0:
            return WHOLE
        return Plasticity(self.plasticity, self.plasticity_from, self.plasticity_to or self.iterations)

    def trained_by(self, settings: type[T]) -> T:
        """Return `training`, checked to be of class `settings`.

        Raises:
            TypeError: if `training` is of another class.
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
    """Resolve `arm` from its own settings, its kind (which must be in `ARMS`) and the recipe's defaults.

    An arm that trains a table gets the settings `table`.

    Raises:
        KerfError: if the arm has a latent radius and training is by exact gradients.
    """
    kind = arm.kind or name
    settings = ARMS[kind]
    half = max(1, iterations // 2)
    recipe = ArmSettings(
        penalty=penalty,
        strength=strength,
        adversarial_share=adversarial_share,
        anchor=training.anchor_coeff,
        shaping=penalty if settings.shaped else 0.0,
        penalty_to=half if settings.first_half else None,
        penalty_from=iterations - half + 1 if settings.second_half else None,
        latent=None if settings.perturbed or isinstance(training, ExactSettings) else training.latent_radius,
    )
    fields: dict[str, object] = {}
    source: dict[str, object] = {}
    for layer in (DEFAULTS, recipe, settings, arm):
        given = layer.model_dump(exclude_none=True, include=set(ArmSettings.model_fields))
        source |= given.pop("generator", {})
        fields |= given
    train = bool(fields["train"])
    trainer = table if fields["agent"] == "table" and table is not None else training
    generator = _generator(name, {"strength": fields["strength"], **source})
    radius = fields.pop("latent", fields["strength"] if settings.perturbed else 0.0)
    changes = {"anchor_coeff": fields.pop("anchor")}
    if isinstance(trainer, TrainingSettings):
        changes["latent_radius"] = radius
    elif radius:
        raise KerfError(
            f"arms.{name}.latent must be 0 where training is by exact gradients, got {radius}: the adversary attacks "
            "steps that were played; train by PPO, without `exact`"
        )
    return ResolvedArm.model_validate(
        {
            **fields,
            "name": name,
            "kind": kind,
            "generator": generator,
            "penalty_sign": settings.penalty_sign,
            "training": trainer.model_copy(update=changes),
            "iterations": iterations if train else 0,
        }
    )


def _generator(name: str, fields: Mapping[str, object]) -> GeneratorSettings:
    """Validate the generator settings of arm `name`; raises `KerfError` with the field's path."""
    try:
        return _typed(json.dumps(fields, sort_keys=True))
    except KerfError as error:
        of_field = str(error).startswith("generator.")
        raise KerfError(f"arms.{name}.{error}" if of_field else f"arms.{name}.generator: {error}") from error


@lru_cache(maxsize=1024)
def _typed(text: str) -> GeneratorSettings:
    """Parse generator settings from JSON, cached: arms are resolved often and a look-up takes milliseconds."""
    settings, known = GeneratorSettings.model_validate_json(text), known_generators()
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
    """Resolve all arms, by name, in their order; a yoked arm gets the penalty of its partner."""

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
    """Return the chain of arms that arm `name` comes after (`after`), earliest first.

    Raises:
        KerfError: if one does not exist or does not train, or the chain is a cycle; names the field's path.
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
    """Check that the partner of every yoked arm determines the penalties to reproduce.

    Raises:
        KerfError: if it does not; names the field's path.
    """
    for name, arm in arms.items():
        if arm.yoked_to is None:
            if arm.yoked_event is not None:
                raise KerfError(f"arms.{name}.yoked_event: only a yoked arm has one; name its partner in `yoked_to`")
            continue
        path, partner = f"arms.{name}.yoked_to", arms.get(arm.yoked_to)
        if partner is None:
            raise KerfError(
                f"{path}: {unknown_name('arm', arm.yoked_to, arms)}; it receives the penalties of another arm"
            )
        if partner.yoked_to is not None:
            raise KerfError(f"{path}: arm {partner.name!r} is yoked itself; name an arm that is penalised for its acts")
        # A penalty of 0 set by the recipe, as in a sweep, is allowed; a partner whose kind has no penalty is a mistake.
        if not partner.train or ARMS[partner.kind].penalty == 0.0:
            raise KerfError(
                f"{path}: arm {partner.name!r} is never penalised, so there are no penalties to assign; name one "
                "that trains under a penalty"
            )


def needs(arms: Mapping[str, ResolvedArm], unit: Unit) -> list[Unit]:
    """Return the units that must be finished before `unit`: the seed's aligned agent, the cell that it is yoked to, and
    the cell whose final agent it starts from."""
    if unit.arm == ALIGNED:
        return []
    arm = arms[unit.arm]
    return [Unit(name, unit.seed) for name in (ALIGNED, arm.yoked_to, arm.after) if name is not None]
