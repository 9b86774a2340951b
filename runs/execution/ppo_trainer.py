"""Training by PPO, as the units of a study need it: an agent until it should be aligned, and an arm."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.config import KerfConfig
from kerf.agents.network import TorchPolicy
from kerf.agents.settings import TrainingSettings
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.grader import make_grader
from kerf.lab.seeds import entropy
from kerf.lab.source import ScenarioSource
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from kerf.runs.execution.measurements import measure_latent_scale
from kerf.runs.recipe.arms import ResolvedArm, before
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.penalty_counts import read_penalty_counts
from kerf.runs.records.store import ALIGNED, Store, Unit

if TYPE_CHECKING:
    from kerf.runs.execution.measurements import Measurements
    from kerf.runs.execution.training_log import Log, Progress
    from kerf.runs.records.checkpoints import Checkpoints, State

SCALE_EPISODES = 1024
"""Natural episodes on which the spread of the advantages is measured once a seed."""


@dataclass(frozen=True)
class Scales:
    """What was measured of an aligned agent for the arms to be trained with.

    Attributes:
        advantage: Standard deviation of its advantages: the divisor of `frozen` scaling.
        latent: What a latent radius is in units of; None where no arm has one.
    """

    advantage: float
    latent: float | None


def align_by_ppo(
    recipe: Recipe,
    seed: int,
    log: Log,
    num_threads: int = 1,
    look: Callable[[KerfAlgorithm], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Generator[Progress, None, TorchPolicy]:
    """Train an agent phase by phase, on the natural stream; `look` is shown the algorithm after each iteration."""
    world = get_world(recipe.world)
    policy: TorchPolicy | None = None
    saved = yield from _resumed(log, checkpoints)
    begun = saved["phase"][1]["index"] if saved else 0
    for index, (name, phase) in enumerate(recipe.align.phases):
        if index < begun:
            continue
        config = KerfConfig().kerf(
            world=recipe.world,
            source=_natural(world),
            seed=entropy(seed, f"align {name}"),
            network=recipe.network,
            training=phase.training,
            num_threads=num_threads,
        )
        with _built(config, policy) as algorithm:
            if saved and index == begun:
                algorithm.load_training_state(*saved["algorithm"])
            while algorithm.num_iterations < phase.iterations:
                progress = log.iteration(algorithm.train(), phase.training.num_scenarios * world.horizon)
                if look is not None:
                    look(algorithm)
                if checkpoints is not None and algorithm.num_iterations < phase.iterations:
                    checkpoints.offer(log.done, partial(_state, log, algorithm, phase=({}, {"index": index})))
                yield progress
            policy = algorithm.policy()
    assert policy is not None  # there are always two phases, if of no iterations
    return policy


def train_by_ppo(
    recipe: Recipe,
    arm: ResolvedArm,
    seed: int,
    aligned: TorchPolicy,
    start: TorchPolicy,
    store: Store,
    log: Log,
    measured: Measurements,
    num_threads: int = 1,
    checkpoints: Checkpoints | None = None,
) -> Generator[Progress, None, tuple[TorchPolicy, list[NDArray[np.int64]]]]:
    """Train one arm from `start`, measuring on the way; `aligned` is its seed's aligned agent.

    Returns:
        What came out, and how many episodes were penalised at each step of each iteration, `(T,)` each.
    """
    assert isinstance(arm.training, TrainingSettings)
    found = store.read_json(Unit(ALIGNED, seed), "gate")
    scales = Scales(found["advantage_scale"], found["latent_scale"])
    config = arm_config(recipe, arm, seed, aligned, scales, store, num_threads)
    end, env_steps = log.done + arm.iterations, arm.training.num_scenarios * get_world(recipe.world).horizon
    policy, penalty_counts = start, list[NDArray[np.int64]]()

    def state() -> Mapping[str, State]:
        return _state(
            log, algorithm, measured=measured.state(), penalty_counts=({"penalty_counts": np.stack(penalty_counts)}, {})
        )

    saved = yield from _resumed(log, checkpoints)
    with _built(config, start) as algorithm:
        if saved:
            algorithm.load_training_state(*saved["algorithm"])
            penalty_counts = list(saved["penalty_counts"][0]["penalty_counts"])
            measured.load_state(saved["measured"][1])
        while log.done < end:
            progress = log.iteration(algorithm.train(), env_steps)
            penalty_counts.append(algorithm.penalty_counts)
            if log.done % recipe.measure_every == 0 or log.done == end:
                policy = algorithm.policy()
                measured.add(policy)
            if checkpoints is not None and log.done < end:
                checkpoints.offer(log.done, state)
            yield progress
    return policy, penalty_counts


def arm_config(
    recipe: Recipe,
    arm: ResolvedArm,
    seed: int,
    aligned: TorchPolicy,
    scales: Scales,
    store: Store,
    num_threads: int = 1,
) -> KerfConfig:
    """An arm in the trainer's terms. All arms of a seed that start from the aligned agent name the same stream of
    chance, and so do all that start after one other arm, or two: they are paired."""
    assert isinstance(arm.training, TrainingSettings)
    earlier = len(before(recipe.resolve(), arm.name))
    penalty_counts = None
    if arm.yoked_to is not None and arm.signed_penalty:
        penalty_counts = read_penalty_counts(
            store, Unit(arm.yoked_to, seed), arm.iterations, get_world(recipe.world).horizon
        )
    return KerfConfig().kerf(
        world=recipe.world,
        source=make_generator(get_world(recipe.world), arm.generator, arm.adversarial_share),
        seed=entropy(seed, f"arms after {earlier}" if earlier else "arms"),
        network=recipe.network,
        training=arm.training,
        grader=make_grader(arm.grader, arm.strength),
        penalty=arm.penalty,
        penalty_sign=arm.penalty_sign,
        penalty_counts=penalty_counts,
        shaping=arm.shaping,
        design=recipe.design,
        anchor=aligned.weights(),
        advantage_scale=scales.advantage,
        latent_scale=scales.latent,
        objective=arm.objective,
        num_threads=num_threads,
    )


def scales_of(recipe: Recipe, policy: TorchPolicy, seed: int) -> Scales:
    """Measure what the arms of `seed` are trained with of its aligned agent, `policy`."""
    return Scales(_advantage_scale(recipe, policy, seed), _latent_scale(recipe, policy, seed))


@contextmanager
def _built(config: KerfConfig, policy: TorchPolicy | None) -> Iterator[KerfAlgorithm]:
    """The algorithm of `config`, starting from `policy` (None: from its own initial weights)."""
    algorithm: KerfAlgorithm = config.build_algo()
    try:
        if policy is not None:
            algorithm.load_weights(policy.weights())
        yield algorithm
    finally:
        algorithm.stop()


def _resumed(log: Log, checkpoints: Checkpoints | None) -> Generator[Progress, None, Mapping[str, State] | None]:
    """The unit's latest checkpoint, if there is one; the log goes on from it."""
    saved = checkpoints.newest() if checkpoints is not None else None
    if saved is not None:
        log.load_state(*saved["log"])
    if checkpoints is not None and checkpoints.told:
        yield log.progress("; ".join(checkpoints.told))
    return saved


def _state(log: Log, algorithm: KerfAlgorithm, **others: State) -> Mapping[str, State]:
    return {"log": log.state(), "algorithm": algorithm.training_state(), **others}


def _advantage_scale(recipe: Recipe, policy: TorchPolicy, seed: int) -> float:
    """Standard deviation of the advantages of `policy` on the natural stream: the divisor of `frozen` scaling."""
    world = get_world(recipe.world)
    training = recipe.training.model_copy(
        update={"advantage_scaling": "none", "anchor_coeff": 0.0, "latent_radius": 0.0}
    )
    stream = entropy(seed, "advantage scale")
    config = KerfConfig().kerf(
        world=recipe.world, source=_natural(world), seed=stream, network=recipe.network, training=training
    )
    rng = np.random.default_rng(np.random.SeedSequence(stream))
    scenarios = natural(world, SCALE_EPISODES, rng)
    uniforms = rng.random((world.horizon, len(scenarios)), np.float32)
    with _built(config, policy) as algorithm:
        return float(algorithm.play(scenarios, uniforms).advantages().std())


def _latent_scale(recipe: Recipe, policy: TorchPolicy, seed: int) -> float | None:
    """What a latent radius of 1 is for the arms of `seed`; None if none of them has an adversary inside."""
    trainings = [arm.training for arm in recipe.resolve().values()]
    if not any(isinstance(training, TrainingSettings) and training.latent_radius > 0 for training in trainings):
        return None
    return measure_latent_scale(get_world(recipe.world), policy, seed)


def _natural(world: World) -> ScenarioSource:
    return make_generator(world, GeneratorSettings(kind="natural"))
