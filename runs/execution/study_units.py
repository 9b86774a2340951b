"""Work on the units of a study: how a worker does one, and the modules, CPUs and Ray that it needs."""

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
    """Do a unit in a worker with `kerf.runs.execution.unit.run_unit`, which is imported in the worker.

    Checkpoints are written at the given interval in seconds, and when SIGTERM ends the worker.
    """
    from kerf.runs.execution.trainers import trainer_of
    from kerf.runs.execution.unit import run_unit
    from kerf.runs.records.checkpoints import EVERY

    every = EVERY if checkpoint_every is None else checkpoint_every
    with keeping_checkpoints() if trainer_of(recipe).keeps_checkpoints else nullcontext():
        yield from run_unit(recipe, unit, store, num_threads, every, stopping)


def modules_of(recipe: Recipe) -> list[str]:
    """Return the modules that `train` imports for `recipe`, to be imported before workers are forked."""
    return [module_of(recipe)]


def prepare(recipe: Recipe) -> None:
    """Start importing the modules that workers of `recipe` need, if workers will be forked."""
    if will_fork() and not needs_ray(recipe):
        get_ready(modules_of(recipe))


def cpus_needed(recipe: Recipe, num_workers: int) -> int:
    """Return the logical CPUs that Ray needs for a number of workers: one per worker, env runner and learner.

    With fewer, env runners and learners would wait for CPUs held by the workers that wait for them: a deadlock.
    """
    return num_workers * (1 + max(training.num_env_runners + training.num_learners for training in recipe.trainings))


def needs_ray(recipe: Recipe) -> bool:
    """Whether the units of `recipe` need Ray: for remote env runners or learners, for generators that are asked on
    their own workers, or to allocate GPUs."""
    return any(
        training.num_env_runners or training.num_learners or training.num_gpus_per_learner
        for training in recipe.trainings
    ) or any(arm.generator.ask_workers for arm in recipe.resolve().values())
