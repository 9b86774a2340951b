"""Settings of exact-gradient training, and checks that a recipe can use it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field

from kerf.agents.settings import ExactSettings, NonNegative
from kerf.agents.tabular import listed
from kerf.generators.registry import make_generator
from kerf.lab.errors import KerfError
from kerf.lab.settings import Settings
from kerf.lab.world import World
from kerf.runs.recipe.arm_kinds import MOST_ITERATIONS
from kerf.runs.recipe.arms import ResolvedArm


class ExactImitationTraining(ExactSettings):
    """Exact-gradient settings for imitation: no expected reward, cross-entropy to the expert."""

    policy_coeff: NonNegative = 0.0
    imitation_coeff: NonNegative = 1.0


class ExactImitationPhase(Settings):
    """Imitation of the world's expert in all situations of the natural stream."""

    iterations: Annotated[int, Field(ge=0, le=MOST_ITERATIONS)] = 300
    """Training iterations; 0 skips the phase."""

    training: ExactImitationTraining = ExactImitationTraining()
    """The settings of this phase."""


class ExactPolicyPhase(Settings):
    """Maximisation of the ideal utility on the natural stream."""

    iterations: Annotated[int, Field(ge=0, le=MOST_ITERATIONS)] = 200
    """Training iterations; 0 skips the phase."""

    training: ExactSettings = ExactSettings()
    """The settings of this phase."""


class ExactTraining(Settings):
    """Exact-gradient training instead of PPO: two alignment phases, then all arms."""

    imitation: ExactImitationPhase = ExactImitationPhase()
    """The first phase of alignment."""

    policy: ExactPolicyPhase = ExactPolicyPhase()
    """The second phase of alignment."""

    training: ExactSettings = ExactSettings()
    """The settings of all arms that train a network."""

    table: ExactSettings = ExactSettings(learning_rate=0.1)
    """The settings of all arms that train a table. Its logits are the parameters, so it takes larger steps."""

    @property
    def phases(self) -> tuple[tuple[str, ExactImitationPhase | ExactPolicyPhase], ...]:
        """The phases in order, each with its name."""
        return (("imitation", self.imitation), ("policy", self.policy))


def check_way(exact: ExactTraining | None, arms: Mapping[str, ResolvedArm], given: Collection[str]) -> None:
    """Check that a recipe sets no field that its way of training does not use.

    Args:
        exact: The recipe's section `exact`; None if it trains by PPO.
        arms: The recipe's arms.
        given: Names of the fields that the recipe sets.

    Raises:
        KerfError: if it does; names the field's path.
    """
    if exact is not None:
        unused = [name for name in ("align", "training") if name in given]
        if unused:
            raise KerfError(
                f"{unused[0]}: this recipe trains by exact gradients, so PPO's settings have no effect; set "
                "`exact` instead, or take it out"
            )
        return
    for name, arm in arms.items():
        if arm.agent == "table":
            raise KerfError(
                f"arms.{name}.agent: a table is trained by exact gradients, and this recipe trains by PPO; add the "
                "section `exact`, or leave `agent` out"
            )


def check_exact(world: World, arms: Mapping[str, ResolvedArm]) -> None:
    """Check that the arms can be trained by exact gradients in the world.

    Raises:
        KerfError: if the world has more than one step or does not list its situations, or an arm has an objective,
            starts from another arm, or has scenarios without a known distribution; names the field's path.
    """
    try:
        listed(world)
    except KerfError as error:
        raise KerfError(f"exact: {error}") from error
    for name, arm in arms.items():
        if arm.objective != "elicit":
            raise KerfError(
                f"arms.{name}.objective: exact gradients give generators no feedback, so the setting has no effect; "
                "train by PPO, without `exact`, or leave it out"
            )
        if arm.after is not None:
            raise KerfError(
                f"arms.{name}.after: with exact gradients every arm starts from the aligned agent; train by PPO, "
                "without `exact`, or leave it out"
            )
        if arm.train and make_generator(world, arm.generator, arm.adversarial_share).mix() is None:
            raise KerfError(
                f"arms.{name}.generator: the scenarios of {arm.generator.kind!r} are no fixed mixture of the natural "
                "stream and forgeries of one strength, so there is no exact gradient; train by PPO, without `exact`"
            )
