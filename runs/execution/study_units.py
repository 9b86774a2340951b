"""The units of a study as work: how a worker does one, what it imports for that, and what it needs of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from kerf.runs.execution.forked_workers import get_ready, will_fork
from kerf.runs.execution.stop_request import keeping_checkpoints, stopping
from kerf.runs.execution.trainers import module_of
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Store, Unit

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress


def train(
    recipe: Recipe,
    unit: Unit,
    store: Store,
    num_threads: int,
    checkpoint_every: float | None = None,
) -> Iterator[Progress]:
    """What workers do: `kerf.runs.execution.unit.run_unit`, imported where it runs; a checkpoint every so many
    seconds, and one where SIGTERM ends the worker."""
    from kerf.runs.execution.trainers import trainer_of
    from kerf.runs.execution.unit import run_unit
    from kerf.runs.records.checkpoints import EVERY

    every = EVERY if checkpoint_every is None else checkpoint_every
    with keeping_checkpoints() if trainer_of(recipe).keeps_checkpoints else nullcontext():
        yield from run_unit(recipe, unit, store, num_threads, every, stopping)


def modules_of(recipe: Recipe) -> list[str]:
    """What `train` imports for `recipe` in particular: workers that are forked have it from the beginning."""
    return [module_of(recipe)]


def prepare(recipe: Recipe) -> None:
    """Have what workers of `recipe` need imported from now on, if they are going to be forked."""
    if will_fork() and not needs_ray(recipe):
        get_ready(modules_of(recipe))


def cpus_needed(recipe: Recipe, num_workers: int) -> int:
    """What Ray must have for so many units at a time: a logical CPU for each worker, and for each env runner and
    learner that it may start. With fewer, these would wait for ever for the CPUs of the workers that wait for them.
    """
    return num_workers * (1 + max(training.num_env_runners + training.num_learners for training in recipe.trainings))


def needs_ray(recipe: Recipe) -> bool:
    """Whether the units of `recipe` need Ray: for env runners or learners of their own, for generators that are asked
    on workers of their own, or to share out GPUs."""
    return any(of.num_env_runners or of.num_learners or of.num_gpus_per_learner for of in recipe.trainings) or any(
        arm.generator.ask_workers for arm in recipe.resolve().values()
    )
