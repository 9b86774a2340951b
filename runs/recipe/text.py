"""Text output of recipes: the resolved recipe, and the list of built-in ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kerf.agents.methods import METHODS
from kerf.agents.plasticity import WHOLE
from kerf.agents.settings import ExactSettings
from kerf.lab.reward_spec import IDEAL
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.files import COLLECTED, built_in_collections, built_in_recipes, read_recipe
from kerf.runs.recipe.model import Recipe, recipe_hash
from kerf.runs.recipe.theory import Threshold
from kerf.runs.terminal.columns import ByGroups

LEAST_ABOUT = 32
"""Characters of a line of a description."""

_ARM_COLUMNS = ("arm", "scenarios", "strength", "grader", "penalty", "shaping", "anchor", "iterations")


def recipe_text(recipe: Recipe, out: Path) -> RenderableType:
    """Format a recipe: resolved arms, predictions, hash and output folder."""
    resolved = recipe.resolve().values()
    rewards = [_reward(recipe, arm) for arm in resolved]
    paid = ("reward",) if set(rewards) - {IDEAL, "-"} else ()  # a column where a reward is not the ideal utility
    headings = (*_ARM_COLUMNS, *paid)
    arms = Table(*headings, box=box.SIMPLE_HEAD, title="Arms", title_justify="left", padding=(0, 1, 0, 0))
    arms.columns[0].no_wrap = True
    for arm, reward in zip(resolved, rewards, strict=True):
        arms.add_row(*_arm_row(arm), *(reward for _ in paid))
    predictions = Table("prediction", "claim", "falsified if", box=box.SIMPLE_HEAD, title_justify="left")
    predictions.title = "Preregistered predictions"
    predictions.columns[0].no_wrap = True
    for primary in recipe.primaries:
        change = "does not change" if primary.direction == "none" else f"{primary.direction}s"
        claim = f"{primary.arm} - {primary.against}: {primary.metric} {change}"
        predictions.add_row(primary.name, claim, primary.falsified_by)
    if recipe.threshold is not None:
        claim = f"{', '.join(recipe.threshold.arms)}: help ends at the penalty that theory predicts (see `kerf run`)"
        predictions.add_row(recipe.threshold.name, claim, recipe.threshold.falsified_by)
    seeds = recipe.seed_numbers
    facts = {
        "recipe": recipe.name,
        "world": recipe.world,
        "training": METHODS[recipe.training.algorithm].title if recipe.exact is None else "exact gradients",
        "seeds": f"{len(seeds)} ({seeds[0]} to {seeds[-1]})",
        "control": recipe.control_arm or "none (uncontrolled)",
        "hash": recipe_hash(recipe),
        "folder": str(out),
    }
    lines = (Text(f"{key:8} {fact}", overflow="fold") for key, fact in facts.items())
    return Group(*lines, "", ByGroups(arms), ByGroups(predictions))


def theory_table(theory: Mapping[str, Threshold]) -> ByGroups:
    """Format the theoretical penalty thresholds of the arms."""
    title = "Theory, before training: is a loss of help forced?"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("arm", no_wrap=True)
    for heading in ("forgeries", "strength", "penalty L", "threshold L*"):
        table.add_column(heading, justify="right")
    table.add_column("an optimal agent ...")
    for arm in theory.values():
        numbers = (f"{arm.adversarial_share:.0%}", f"{arm.strength:g}", f"{arm.penalty:g}", number(arm.threshold))
        table.add_row(arm.arm, *numbers, arm.reading)
    return ByGroups(table)


def number(threshold: float) -> str:
    """Format a threshold; `none` if it is not finite."""
    return f"{threshold:.3g}" if math.isfinite(threshold) else "none"


def list_text() -> RenderableType:
    """Format the list of built-in recipes with their variants, presets and descriptions."""
    table = Table("recipe", "variants", "presets", "about", box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    table.columns[-1].min_width = LEAST_ABOUT
    for name in built_in_recipes():
        plain = read_recipe(name)
        table.add_row(name, *(", ".join(plain.get(key, {})) for key in ("variants", "presets")), plain["about"])
    collections = Table("collection", "recipes", "about", box=box.SIMPLE_HEAD)
    collections.columns[0].no_wrap = True
    collections.columns[-1].min_width = LEAST_ABOUT
    for name in built_in_collections():
        plain = read_recipe(name)
        collections.add_row(name, str(len(plain[COLLECTED])), plain["about"])
    return Group(ByGroups(table), ByGroups(collections))


def _arm_row(arm: ResolvedArm) -> tuple[str, ...]:
    if not arm.train:
        return (arm.name, *["-"] * (len(_ARM_COLUMNS) - 2), "0")
    average = f" ({arm.weight_average:.0%} of its weights)" if arm.weight_average < 1 else ""
    name = arm.name if arm.agent == "network" else f"{arm.name} ({arm.agent})"
    name += average
    name += f" (after {arm.after})" if arm.after else ""
    share = f", {arm.adversarial_share:.0%} adversarial" if arm.adversarial_share < 1 else ""
    objective = f" by {arm.objective}" if arm.objective != "elicit" else ""
    radius = 0.0 if isinstance(arm.training, ExactSettings) else arm.training.latent_radius
    latent = f", latent {radius:g}" if radius else ""
    return (
        name,
        f"{arm.generator.kind}{objective}{share}{latent}",
        f"{arm.generator.strength:g}",
        _grading(arm),
        f"{arm.signed_penalty:g}",
        f"{arm.shaping:g}",
        f"{arm.training.anchor_coeff:g}",
        f"{arm.iterations}{'' if arm.stop_at is None else f', or {arm.stop_at:.0%} suppressed'}{_plasticity(arm)}",
    )


def _reward(recipe: Recipe, arm: ResolvedArm) -> str:
    """The reward that an arm trains on: its name, or its weights."""
    if not arm.train:
        return "-"
    design = arm.design if arm.design is not None else recipe.design
    if design is None or isinstance(design, str):
        return design or IDEAL
    return ", ".join(f"{event} {weight:g}" for event, weight in design.items())


def _grading(arm: ResolvedArm) -> str:
    """What decides which acts are penalised."""
    if arm.yoked_to is None:
        grader = arm.grader + (f" at {arm.strength:g}" if arm.strength != arm.generator.strength else "")
        return ", ".join((grader, *_feedback(arm)))
    on = f", on {arm.yoked_event}" if arm.yoked_event else ""
    return f"yoked to {arm.yoked_to}{on}" + (f", {arm.yoked_delay} iterations later" if arm.yoked_delay else "")


def _plasticity(arm: ResolvedArm) -> str:
    """When and where it learns less than it could, if it does."""
    rate = arm.learning_rate
    slower = "" if rate == WHOLE else f", {rate.left:.0%} of the rate after {rate.begin} to {rate.end}"
    return slower + (f", not where {arm.frozen_by}" if arm.frozen_by else "")


def _feedback(arm: ResolvedArm) -> Iterator[str]:
    """How the grader's word is followed, where that is not always."""
    if arm.grader_misses:
        yield f"misses {arm.grader_misses:.0%}"
    if arm.grader_false_alarms:
        yield f"{arm.grader_false_alarms:.0%} false alarms"
    if arm.oversight < 1:
        yield f"in {arm.oversight:.0%} of episodes"
    if arm.oversight_cue is not None:
        yield f"shown by {arm.oversight_cue!r}"
    if arm.penalty_to is not None:
        yield f"iterations {arm.penalty_from} to {arm.penalty_to}"
    elif arm.penalty_from > 1:
        yield f"from iteration {arm.penalty_from} on"
    if arm.screened:
        yield "left out"
    if arm.probe:
        yield f"on a probe, weight {arm.probe:g}"
    if arm.penalty_units is not None:
        yield f"to {arm.penalty_units:.0%} of units"
