"""Units of work of a study: align an agent of one seed, or train one arm from it. Both publish records.

Each unit is a Python generator that yields `Progress`. The training itself is done by a trainer
(`kerf.runs.execution.trainer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

from kerf.agents.export import Exportable, load_policy, read_card, save_policy
from kerf.lab.exact.exact_battery import AnyBattery
from kerf.lab.exact.gate import gate
from kerf.lab.torch_threads import one_thread
from kerf.runs.execution.measurements import (
    CELL_NOISE_DRAWS,
    NOISE_DRAWS,
    Measurements,
    final_scores,
    make_battery,
    noise_columns,
)
from kerf.runs.execution.trainer import Trainer, TrainingRun
from kerf.runs.execution.trainers import trainer_of
from kerf.runs.execution.training_log import Log, Progress
from kerf.runs.recipe.arms import ResolvedArm, before, needs
from kerf.runs.recipe.model import Recipe, recipe_hash
from kerf.runs.records.checkpoints import EVERY, Checkpoints
from kerf.runs.records.folder import Folder
from kerf.runs.records.penalty_counts import write_penalty_counts
from kerf.runs.records.schema import MEASURES
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit


def run_unit(
    recipe: Recipe,
    unit: Unit,
    store: Store,
    num_threads: int = 1,
    checkpoint_every: float = EVERY,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Do a unit, from its latest checkpoint if there is one, and publish its records.

    Ray must be initialised if the recipe asks for remote env runners or learners. Until the unit is done torch has one
    thread, and all that it had afterwards.

    Args:
        recipe: The study's recipe.
        unit: The unit. For a cell, the units that `needs` returns must be finished.
        store: The study's folder.
        num_threads: Number of threads; does not affect the records.
        checkpoint_every: Seconds between two checkpoints; does not affect the records.
        stopping: Whether the unit is about to be stopped. If True after an iteration, a checkpoint is written before
            the iteration's progress is yielded, so that the caller can stop there without loss.

    Raises:
        KerfError: if the unit is finished already.
    """
    arms, trainer, battery = recipe.resolve(), trainer_of(recipe), make_battery(recipe)
    store.fetch(needs(arms, unit))
    checkpoints = Checkpoints(store, unit, recipe_hash(recipe), checkpoint_every, stopping)
    log = Log(unit, recipe.align_iterations if unit.arm == ALIGNED else recipe.iterations)
    run = TrainingRun(unit, store, log, Measurements(battery, log), num_threads, checkpoints)
    with one_thread(), store.unit(unit) as folder:
        if unit.arm == ALIGNED:
            yield from _align(recipe, trainer, run, folder, battery)
        else:
            yield from _train(recipe, trainer, arms[unit.arm], run, folder, battery)
    checkpoints.remove()


def _align(
    recipe: Recipe, trainer: Trainer, run: TrainingRun, folder: Folder, battery: AnyBattery
) -> Iterator[Progress]:
    """Train an agent for alignment and write weights, measures, gate result and noise floor."""
    aligned = yield from trainer.align(run)
    run.measured.add(aligned.policy)
    _publish(folder, aligned.policy, run, battery)
    scores = run.measured.rows[0].scores
    certificate = gate(battery.world, scores, battery.num_scenarios, **recipe.gate.model_dump())
    folder.write_json(
        "gate",
        {
            "passed": all(asked.passed for asked in certificate),
            "shortfalls": [asdict(asked) for asked in certificate if not asked.passed],
            "certificate": [asdict(asked) for asked in certificate],
            "advantage_scale": aligned.scales.advantage,
            "latent_scale": aligned.scales.latent,
        },
    )
    folder.write_table("noise", noise_columns(recipe, aligned.policy, NOISE_DRAWS))


def _train(
    recipe: Recipe, trainer: Trainer, arm: ResolvedArm, run: TrainingRun, folder: Folder, battery: AnyBattery
) -> Iterator[Progress]:
    """Train one arm from its seed's aligned agent or from the final agent of another arm, and write its records.

    The agent is measured during training, and the noise of the probes at the end. Iterations and environment steps are
    counted from the aligned agent on.
    """
    store, log = run.store, run.log
    at_first = final_scores(store, Unit(ALIGNED, run.seed))
    run.measured.known(at_first)
    origin = store.path / Unit(arm.after or ALIGNED, run.seed).name / POLICY
    if arm.after is not None:
        earlier = sum(each.iterations for each in before(recipe.resolve(), arm.name))
        log.begin_at(earlier, read_card(origin)["metadata"]["env_steps"])
        run.measured.known(final_scores(store, Unit(arm.after, run.seed)))
    if arm.train:
        trained = yield from trainer.train(arm, run)
        policy = trained.policy
        if arm.signed_penalty and trained.penalty_counts is not None:
            write_penalty_counts(folder, run.unit, trained.penalty_counts, arm.signed_penalty)
        if trained.stopped is not None:
            folder.write_json("stopped", asdict(trained.stopped))
    else:
        log.begin_at(recipe.iterations, 0)
        run.measured.known(at_first)
        policy = load_policy(origin, battery.world)
    _publish(folder, policy, run, battery)
    folder.write_table("noise", noise_columns(recipe, policy, CELL_NOISE_DRAWS))


def _publish(folder: Folder, policy: Exportable, run: TrainingRun, battery: AnyBattery) -> None:
    """Write the records that both kinds of unit have: weights, measures, training curve."""
    log = run.log
    metadata = {"arm": log.unit.arm, "seed": log.unit.seed, "env_steps": log.env_steps}
    save_policy(folder.path / POLICY, policy, battery.world, metadata)
    rows = [
        (log.unit.arm, log.unit.seed, at.iteration, at.env_steps, metric, score, battery.num_scenarios[metric] or 0)
        for at in run.measured.rows
        for metric, score in at.scores.items()
    ]
    folder.write_table("measures", dict(zip(MEASURES.names, zip(*rows, strict=True), strict=True)))
    length = len(log.columns["value"])
    keys = {"arm": [log.unit.arm] * length, "seed": [log.unit.seed] * length}
    folder.write_table("training", keys | log.columns)
