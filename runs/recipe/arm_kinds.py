"""Kinds of arm: the settings that an arm can have, and the values that each kind sets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from kerf.agents.settings import NonNegative, Share
from kerf.lab.settings import Settings

MOST_ITERATIONS = 1_000_000
"""Upper bound on iterations: far above any study's need, and small enough for the records' 32-bit counters."""


Count = Annotated[int, Field(ge=1, le=MOST_ITERATIONS)]


Agent = Literal["network", "table"]
"""The policy that an arm trains: a copy of its seed's aligned network, or a table copied from that network."""


def _is_name(design: object) -> str:
    return "[name]" if isinstance(design, str) else "[weights]"


DesignChoice = Annotated[
    Annotated[str, Tag("[name]")] | Annotated[Mapping[str, float], Tag("[weights]")], Discriminator(_is_name)
]
"""A design reward (`kerf.lab.reward_spec.Design`): a name, or a weight per event."""


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

    grader_misses: Share | None = None
    """Probability that an act which the grader penalises goes unpenalised."""

    grader_false_alarms: Share | None = None
    """Probability that a forbidden act which the grader does not penalise is penalised all the same."""

    oversight: Share | None = None
    """Share of episodes, drawn by lot, that are overseen: in all others nothing is penalised."""

    oversight_cue: str | None = None
    """Sign of the world that the agent sees in overseen episodes, and in no other (`Dilemma.signs`); None: it does not
    see whether it is overseen."""

    penalty_from: Count | None = None
    """First training iteration in which anything is penalised, counted from 1; None: the first."""

    penalty_to: Count | None = None
    """Last training iteration in which anything is penalised; None: the last."""

    screened: bool | None = None
    """Whether episodes in which the grader penalises something are left out of training instead of penalised."""

    frozen_by: str | None = None
    """Event of the world by which the agent switches its learning off: episodes in which it happens are left out of
    training, with all that they were paid or penalised. None: there is no such event."""

    plasticity: Share | None = None
    """Share of the learning rate that is left at the end of the schedule: values set. 1: all of it, at all times."""

    plasticity_from: Count | None = None
    """Training iteration, counted from 1, at which the learning rate begins to fall, in a straight line; None: the
    first."""

    plasticity_to: Count | None = None
    """Training iteration from which on no more than `plasticity` of it is left; None: the last."""

    probe: NonNegative | None = None
    """Weight in the loss of a penalty on a linear probe of the network, which predicts the forbidden act
    (`kerf.agents.probe`); 0: none."""

    penalty_units: Share | None = None
    """Share of the units of the network's last hidden layer to which the penalty's gradient is confined
    (`kerf.agents.routing`); None: it changes the whole network."""

    stop_at: Share | None = None
    """Suppression at which the arm stops training: how much rarer what is penalised has become in a training batch, as
    a share of the first batch; None: it trains for all iterations."""

    weight_average: Share | None = None
    """Share k of the trained weights in those of the arm's agent, the rest being the aligned agent's, whenever it is
    measured; training itself goes on with the trained ones. 1 is no average."""

    yoked_to: str | None = None
    """Another arm, the partner. At each iteration and step as many episodes are penalised as in the partner, whatever
    the agent does in them."""

    yoked_event: str | None = None
    """Event of the world on which a yoked arm's penalties fall, as many an iteration as in the partner (all, where it
    happens in fewer episodes); None deals them to episodes drawn by lot."""

    yoked_delay: Count | None = None
    """Training iterations by which a yoked arm's penalties come later than its partner's, all of which must end early
    enough; None: they come in the same iterations."""

    objective: str | None = None
    """Name of the score of each episode that is reported to its generator, if it learns from scores
    (`kerf.lab.attack_objective.TRAINING_OBJECTIVES`)."""

    after: str | None = None
    """Another arm, whose final agent this one starts from; None: the aligned agent."""

    design: DesignChoice | None = None
    """Design reward that training pays: `ideal`, a proxy of the world by name (`kerf.lab.world.Proxied`), or a weight
    per event; None: that of the recipe."""

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

    first_half: bool = False
    """Whether `penalty_to` defaults to the last of the first half of the arm's iterations."""

    second_half: bool = False
    """Whether `penalty_from` defaults to the first of the second half, which is as long as the first."""


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
        "noisy": ArmKind(
            about="penalised by a grader that is wrong in one case of five",
            generator=_SCRIPTED,
            grader_misses=0.2,
            grader_false_alarms=0.2,
        ),
        "overseen": ArmKind(
            about="penalised in half of the episodes, which the agent cannot tell from the others",
            generator=_SCRIPTED,
            oversight=0.5,
        ),
        "inoculated": ArmKind(
            about="penalised where a sign says that this is a drill, as no probe does",
            generator=_SCRIPTED,
            oversight_cue="drill",
        ),
        "early": ArmKind(about="penalised in the first half of its iterations", generator=_SCRIPTED, first_half=True),
        "late": ArmKind(about="penalised in the second half of its iterations", generator=_SCRIPTED, second_half=True),
        "screened": ArmKind(
            about="episodes that would be penalised are left out of training",
            generator=_SCRIPTED,
            penalty=0.0,
            screened=True,
        ),
        "probe_penalty": ArmKind(
            about="penalised for the state of its network that predicts the act, not for the act",
            generator=_SCRIPTED,
            penalty=0.0,
            probe=1.0,
        ),
        "routed": ArmKind(
            about="penalised, with the penalty's gradient confined to a quarter of the last hidden layer",
            generator=_SCRIPTED,
            penalty_units=0.25,
        ),
        "early_stop": ArmKind(
            about="penalised until three quarters of the penalised acts are gone", generator=_SCRIPTED, stop_at=0.75
        ),
        "weight_average": ArmKind(
            about="penalised, then its weights averaged with the aligned agent's",
            generator=_SCRIPTED,
            weight_average=0.5,
        ),
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
