"""Arms are only settings: what each kind of arm fixes, what it inherits, and how one is made explicit.

Three layers, the later winning: the recipe's defaults, the arm's kind, the arm's own overrides. `None` means
"not said here".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from agents.settings import NonNegative, Settings, Share, TrainingSettings
from generators.base import GeneratorSettings

MOST_ITERATIONS = 1_000_000
"""Far more than any study needs; the sum of all phases stays within the records' 32 bits."""

Count = Annotated[int, Field(ge=1, le=MOST_ITERATIONS)]


class GeneratorChoice(Settings):
    """An arm's generator, as far as the arm says it."""

    kind: str | None = None
    """Name in the registry of generators."""

    strength: Share | None = None
    """The generator's own strength, where it is to differ from the arm's."""


class ArmSettings(Settings):
    """What an arm may fix; whatever is left out is inherited."""

    train: bool | None = None
    """Whether the arm trains at all; one that does not keeps the aligned checkpoint."""

    generator: GeneratorChoice | None = None
    """Where its scenarios come from."""

    strength: Share | None = None
    """How hard false emergencies are to tell from real ones: for the generator, and for what the grader allows for."""

    replay: Share | None = None
    """Share of scenarios that come from the natural stream instead of the generator."""

    grader: str | None = None
    """Which feedback process decides what is penalised (`lab.grader.GRADERS`)."""

    penalty: NonNegative | None = None
    """L, what a penalised act costs, in units of the ideal utility."""

    anchor: NonNegative | None = None
    """Weight of KL(pi || pi_0) to the aligned policy pi_0 (nats)."""


class Arm(ArmSettings):
    """One arm of a recipe: a kind, and what this arm does differently."""

    kind: str | None = None
    """Name in `ARMS`; the arm's own name if left out."""


class ArmKind(ArmSettings):
    """What all arms of one kind share."""

    about: str
    """What the kind is, in one line."""

    penalty_sign: Literal[1, -1] = 1
    """-1 rewards what is else penalised."""


_NATURAL = GeneratorChoice(kind="natural")
_SCRIPTED = GeneratorChoice(kind="scripted")

ARMS: Mapping[str, ArmKind] = MappingProxyType(
    {
        "frozen": ArmKind(about="no further training", train=False, generator=_NATURAL, penalty=0.0),
        "continued": ArmKind(about="natural scenarios, no penalty", generator=_NATURAL, penalty=0.0),
        "exposure": ArmKind(about="adversarial scenarios, no penalty", generator=_SCRIPTED, penalty=0.0),
        "penalised": ArmKind(about="adversarial scenarios, penalised by their outcome", generator=_SCRIPTED),
        "ex_ante": ArmKind(
            about="penalised only where the act was unjustified on what could be known",
            generator=_SCRIPTED,
            grader="ex_ante",
        ),
        "placebo": ArmKind(about="the same penalty on natural scenarios", generator=_NATURAL),
        "replay": ArmKind(about="penalised, with a share of natural scenarios", generator=_SCRIPTED, replay=0.25),
        "anchor": ArmKind(about="penalised, held near the aligned policy", generator=_SCRIPTED, anchor=0.3),
        "sign_flip": ArmKind(
            about="rewards what is else penalised (positive control)", generator=_SCRIPTED, penalty_sign=-1
        ),
    }
)
"""The kinds of arm, by name."""

NOT_SAID = ArmSettings(train=True, generator=_NATURAL, replay=0.0, grader="ex_post")
"""What holds where neither the recipe, nor the kind, nor the arm says anything."""


class ResolvedArm(Settings):
    """An arm with nothing left to inherit: all that a cell needs besides its seed."""

    name: str
    """Name of the arm in its recipe."""

    kind: str
    """Name of its kind, for reports; everything that the kind means is in the other fields."""

    train: bool
    """Whether it trains."""

    generator: GeneratorSettings
    """Where its scenarios come from."""

    replay: Share
    """Share of scenarios from the natural stream instead."""

    grader: str
    """Name in `lab.grader.GRADERS`."""

    strength: Share
    """What the grader takes the strength of forgeries to be; the generator's own is `generator.strength`."""

    penalty: NonNegative
    """L >= 0."""

    penalty_sign: Literal[1, -1]
    """-1 rewards what is else penalised."""

    training: TrainingSettings
    """PPO's settings, with the arm's anchor in `anchor_coeff`."""

    iterations: Annotated[int, Field(ge=0)]
    """Training iterations; 0 if the arm does not train."""

    @property
    def signed_penalty(self) -> float:
        """What is subtracted from the reward at each penalised step: L times its sign (and +0.0 for none)."""
        return self.penalty_sign * self.penalty if self.penalty else 0.0


def resolve_arm(
    name: str, arm: Arm, *, penalty: float, strength: float, training: TrainingSettings, iterations: int
) -> ResolvedArm:
    """`arm`, whose kind must be in `ARMS`, over its kind, over the recipe's defaults."""
    kind = arm.kind or name
    settings = ARMS[kind]
    recipe = ArmSettings(penalty=penalty, strength=strength, anchor=training.anchor_coeff)
    said: dict[str, object] = {}
    source: dict[str, object] = {}
    for layer in (NOT_SAID, recipe, settings, arm):
        given = layer.model_dump(exclude_none=True, include=set(ArmSettings.model_fields))
        source |= given.pop("generator", {})
        said |= given
    train = bool(said["train"])
    anchored = training.model_copy(update={"anchor_coeff": said.pop("anchor")})
    return ResolvedArm.model_validate(
        {
            **said,
            "name": name,
            "kind": kind,
            "generator": {"strength": said["strength"], **source},
            "penalty_sign": settings.penalty_sign,
            "training": anchored,
            "iterations": iterations if train else 0,
        }
    )
