"""Checks of an arm's feedback settings: combinations that could have no effect, or no meaning, are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerf.agents.methods import METHODS
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.reward_spec import Design, design_weights
from kerf.lab.world import World
from kerf.runs.recipe.arm_kinds import ARMS, Arm
from kerf.runs.recipe.arms import ResolvedArm

PENALTY_SETTINGS = (
    "grader_misses", "grader_false_alarms", "oversight", "oversight_cue", "penalty_from", "penalty_to", "penalty_units",
)  # fmt: skip
"""Settings that say which of the acts that the grader penalises are penalised, when, and what that may change."""


def check_feedback(given: Mapping[str, Arm], arms: Mapping[str, ResolvedArm], network: NetworkSettings) -> None:
    """Check the feedback settings of all arms, as `given` and as resolved, for agents with this `network`.

    Raises:
        KerfError: names the field's path.
    """
    _check_methods(arms)
    for name, arm in arms.items():
        own = {field for field in PENALTY_SETTINGS if _sets(given[name], field)}
        path = f"arms.{name}"
        if arm.penalty_to is not None and arm.penalty_from > arm.penalty_to:
            raise KerfError(
                f"{path}.penalty_from must be at most penalty_to={arm.penalty_to}, got {arm.penalty_from}: the "
                "penalty would end before it begins"
            )
        if arm.yoked_to is not None and (own or arm.screened or arm.probe):
            field = "screened" if arm.screened else "probe" if arm.probe else min(own)
            raise KerfError(
                f"{path}.{field}: a yoked arm's penalties are those of {arm.yoked_to!r}, whatever the grader says; set "
                f"it there, or leave it out"
            )
        if arm.screened and arm.penalty:
            raise KerfError(
                f"{path}.screened: what would be penalised is left out of training, so its penalty must be 0, got "
                f"{arm.penalty:g}; use the kind `screened`, or set `penalty: 0`"
            )
        if (arm.screened or arm.frozen_by) and isinstance(arm.training, TrainingSettings) and arm.training.num_learners:
            raise KerfError(
                f"{path}.{'screened' if arm.screened else 'frozen_by'}: episodes are left out of a batch that learners "
                "share equally, so training.num_learners must be 0"
            )
        _check_times(path, arm, given[name], arms)
        if arm.probe:
            _check_probe(path, arm)
        if not network.hidden and (arm.probe or arm.penalty_units is not None):
            raise KerfError(
                f"{path}.{'probe' if arm.probe else 'penalty_units'}: it is about the last hidden layer, and this "
                "network has none (hidden: []); give it one, or leave the setting out"
            )
        perturbed = isinstance(arm.training, TrainingSettings) and arm.training.latent_radius > 0
        if arm.penalty_units is not None and perturbed:
            raise KerfError(
                f"{path}.penalty_units: a latent adversary perturbs all units of that layer, so nothing would be "
                "confined; leave one of the two out"
            )
        if arm.stop_at is not None:
            _check_stopping(path, arm, given[name])
        if own and arm.oversight_cue is None and _never_penalised(arm, given[name]):
            raise KerfError(
                f"{path}.{min(own)}: arms of kind {arm.kind!r} are never penalised, so the setting has no effect; "
                "leave it out, or give the arm a penalty"
            )


def check_feedback_in(world: World, arms: Mapping[str, ResolvedArm]) -> None:
    """Check that every cue is a sign of the world, and that nothing is penalised where nothing is forbidden.

    Raises:
        KerfError: names the field's path.
    """
    for name, arm in arms.items():
        if world.dilemma.forbidden is None and arm.train and (arm.penalty or arm.screened or arm.probe):
            field = "screened" if arm.screened else "probe" if arm.probe else "penalty"
            raise KerfError(
                f"arms.{name}.{field}: nothing is forbidden in world {world.name!r}, so there is nothing to penalise; "
                "use a kind without a penalty, or set `penalty: 0`"
            )
        try:
            arm.feedback.check(world)
        except KerfError as error:
            raise KerfError(f"arms.{name}.oversight_cue: {error}") from error


def check_design(path: str, world: World, design: Design | None) -> None:
    """Check that a design reward is one of the world's, or weights of its events.

    Raises:
        KerfError: names the field's `path`.
    """
    for event in design if isinstance(design, Mapping) else ():
        if event not in world.events:
            raise KerfError(f"{path}.{event}: {unknown_name('event', event, world.events)}")
    try:
        design_weights(world, design)
    except KerfError as error:
        raise KerfError(f"{path}: {error}") from error


def check_exact_feedback(arms: Mapping[str, ResolvedArm]) -> None:
    """Check that the feedback of every arm has an exact gradient.

    Raises:
        KerfError: names the field's path.
    """
    for name, arm in arms.items():
        if arm.screened:
            raise KerfError(
                f"arms.{name}.screened: what is left when episodes are left out depends on the critic's baseline, and "
                "exact gradients have none; train by PPO, without `exact`"
            )
        if arm.probe:
            raise KerfError(f"arms.{name}.probe: probes are penalised by PPO alone; train by PPO, without `exact`")
        if arm.penalty_units is not None:
            raise KerfError(
                f"arms.{name}.penalty_units: gradients are routed by PPO alone; train by PPO, without `exact`"
            )
        for field, used in (
            ("frozen_by", arm.frozen_by is not None),
            ("plasticity", arm.plasticity < 1.0),
            ("yoked_delay", arm.yoked_delay > 0),
        ):
            if used:
                raise KerfError(f"arms.{name}.{field}: only PPO can do that; train by PPO, without `exact`")
        if arm.oversight_cue is not None:
            raise KerfError(
                f"arms.{name}.oversight_cue: scenarios marked by lot are no fixed mixture of the natural stream and "
                "forgeries of one strength, so there is no exact gradient; train by PPO, without `exact`"
            )


def _check_methods(arms: Mapping[str, ResolvedArm]) -> None:
    """Check that the learning algorithm of every arm can do what the arm asks for."""
    for name, arm in arms.items():
        if not isinstance(arm.training, TrainingSettings) or not arm.train:
            continue
        method = METHODS[arm.training.algorithm]
        for field in method.lacks:
            owner: Any = arm.training if field.startswith("training.") else arm
            setting = field.removeprefix("training.")
            if getattr(owner, setting) != type(owner).model_fields[setting].default:
                raise KerfError(
                    f"arms.{name}: {method.title} has no {setting}, so the setting would have no effect; leave it out, "
                    "or train by PPO"
                )


def _check_stopping(path: str, arm: ResolvedArm, given: Arm) -> None:
    if arm.yoked_to is not None or _never_penalised(arm, given):
        why = f"a yoked arm has the penalties of {arm.yoked_to!r}" if arm.yoked_to else f"{arm.kind!r} arms have none"
        raise KerfError(
            f"{path}.stop_at: it stops when what is penalised is suppressed, and {why}; leave it out, or set it on an "
            "arm that is penalised for its acts"
        )
    if arm.penalty_from > 1 or arm.penalty_to is not None:
        field = "penalty_from" if arm.penalty_from > 1 else "penalty_to"
        raise KerfError(
            f"{path}.stop_at: suppression is measured against the first iteration, in which something must be "
            f"penalised, and until the last, so {field} must be left out"
        )


def _check_times(path: str, arm: ResolvedArm, given: Arm, arms: Mapping[str, ResolvedArm]) -> None:
    """Check when an arm learns less, and when penalties that it takes over from another one fall."""
    for field in ("plasticity_from", "plasticity_to"):
        if _sets(given, field) and arm.plasticity == 1.0:
            raise KerfError(f"{path}.{field}: the learning rate stays as it is; set `plasticity`, or leave this out")
    if arm.plasticity < 1.0 and arm.plasticity_from > (last := arm.plasticity_to or arm.iterations):
        raise KerfError(
            f"{path}.plasticity_from must be at most plasticity_to={last}, got {arm.plasticity_from}: the learning "
            "rate would have fallen before it begins to"
        )
    if not arm.yoked_delay:
        return
    if arm.yoked_to is None:
        raise KerfError(f"{path}.yoked_delay: only a yoked arm has one; name its partner in `yoked_to`")
    ends = arms[arm.yoked_to].penalty_to
    if ends is None or ends + arm.yoked_delay > arm.iterations:
        until = "the last iteration" if ends is None else f"iteration {ends}"
        raise KerfError(
            f"{path}.yoked_delay: penalties of {arm.yoked_to!r} fall until {until}, and {arm.yoked_delay} iterations "
            f"later some would fall after the last, which is {arm.iterations}; end them earlier (`penalty_to`)"
        )


def _check_probe(path: str, arm: ResolvedArm) -> None:
    if arm.screened:
        raise KerfError(
            f"{path}.probe: it is penalised in flagged episodes, which `screened` leaves out of training; leave one of "
            "the two out"
        )
    if isinstance(arm.training, TrainingSettings) and arm.training.num_learners:
        raise KerfError(f"{path}.probe: its gradient is that of one learner, so training.num_learners must be 0")
    if isinstance(arm.training, TrainingSettings) and arm.training.gradient == "written_out":
        raise KerfError(f"{path}.probe: its gradient is not written out; set training.gradient to auto or autograd")


def _sets(arm: Arm, field: str) -> bool:
    return getattr(arm, field) is not None


def _never_penalised(arm: ResolvedArm, given: Arm) -> bool:
    return ARMS[arm.kind].penalty == 0.0 and given.penalty is None and not arm.screened and not arm.probe
