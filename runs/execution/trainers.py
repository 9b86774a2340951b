"""Selection of a recipe's trainer: the only code that distinguishes the ways of training."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from kerf.runs.recipe.model import Recipe

if TYPE_CHECKING:
    from kerf.runs.execution.trainer import Trainer


def module_of(recipe: Recipe) -> str:
    """Return the module of the recipe's trainer. Its import takes seconds, so it is done before workers are forked."""
    return "kerf.runs.execution.rllib_trainer" if recipe.exact is None else "kerf.runs.execution.exact_trainer"


def trainer_of(recipe: Recipe) -> Trainer:
    """Return the recipe's trainer; imports only its module."""
    make: Callable[[Recipe], Trainer] = import_module(module_of(recipe)).make_trainer
    return make(recipe)
