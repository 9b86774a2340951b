"""The two units of work: aligning an agent of one seed, and training one arm from it. Both publish records.

Each is a Python generator that yields `Progress` as it goes, so whoever drives it sees how far it is. What trains is
imported when it is needed: a study by exact gradients does without RLlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

from kerf.agents.export import Exportable, load_policy, read_card, save_policy
from kerf.agents.network import TorchPolicy
from kerf.lab.exact.exact_battery import AnyBattery
from kerf.lab.exact.gate import gate
from kerf.lab.worlds import get_world
from kerf.runs.execution.measurements import NOISE_DRAWS, Measurements, final_scores, make_battery
from kerf.runs.execution.training_log import Log, Progress
from kerf.runs.recipe.arms import ResolvedArm, before, needs
from kerf.runs.recipe.model import Recipe, recipe_hash
from kerf.runs.records.checkpoints import EVERY, Checkpoints
from kerf.runs.records.folder import Folder
from kerf.runs.records.penalty_counts import write_penalty_counts
from kerf.runs.records.schema import MEASURES
from kerf.runs.records.store import ALIGNED, Store, Unit

POLICY = "policy"
"""Stem of the files that hold a unit's weights."""


def run_unit(
    recipe: Recipe,
    unit: Unit,
    store: Store,
    num_threads: int = 1,
    checkpoint_every: float = EVERY,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Do a unit, from its latest checkpoint if it has one, and publish its records. A cell needs what `needs` names in
    the store.

    Ray must have been initialised if the recipe asks for remote env runners or learners. `num_threads` and
    `checkpoint_every` (seconds) change how long it takes and nothing else. Where `stopping` says so after an iteration,
    a checkpoint is left before it is told of: whoever stops listening there loses nothing. Raises `KerfError` if the
    unit is finished already.
    """
    arms = recipe.resolve()
    store.fetch(needs(arms, unit))
    checkpoints = Checkpoints(store, unit, recipe_hash(recipe), checkpoint_every, stopping)
    if unit.arm == ALIGNED:
        yield from align(recipe, unit, store, num_threads, checkpoints)
    else:
        yield from train_arm(recipe, arms[unit.arm], unit, store, num_threads, checkpoints)
    checkpoints.remove()


def align(
    recipe: Recipe, unit: Unit, store: Store, num_threads: int = 1, checkpoints: Checkpoints | None = None
) -> Iterator[Progress]:
    """Train an agent until it should be aligned, and record whether it is: weights, measures, gate, noise floor."""
    world, battery = get_world(recipe.world), make_battery(recipe)
    with store.unit(unit) as folder:
        log = Log(unit, sum(phase.iterations for _, phase in recipe.phases))
        advantages: float | None = None
        latent: float | None = None
        if recipe.exact is not None:
            from kerf.runs.execution.exact_trainer import align_exactly

            policy = yield from align_exactly(recipe, unit.seed, log)
        else:
            from kerf.runs.execution.ppo_trainer import align_by_ppo, scales_of

            policy = yield from align_by_ppo(recipe, unit.seed, log, num_threads, checkpoints=checkpoints)
            scales = scales_of(recipe, policy, unit.seed)
            advantages, latent = scales.advantage, scales.latent
        measured = Measurements(battery, log)
        measured.add(policy)
        _publish(folder, policy, log, measured, battery)
        certificate = gate(world, measured.rows[0].scores, battery.num_scenarios, **recipe.gate.model_dump())
        folder.write_json(
            "gate",
            {
                "passed": all(asked.passed for asked in certificate),
                "shortfalls": [asdict(asked) for asked in certificate if not asked.passed],
                "certificate": [asdict(asked) for asked in certificate],
                "advantage_scale": advantages,
                "latent_scale": latent,
            },
        )
        draws = [make_battery(recipe, draw + 1).measure(policy) for draw in range(NOISE_DRAWS)]
        folder.write_table(
            "noise",
            {
                "metric": [metric for scored in draws for metric in scored],
                "draw": [draw for draw, scored in enumerate(draws) for _ in scored],
                "score": [score for scored in draws for score in scored.values()],
            },
        )


def train_arm(
    recipe: Recipe,
    arm: ResolvedArm,
    unit: Unit,
    store: Store,
    num_threads: int = 1,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Progress]:
    """Train one arm from its seed's aligned agent, or from where another arm ended, measuring on the way.

    Iterations and environment steps are counted from the aligned agent on.
    """
    world, battery = get_world(recipe.world), make_battery(recipe)
    origin = Unit(ALIGNED, unit.seed)
    aligned = load_policy(store.path / origin.name / POLICY, world)
    assert isinstance(aligned, TorchPolicy)
    with store.unit(unit) as folder:
        log = Log(unit, recipe.iterations)
        measured = Measurements(battery, log)
        at_first = final_scores(store, origin)
        measured.known(at_first)
        policy: Exportable = aligned
        if arm.after is not None:
            origin = Unit(arm.after, unit.seed)
            policy = load_policy(store.path / origin.name / POLICY, world)
            earlier = sum(each.iterations for each in before(recipe.resolve(), arm.name))
            log.begin_at(earlier, read_card(store.path / origin.name / POLICY)["metadata"]["env_steps"])
            measured.known(final_scores(store, origin))
        if not arm.train:
            log.begin_at(recipe.iterations, 0)
            measured.known(at_first)
        elif recipe.exact is not None:
            from kerf.runs.execution.exact_trainer import train_exactly

            policy = yield from train_exactly(recipe, arm, unit.seed, aligned, store, log, measured.add)
        else:
            from kerf.runs.execution.ppo_trainer import train_by_ppo

            assert isinstance(policy, TorchPolicy)
            policy, penalty_counts = yield from train_by_ppo(
                recipe, arm, unit.seed, aligned, policy, store, log, measured, num_threads, checkpoints
            )
            if arm.signed_penalty:
                write_penalty_counts(folder, unit, penalty_counts, arm.signed_penalty)
        _publish(folder, policy, log, measured, battery)


def _publish(folder: Folder, policy: Exportable, log: Log, measured: Measurements, battery: AnyBattery) -> None:
    """Write what both kinds of unit have: weights, measures, training curve."""
    metadata = {"arm": log.unit.arm, "seed": log.unit.seed, "env_steps": log.env_steps}
    save_policy(folder.path / POLICY, policy, battery.world, metadata)
    rows = [
        (log.unit.arm, log.unit.seed, at.iteration, at.env_steps, metric, score, battery.num_scenarios[metric] or 0)
        for at in measured.rows
        for metric, score in at.scores.items()
    ]
    folder.write_table("measures", dict(zip(MEASURES.names, zip(*rows, strict=True), strict=True)))
    length = len(log.columns["value"])
    keys = {"arm": [log.unit.arm] * length, "seed": [log.unit.seed] * length}
    folder.write_table("training", keys | log.columns)
