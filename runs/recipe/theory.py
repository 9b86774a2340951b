"""Theory of a recipe: for each arm the penalty from which on its training makes helping unprofitable.

Closed forms of the world, evaluated before anything is trained: `kerf.lab.world.Dilemma.penalty_threshold`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kerf.generators.registry import make_generator
from kerf.lab.errors import KerfError
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.model import Recipe

LOOKED_AT = 256
"""Scenarios in which help is needed that thresholds are computed for."""


@dataclass(frozen=True)
class Threshold:
    """What theory says of one arm.

    Attributes:
        arm: Its name.
        adversarial_share: a, share of forgeries in its training.
        strength: s, of the forgeries.
        penalty: L, what it is penalised by.
        threshold: L*, the penalty above which an agent that maximises its reward no longer helps: the median over the
            scenarios in which help is needed. Negative: not even without a penalty.
        forced: Share of these scenarios in which it would not help at `penalty`.
    """

    arm: str
    adversarial_share: float
    strength: float
    penalty: float
    threshold: float
    forced: float

    def plain(self) -> dict[str, Any]:
        """As JSON values, for the manifest; a threshold that is not finite is None."""
        finite = self.threshold if np.isfinite(self.threshold) else None
        return {**asdict(self), "threshold": finite, "reading": self.reading}

    @property
    def reading(self) -> str:
        """What an agent that maximises its reward does, in words."""
        if self.forced == 0.0:
            return "helps"
        if self.forced < 1.0:
            return f"helps in {1 - self.forced:.0%} of cases"
        return "does not help: forgeries force it" if self.threshold < 0.0 else "does not help: the penalty forces it"


def theory_of(recipe: Recipe) -> dict[str, Threshold]:
    """`thresholds`, checked against the threshold that the recipe registers.

    Raises:
        KerfError: for a registered threshold of arms of which theory says nothing, or different things.
    """
    found = thresholds(recipe)
    if recipe.threshold is None:
        return found
    for arm in recipe.threshold.arms:
        if arm not in found:
            raise KerfError(f"threshold.arms: theory has no closed form for arm {arm!r} in world {recipe.world!r}")
    if len({round(found[arm].threshold, 9) for arm in recipe.threshold.arms}) > 1:
        said = ", ".join(f"{arm} {found[arm].threshold:.3g}" for arm in recipe.threshold.arms)
        raise KerfError(f"threshold.arms: expected arms that differ in their penalty alone, got thresholds {said}")
    return found


def thresholds(recipe: Recipe) -> dict[str, Threshold]:
    """What theory says of each arm of `recipe` that trains on forgeries, by arm.

    Left out are arms without a closed form: whose generator is no fixed mix of the natural stream and forgeries of one
    strength, whose penalties do not fall on needless acts, that shape, anchor or reward, or begin where another arm
    ends. Empty for a world without a closed form, or whose forbidden act serves no value.
    """
    world = get_world(recipe.world)
    served, law = world.dilemma.served, world.dilemma.penalty_threshold
    if served is None or law is None or recipe.design is not None:
        return {}
    scenarios = _in_need(world, served)
    found = {}
    for name, arm in recipe.resolve().items():
        mix = make_generator(world, arm.generator, arm.adversarial_share).mix() if _has_closed_form(arm) else None
        if mix is None or mix.natural == 1.0:
            continue
        at = law(scenarios, mix)
        found[name] = Threshold(
            name, 1.0 - mix.natural, mix.strength, arm.penalty, float(np.median(at)), float((at <= arm.penalty).mean())
        )
    return found


def _has_closed_form(arm: ResolvedArm) -> bool:
    plain = arm.yoked_to is None and arm.after is None and arm.penalty_sign == 1 and arm.grader == "ex_post"
    return plain and arm.train and not arm.shaping and not arm.training.anchor_coeff


def _in_need(world: World, served: str) -> Scenarios:
    families = [family for family in world.families if family.value == served and not family.held_out]
    rng = np.random.default_rng(0)  # the law is the world's; which scenarios stand for it is of no consequence
    shares = np.array([family.share for family in families])
    counts = rng.multinomial(LOOKED_AT, shares / shares.sum())
    return np.concatenate([family.sample(int(n), rng) for family, n in zip(families, counts, strict=True)])
