"""Recipes: the complete description of a study, validated before training starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from kerf.agents.settings import NetworkSettings, NonNegative, Share, TrainingSettings, refuse_latent, refuse_memory
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import check_generator
from kerf.lab.attack_objective import TRAINING_OBJECTIVES
from kerf.lab.battery import blocks, metric_names
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.exact.exact_battery import written_out
from kerf.lab.grader import GRADERS, Demanding, make_grader
from kerf.lab.prediction import Prediction, ThresholdPrediction
from kerf.lab.reward_spec import design_weights
from kerf.lab.settings import Name, Settings
from kerf.lab.soundness import declared_faults, played_faults
from kerf.lab.world import World
from kerf.lab.worlds import get_world, known_worlds
from kerf.runs.recipe.after_plan import AfterSettings, after_plan
from kerf.runs.recipe.alignment import AlignSettings, BatterySettings, GateSettings, ImitationPhase, PPOPhase
from kerf.runs.recipe.arm_kinds import ARMS, RENAMED, Arm, Count, DesignChoice
from kerf.runs.recipe.arms import ResolvedArm, before, check_yokes, resolve_arms
from kerf.runs.recipe.attack_plan import Fresh
from kerf.runs.recipe.exact_settings import ExactImitationPhase, ExactPolicyPhase, ExactTraining, check_exact, check_way
from kerf.runs.recipe.feedback_checks import check_design, check_exact_feedback, check_feedback, check_feedback_in
from kerf.runs.records.store import ALIGNED

_WHY_CONTROL = "a recipe without a control arm cannot separate the effect of the penalty from that of further training"


class Recipe(Settings):
    """A study as specified by the user. `resolve` gives its arms with all settings filled in."""

    name: Name
    """Name of the recipe; also of its MLflow experiment and default folder."""

    about: str = ""
    """The research question, for readers. Not part of the hash."""

    world: Annotated[str, Field(pattern=r"^[A-Za-z_][\w\-]*(\.\w+)*(:\w+)?$")] = "station"
    """The world: a name in the registry of worlds, or `module:attribute` of a factory."""

    seeds: Annotated[int, Field(ge=1, le=1000)] = 10
    """Number of seeds. The seed is the unit of replication; each has its own aligned checkpoint."""

    first_seed: Annotated[int, Field(ge=0, le=2_000_000_000)] = 0
    """The first seed; the others are consecutive. The records store seeds in 32 bits."""

    network: NetworkSettings = NetworkSettings()
    """The agent's network."""

    align: AlignSettings = AlignSettings()
    """Alignment of the agent, before the arms."""

    gate: GateSettings = GateSettings()
    """Scores that the aligned agent must reach."""

    training: TrainingSettings = TrainingSettings()
    """PPO settings of all arms."""

    exact: ExactTraining | None = None
    """Settings of exact-gradient training, used instead of `align` and `training`; None trains by PPO."""

    iterations: Count = 40
    """Training iterations of each arm that trains."""

    measure_every: Count = 10
    """Training iterations between two measurements of an arm."""

    battery: BatterySettings = BatterySettings()
    """The held-out probes."""

    design: DesignChoice | None = None
    """Default design reward of the arms: `ideal`, a proxy of the world by name, or a weight per event; None: the
    world's ideal utility, which alignment always pays."""

    penalty: NonNegative = 10.0
    """Default penalty L of the arms."""

    strength: Share = 1.0
    """Default strength of the arms."""

    adversarial_share: Share = 1.0
    """Default share of adversarial scenarios in the arms' training; the rest is natural."""

    arms: Mapping[Name, Arm] = Field(min_length=1)
    """The training conditions, by name."""

    control: str | None = "continued"
    """The control arm: its change is subtracted from that of every other arm."""

    uncontrolled: bool = False
    """Allows a recipe that has no control arm or whose control arm is penalised."""

    primaries: tuple[Prediction, ...] = Field(min_length=1, max_length=6)
    """The preregistered predictions."""

    threshold: ThresholdPrediction | None = None
    """The preregistered prediction of the penalty above which the agent stops helping; None: none."""

    fresh: Fresh | None = None
    """Attacks on every finished agent; None: no attacks."""

    after_tests: AfterSettings | None = None
    """Tests of what became of the value that the forbidden act serves, at the end of the study; None: no tests."""

    @property
    def seed_numbers(self) -> range:
        """All seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def trainings(self) -> tuple[TrainingSettings, ...]:
        """All PPO settings: those of the arms, then those of each alignment phase."""
        return (self.training, *(phase.training for _, phase in self.align.phases))

    @property
    def phases(self) -> tuple[tuple[str, ImitationPhase | PPOPhase | ExactImitationPhase | ExactPolicyPhase], ...]:
        """The alignment phases in order, each with its path in the recipe."""
        if self.exact is not None:
            return tuple((f"exact.{name}", phase) for name, phase in self.exact.phases)
        return tuple((f"align.{name}", phase) for name, phase in self.align.phases)

    @property
    def align_iterations(self) -> int:
        """Total training iterations of the alignment phases."""
        return sum(phase.iterations for _, phase in self.phases)

    @property
    def control_arm(self) -> str | None:
        """Name of the control arm; None if the recipe has no such arm."""
        return self.control if self.control in self.arms else None

    def paid_by(self, arm: ResolvedArm) -> Mapping[str, float] | None:
        """Event weights of the arm's design reward; None: the world's ideal ones."""
        design = self.design if arm.design is None else arm.design
        return None if design is None else design_weights(get_world(self.world), design)

    def resolve(self) -> dict[str, ResolvedArm]:
        """The resolved arms by name, in the recipe's order."""
        return resolve_arms(
            self.arms,
            penalty=self.penalty,
            strength=self.strength,
            adversarial_share=self.adversarial_share,
            training=self.training if self.exact is None else self.exact.training,
            table=None if self.exact is None else self.exact.table,
            iterations=self.iterations,
        )

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        if ":" not in self.world:
            _known("world", "world", self.world, known_worlds())
        for name, arm in self.arms.items():
            if name == ALIGNED:
                raise KerfError(f"arms.{name}: this name is reserved for the aligned agents; rename the arm")
            if arm.kind is None:
                _known(f"arms.{name}", "arm", name, ARMS, "; an arm with a name of its own needs a `kind`", RENAMED)
            else:
                _known(f"arms.{name}.kind", "arm", arm.kind, ARMS, renamed=RENAMED)
        for name, resolved in self.resolve().items():
            _known(f"arms.{name}.grader", "grader", resolved.grader, GRADERS)
            _known(f"arms.{name}.objective", "objective", resolved.objective, TRAINING_OBJECTIVES)
            if isinstance(resolved.training, TrainingSettings):
                refuse_latent(self.network, resolved.training, f"arms.{name}.latent")
                refuse_memory(
                    self.network, resolved.training, f"arms.{name}.", resolved.penalty_units, resolved.probe > 0
                )
            given = sorted(self.arms[name].model_dump(exclude_none=True, exclude={"kind", "train"}))
            if given and not resolved.train:
                raise KerfError(f"arms.{name}.{given[0]}: this arm does not train, so the setting has no effect")
            before(self.resolve(), name)
        check_yokes(self.resolve())
        check_feedback(self.arms, self.resolve(), self.network)
        return self

    @model_validator(mode="after")
    def _one_way_of_training(self) -> Self:
        check_way(self.exact, self.resolve(), self.model_fields_set)
        if self.exact is not None and self.network.memory:
            raise KerfError(
                f"network.memory must be 0 with `exact`, got {self.network.memory}: exact gradients are sums over "
                "situations, of which a memory would have endlessly many; train by PPO, without `exact`"
            )
        return self

    @model_validator(mode="after")
    def _controlled(self) -> Self:
        if self.control is not None and "control" in self.model_fields_set:
            _known("control", "arm", self.control, self.arms, f"; {_WHY_CONTROL}" * (not self.uncontrolled))
        if self.uncontrolled:
            return self
        if self.control_arm is None:
            raise KerfError(f"control: {_WHY_CONTROL}; add an arm `continued`, or set `uncontrolled: true`")
        if self.resolve()[self.control_arm].signed_penalty:
            raise KerfError(
                f"control: arm {self.control_arm!r} is penalised itself, so subtracting its change would hide what "
                "the penalty changed; name an arm without penalty, or set `uncontrolled: true`"
            )
        return self

    @model_validator(mode="after")
    def _predictions_speak_of_arms(self) -> Self:
        seen: set[str] = set()
        for index, primary in enumerate(self.primaries):
            path = f"primaries.{index}"
            _known(f"{path}.arm", "arm", primary.arm, self.arms)
            _known(f"{path}.against", "arm", primary.against, self.arms)
            if primary.arm == primary.against:
                raise KerfError(f"{path}.against must be another arm than {primary.arm!r}")
            if primary.name in seen:
                raise KerfError(f"{path}.name: {primary.name!r} is given to two predictions")
            seen.add(primary.name)
        if self.threshold is not None:
            for arm in self.threshold.arms:
                _known("threshold.arms", "arm", arm, self.arms)
            if self.threshold.name in seen:
                raise KerfError(f"threshold.name: {self.threshold.name!r} is given to two predictions")
        return self


def known_metrics(world: World, battery: BatterySettings) -> list[str]:
    """Return the names of all metrics that the battery measures in the world.

    Raises:
        KerfError: if the battery is exact and the world cannot be enumerated.
    """
    if battery.exact:
        written_out(world, blocks(world, battery.strengths)[0])
    return metric_names(world, battery.strengths)


def check_against_world(recipe: Recipe) -> None:
    """Check that the recipe's events, generators, metrics and way of training are available in its world.

    Raises:
        KerfError: names the field's path and, for an unknown name, the nearest one; also if the world cannot be loaded
            or cannot be studied, with each of its faults.
    """
    world = get_world(recipe.world)
    if faults := _faults(recipe.world):
        raise KerfError(f"world {recipe.world!r}: {'; '.join(faults)}")
    check_design("design", world, recipe.design)
    for name, arm in recipe.resolve().items():
        check_design(f"arms.{name}.design", world, arm.design)
        _makeable(f"arms.{name}.generator", world, arm.generator)
        _serves(f"arms.{name}.grader", world, arm)
        for field in ("yoked_event", "frozen_by"):
            if (event := getattr(arm, field)) is not None:
                _known(f"arms.{name}.{field}", "event", event, world.events)
    for index, attack in enumerate(recipe.fresh.attacks if recipe.fresh is not None else ()):
        _makeable(f"fresh (attack {index + 1})", world, attack.generator)
    if recipe.after_tests is not None:
        after_plan(recipe, recipe.after_tests)
    check_feedback_in(world, recipe.resolve())
    if recipe.exact is not None:
        check_exact(world, recipe.resolve())
        check_exact_feedback(recipe.resolve())
    metrics = known_metrics(world, recipe.battery)
    for index, primary in enumerate(recipe.primaries):
        _known(f"primaries.{index}.metric", "metric", primary.metric, metrics)


@cache
def _faults(name: str) -> Sequence[str]:
    """What is wrong with a world; presets and variants share it, so its episodes are played once."""
    world = get_world(name)
    return declared_faults(world) or played_faults(world)


def _serves(path: str, world: World, arm: ResolvedArm) -> None:
    """Let the arm's grader say before training whether it needs what the world lacks."""
    grader = make_grader(arm.grader, arm.strength)
    if not isinstance(grader, Demanding):
        return
    try:
        grader.check(world)
    except KerfError as error:
        raise KerfError(f"{path}: {error}") from error


def _makeable(path: str, world: World, settings: GeneratorSettings) -> None:
    try:
        check_generator(world, settings)
    except KerfError as error:
        raise KerfError(f"{path}: {error}") from error


def resolved_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON values: everything that determines the records.

    The arms are resolved. Left out are `about`, the settings of the way of training that is not used, and settings of
    an arm that have the values in `_USUAL`.
    """
    unused = {"exact"} if recipe.exact is None else {"align", "training"}
    unused |= {name for name in ("fresh", "threshold", "after_tests") if getattr(recipe, name) is None}
    plain: dict[str, Any] = recipe.model_dump(mode="json", exclude={"about", "arms", "control", *unused})
    plain["control"] = recipe.control_arm
    plain["arms"] = {
        name: arm.model_dump(
            mode="json",
            exclude={field for field, usual in _USUAL.items() if getattr(arm, field) == usual},
        )
        for name, arm in recipe.resolve().items()
    }
    return plain


_USUAL = {
    name: field.default
    for name, field in ResolvedArm.model_fields.items()
    if not field.is_required() and name != "yoked_to"
}
"""Values left out of a resolved arm, so that fields added later do not change the hashes of older recipes."""


def recipe_hash(recipe: Recipe) -> str:
    """Return the SHA-256 (hex) of the resolved recipe, predictions included.

    It does not depend on the order of keys, comments, presets, `about`, or whether a setting was given or inherited.
    It depends on the order of the predictions.
    """
    canonical = json.dumps(resolved_recipe(recipe), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _known(
    path: str,
    what: str,
    name: str,
    known: Collection[str],
    hint: str = "",
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> None:
    if name not in known:
        raise KerfError(f"{path}: {unknown_name(what, name, known, renamed)}{hint}")
