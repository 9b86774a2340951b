"""Choice of the trainer that a recipe asks for: the only place that tells one way of training from another."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from kerf.runs.recipe.model import Recipe

if TYPE_CHECKING:
    from kerf.runs.execution.trainer import Trainer


def module_of(recipe: Recipe) -> str:
    """The module that trains by `recipe`: it takes seconds to import, so workers that are forked have it already."""
    return "kerf.runs.execution.ppo_trainer" if recipe.exact is None else "kerf.runs.execution.exact_trainer"


def trainer_of(recipe: Recipe) -> Trainer:
    """What trains by `recipe`; imports it, and no other."""
    make: Callable[[Recipe], Trainer] = import_module(module_of(recipe)).make_trainer
    return make(recipe)
