"""Kinds of arm: settings that an arm may fix, and those that each kind fixes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from kerf.agents.settings import NonNegative, Share
from kerf.lab.settings import Settings

MOST_ITERATIONS = 1_000_000
"""Far more than any study needs; the sum of all phases stays within the records' 32 bits."""


Count = Annotated[int, Field(ge=1, le=MOST_ITERATIONS)]


Agent = Literal["network", "table"]
"""What an arm trains: a copy of its seed's aligned network, or that network's tabular twin."""


class GeneratorChoice(Settings):
    """An arm's generator, as far as the arm says it. Further fields are settings of its kind."""

    model_config = ConfigDict(extra="allow")

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

    adversarial_share: Share | None = None
    """Share of scenarios that come from the generator; the rest comes from the natural stream."""

    grader: str | None = None
    """Which feedback process decides what is penalised (`kerf.lab.grader.GRADERS`)."""

    penalty: NonNegative | None = None
    """L, what a penalised act costs, in units of the ideal utility; that of its partner for a yoked arm."""

    yoked_to: str | None = None
    """Another arm, the partner: as many episodes are penalised as of the partner's in the same iteration at the same
    step, whatever they do."""

    objective: str | None = None
    """What its generator is told of each episode, if it learns from that
    (`kerf.lab.attack_objective.TRAINING_OBJECTIVES`)."""

    after: str | None = None
    """Another arm, from whose end this one starts; left out, it starts from the aligned agent."""

    shaping: NonNegative | None = None
    """Standard deviation of the random potential that shapes the design reward, in units of the ideal utility."""

    anchor: NonNegative | None = None
    """Weight of KL(pi || pi_0) to the aligned policy pi_0 (nats)."""

    latent: NonNegative | None = None
    """Radius of the adversary inside the policy (`kerf.agents.latent`); 1 overturns half of the aligned agent's
    decisions, 0 is none."""

    agent: Agent | None = None
    """What is trained; a table needs the recipe's section `exact`."""


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

    shaped: bool = False
    """Whether `shaping` is the recipe's penalty, unless the arm says otherwise."""

    perturbed: bool = False
    """Whether `latent` is the arm's strength, unless the arm says otherwise."""


_NATURAL = GeneratorChoice(kind="natural")


_SCRIPTED = GeneratorChoice(kind="scripted")


ARMS: Mapping[str, ArmKind] = MappingProxyType(
    {
        "frozen": ArmKind(
            about="no further training", train=False, generator=_NATURAL, adversarial_share=1.0, penalty=0.0
        ),
        "continued": ArmKind(
            about="natural scenarios, no penalty", generator=_NATURAL, adversarial_share=1.0, penalty=0.0
        ),
        "exposure": ArmKind(about="adversarial scenarios, no penalty", generator=_SCRIPTED, penalty=0.0),
        "penalised": ArmKind(about="adversarial scenarios, penalised by their outcome", generator=_SCRIPTED),
        "ex_ante": ArmKind(
            about="penalised only where the act was unjustified on what could be known",
            generator=_SCRIPTED,
            grader="ex_ante",
        ),
        "yoked": ArmKind(
            about="the penalised arm's penalties, dealt out whatever was done",
            generator=_SCRIPTED,
            yoked_to="penalised",
        ),
        "placebo": ArmKind(about="the same penalty on natural scenarios", generator=_NATURAL, adversarial_share=1.0),
        "sham": ArmKind(
            about="adversarial scenarios, a change of reward that moves no optimum",
            generator=_SCRIPTED,
            penalty=0.0,
            shaped=True,
        ),
        "mixed": ArmKind(
            about="penalised, with a share of natural scenarios", generator=_SCRIPTED, adversarial_share=0.75
        ),
        "anchor": ArmKind(about="penalised, held near the aligned policy", generator=_SCRIPTED, anchor=0.3),
        "latent": ArmKind(about="penalised, with an adversary inside the policy", generator=_SCRIPTED, perturbed=True),
        "sign_flip": ArmKind(
            about="rewards what is else penalised (positive control)", generator=_SCRIPTED, penalty_sign=-1
        ),
    }
)
"""The kinds of arm, by name."""


RENAMED = {"replay": "`mixed`"}
"""Kinds of earlier versions, and what they are called now."""


NOT_SAID = ArmSettings(train=True, generator=_NATURAL, grader="ex_post", objective="elicit", agent="network")
"""What holds where neither the recipe, nor the kind, nor the arm says anything."""
