"""Kinds of arm: the settings that an arm can have, and the values that each kind sets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from kerf.agents.settings import NonNegative, Share
from kerf.lab.settings import Settings

MOST_ITERATIONS = 1_000_000
"""Upper bound on iterations: far above any study's need, and small enough for the records' 32-bit counters."""


Count = Annotated[int, Field(ge=1, le=MOST_ITERATIONS)]


Agent = Literal["network", "table"]
"""The policy that an arm trains: a copy of its seed's aligned network, or a table copied from that network."""


class GeneratorChoice(Settings):
    """The generator settings that an arm gives. Further fields are settings of the generator's kind."""

    model_config = ConfigDict(extra="allow")

    kind: str | None = None
    """Name in the registry of generators."""

    strength: Share | None = None
    """The generator's strength; None: the arm's strength."""


class ArmSettings(Settings):
    """The settings that an arm can have; those left out are inherited."""

    train: bool | None = None
    """Whether the arm trains; an arm that does not keeps the aligned checkpoint."""

    generator: GeneratorChoice | None = None
    """The generator of its scenarios."""

    strength: Share | None = None
    """How hard false emergencies are to tell from real ones: the generator uses it, and the grader assumes it."""

    adversarial_share: Share | None = None
    """Share of scenarios that come from the generator; the rest comes from the natural stream."""

    grader: str | None = None
    """The feedback process that decides which acts are penalised (`kerf.lab.grader.GRADERS`)."""

    penalty: NonNegative | None = None
    """L, the penalty for a penalised act, in units of the ideal utility. A yoked arm has its partner's."""

    yoked_to: str | None = None
    """Another arm, the partner. At each iteration and step as many episodes are penalised as in the partner, whatever
    the agent does in them."""

    yoked_event: str | None = None
    """Event of the world on which a yoked arm's penalties fall, as many an iteration as in the partner (all, where it
    happens in fewer episodes); None deals them to episodes drawn by lot."""

    objective: str | None = None
    """Name of the score of each episode that is reported to its generator, if it learns from scores
    (`kerf.lab.attack_objective.TRAINING_OBJECTIVES`)."""

    after: str | None = None
    """Another arm, whose final agent this one starts from; None: the aligned agent."""

    shaping: NonNegative | None = None
    """Standard deviation of the random potential that shapes the design reward, in units of the ideal utility."""

    anchor: NonNegative | None = None
    """Weight of the KL divergence KL(pi || pi_0), in nats, to the aligned policy pi_0."""

    latent: NonNegative | None = None
    """Radius of the latent adversary (`kerf.agents.latent`): 1 changes half of the aligned agent's decisions, 0 is no
    adversary."""

    agent: Agent | None = None
    """The kind of policy that is trained; a table needs the recipe's section `exact`."""


class Arm(ArmSettings):
    """One arm of a recipe: its kind and its own settings, which override the kind's."""

    kind: str | None = None
    """Name in `ARMS`; None: the arm's own name."""


class ArmKind(ArmSettings):
    """A kind of arm: the settings that all its arms share."""

    about: str
    """Description of the kind, in one line."""

    penalty_sign: Literal[1, -1] = 1
    """-1 rewards acts that would otherwise be penalised."""

    shaped: bool = False
    """Whether `shaping` defaults to the recipe's penalty."""

    perturbed: bool = False
    """Whether `latent` defaults to the arm's strength."""


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
            about="penalised only where the act was unjustified given what could be observed",
            generator=_SCRIPTED,
            grader="ex_ante",
        ),
        "yoked": ArmKind(
            about="the penalised arm's penalties, at random whatever the agent does",
            generator=_SCRIPTED,
            yoked_to="penalised",
        ),
        "placebo": ArmKind(about="the same penalty on natural scenarios", generator=_NATURAL, adversarial_share=1.0),
        "sham": ArmKind(
            about="adversarial scenarios, a change of reward that changes no optimum",
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
            about="rewards acts that would otherwise be penalised (positive control)",
            generator=_SCRIPTED,
            penalty_sign=-1,
        ),
    }
)
"""The kinds of arm, by name."""


RENAMED = {"replay": "`mixed`"}
"""Kinds of earlier versions, with their present names."""


DEFAULTS = ArmSettings(train=True, generator=_NATURAL, grader="ex_post", objective="elicit", agent="network")
"""Defaults of settings that neither the recipe, nor the kind, nor the arm gives."""
