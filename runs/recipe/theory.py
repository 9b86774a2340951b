"""Theory of a recipe: for each arm the penalty threshold above which an optimal agent does not help.

The thresholds are closed forms of the world (`kerf.lab.dilemma.Dilemma.penalty_threshold`) and need no training.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kerf.agents.settings import TrainingSettings
from kerf.generators.registry import make_generator
from kerf.lab.errors import KerfError
from kerf.lab.oversight import PERFECT
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.model import Recipe

LOOKED_AT = 256
"""Number of scenarios, in which help is needed, that thresholds are computed on."""


@dataclass(frozen=True)
class Threshold:
    """Theoretical prediction for one arm.

    Attributes:
        arm: Name of the arm.
        adversarial_share: a, the share of forgeries in its training.
        strength: s, the strength of the forgeries.
        penalty: L, its penalty.
        threshold: L*, the penalty above which a reward-maximising agent does not help: the median over scenarios in
            which help is needed, of those that look like one that training shows. Negative: it does not help even
            without a penalty. nan: training shows nothing that looks like them.
        forced: Share of these scenarios in which a reward-maximising agent does not help at `penalty`; 0.0 if training
            shows none.
    """

    arm: str
    adversarial_share: float
    strength: float
    penalty: float
    threshold: float
    forced: float

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON values, for the manifest; a threshold that is not finite becomes None."""
        finite = self.threshold if np.isfinite(self.threshold) else None
        return {**asdict(self), "threshold": finite, "reading": self.reading}

    @property
    def reading(self) -> str:
        """The behaviour of a reward-maximising agent, in words."""
        if math.isnan(self.threshold):
            return "may help or not: training shows no such case"
        if self.forced == 0.0:
            return "helps"
        if self.forced < 1.0:
            return f"helps in {1 - self.forced:.0%} of cases"
        return "does not help: forgeries force it" if self.threshold < 0.0 else "does not help: the penalty forces it"


def theory_of(recipe: Recipe) -> dict[str, Threshold]:
    """Compute `thresholds` and check them against the recipe's registered threshold prediction.

    Raises:
        KerfError: if arms of the registered prediction have no closed form, or different thresholds.
    """
    found = thresholds(recipe)
    if recipe.threshold is None:
        return found
    for arm in recipe.threshold.arms:
        if arm not in found:
            raise KerfError(f"threshold.arms: theory has no closed form for arm {arm!r} in world {recipe.world!r}")
    if len({round(found[arm].threshold, 9) for arm in recipe.threshold.arms}) > 1:
        listed = ", ".join(f"{arm} {found[arm].threshold:.3g}" for arm in recipe.threshold.arms)
        raise KerfError(f"threshold.arms: expected arms that differ in their penalty alone, got thresholds {listed}")
    return found


def thresholds(recipe: Recipe) -> dict[str, Threshold]:
    """Compute the threshold of each arm of `recipe` that trains on forgeries, by arm.

    Arms without a closed form are left out: those whose generator is not a fixed mix of the natural stream and
    forgeries of one strength, whose penalties do not fall on needless acts, on all of them and from beginning to end,
    that use shaping, an anchor, a probe, a latent adversary or a reward in place of the penalty, or that start from
    another arm. Empty if the world has no closed form, its forbidden act serves no value, or the recipe sets its own
    design reward.
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
        at = at[~np.isnan(at)]
        median, forced = (float(np.median(at)), float((at <= arm.penalty).mean())) if len(at) else (math.nan, 0.0)
        found[name] = Threshold(name, 1.0 - mix.natural, mix.strength, arm.penalty, median, forced)
    return found


def _has_closed_form(arm: ResolvedArm) -> bool:
    plain = (
        arm.yoked_to is None
        and arm.after is None
        and arm.design is None
        and arm.penalty_sign == 1
        and arm.grader == "ex_post"
    )
    plain = (
        plain
        and arm.feedback == PERFECT
        and arm.penalty_iterations == (1, math.inf)
        and not arm.screened
        and not arm.probe
    )
    perturbed = isinstance(arm.training, TrainingSettings) and arm.training.latent_radius > 0.0
    return plain and arm.train and not perturbed and not arm.shaping and not arm.training.anchor_coeff


def _in_need(world: World, served: str) -> Scenarios:
    families = [family for family in world.families if family.value == served and not family.held_out]
    rng = np.random.default_rng(0)  # fixed: the sample only serves to evaluate the closed form
    shares = np.array([family.share for family in families])
    counts = rng.multinomial(LOOKED_AT, shares / shares.sum())
    return np.concatenate([family.sample(int(n), rng) for family, n in zip(families, counts, strict=True)])
