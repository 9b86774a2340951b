"""The two units of work: aligning an agent of one seed, and training one arm from it. Both publish records.

Each is a Python generator that yields `Progress` as it goes, so whoever drives it sees how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.algorithm import KerfAlgorithm
from agents.config import KerfConfig
from agents.export import Exportable, load_policy, read_card, save_policy
from agents.latent_radius import latent_scale
from agents.network import TorchPolicy
from agents.settings import TrainingSettings
from generators.base import GeneratorSettings
from generators.registry import make_generator
from lab.exact_battery import AnyBattery, ExactBattery
from lab.gate import gate
from lab.grader import make_grader
from lab.seeds import entropy
from lab.source import ScenarioSource
from lab.values import Battery
from lab.world import World, natural
from lab.worlds import get_world
from runs.arms import ResolvedArm, before
from runs.checkpoints import EVERY, Checkpoints, State
from runs.doses import read_doses, write_doses
from runs.exact_cell import align_exactly, train_exactly
from runs.log import Log, Progress
from runs.recipe import Recipe
from runs.remote import published
from runs.schema import MEASURES
from runs.store import ALIGNED, Folder, Store, Unit

NOISE_DRAWS = 3
"""Fresh draws of the battery on which an aligned agent is measured again: the noise floor."""

POLICY = "policy"
"""Stem of the files that hold a unit's weights."""

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


@dataclass(frozen=True)
class Measured:
    """A row block of `measures.parquet`: all scores at one point of training."""

    iteration: int
    env_steps: int
    scores: Mapping[str, float]


def make_battery(recipe: Recipe, draw: int = 0) -> AnyBattery:
    """The study's battery; `draw` > 0 gives an independent one of the same make, for the noise floor."""
    settings = recipe.battery
    if settings.exact:
        return ExactBattery(get_world(recipe.world), settings.strengths)
    seed = settings.seed if draw == 0 else entropy(settings.seed, f"noise {draw}")
    return Battery(get_world(recipe.world), settings.scenarios_per_family, seed, settings.strengths)


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

    Ray must have been initialised (RLlib asks for it). `num_threads` and `checkpoint_every` (seconds) change how long
    it takes and nothing else. Where `stopping` says so after an iteration, a checkpoint is left before it is told of:
    whoever stops listening there loses nothing. Raises `KerfError` if the unit is finished already.
    """
    arms = recipe.resolve()
    with published(store, unit, needs(arms, unit)):
        checkpoints = Checkpoints(store, unit, recipe, checkpoint_every, stopping)
        if unit.arm == ALIGNED:
            yield from align(recipe, unit, store, num_threads, checkpoints)
        else:
            yield from train_arm(recipe, arms[unit.arm], unit, store, num_threads, checkpoints)
    checkpoints.remove()


def needs(arms: Mapping[str, ResolvedArm], unit: Unit) -> list[Unit]:
    """What must be finished before `unit` can begin: the seed's aligned agent, the cell that it is yoked to, and the
    one from whose end it starts."""
    if unit.arm == ALIGNED:
        return []
    arm = arms[unit.arm]
    return [Unit(name, unit.seed) for name in (ALIGNED, arm.yoked_to, arm.after) if name is not None]


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
            policy = yield from align_exactly(recipe, unit.seed, log)
        else:
            policy = yield from align_by_ppo(recipe, unit.seed, log, num_threads, checkpoints=checkpoints)
            advantages = _advantage_scale(recipe, policy, unit.seed)
            latent = _latent_scale(recipe, policy, unit.seed)
        scores = battery.measure(policy)
        measured = [Measured(log.done, log.env_steps, scores)]
        _publish(folder, policy, log, measured, battery)
        certificate = gate(world, scores, battery.num_scenarios, **recipe.gate.model_dump())
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
        measured = [Measured(0, 0, battery.measure(aligned))]
        doses: list[NDArray[np.int64]] = []

        def measure(policy: Exportable) -> None:
            measured.append(Measured(log.done, log.env_steps, battery.measure(policy)))

        def state() -> Mapping[str, State]:
            rows = {"rows": [asdict(at) for at in measured]}
            return _state(log, algorithm, measured=({}, rows), doses=({"doses": np.stack(doses)}, {}))

        policy: Exportable = aligned
        if arm.after is not None:
            stem = store.path / Unit(arm.after, unit.seed).name / POLICY
            policy = load_policy(stem, world)
            earlier = sum(each.iterations for each in before(recipe.resolve(), arm.name))
            log.begin_at(earlier, read_card(stem)["metadata"]["env_steps"])
            measure(policy)
        if not arm.train:
            measured.append(Measured(recipe.iterations, 0, battery.measure(aligned)))
        elif recipe.exact is not None:
            policy = yield from train_exactly(recipe, arm, unit.seed, aligned, store, log, measure)
        else:
            assert isinstance(arm.training, TrainingSettings)
            found = store.read_json(origin, "gate")
            scales = Scales(found["advantage_scale"], found["latent_scale"])
            config = arm_config(recipe, arm, unit.seed, aligned, scales, store, num_threads)
            end = log.done + arm.iterations
            saved = yield from _resumed(log, checkpoints)
            assert isinstance(policy, TorchPolicy)
            with _built(config, policy) as algorithm:
                if saved:
                    algorithm.load_training_state(*saved["algorithm"])
                    doses = list(saved["doses"][0]["doses"])
                    measured = [Measured(**row) for row in saved["measured"][1]["rows"]]
                while log.done < end:
                    progress = log.iteration(algorithm.train(), arm.training.num_scenarios * world.horizon)
                    doses.append(algorithm.doses)
                    if log.done % recipe.measure_every == 0 or log.done == end:
                        policy = algorithm.policy()
                        measure(policy)
                    if checkpoints is not None and log.done < end:
                        checkpoints.offer(log.done, state)
                    yield progress
            if arm.signed_penalty:
                write_doses(folder, unit, doses, arm.signed_penalty)
        _publish(folder, policy, log, measured, battery)


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
    doses = None
    if arm.yoked_to is not None and arm.signed_penalty:
        doses = read_doses(store, Unit(arm.yoked_to, seed), arm.iterations, get_world(recipe.world).horizon)
    return KerfConfig().kerf(
        world=recipe.world,
        source=make_generator(get_world(recipe.world), arm.generator, arm.replay),
        seed=entropy(seed, f"arms after {earlier}" if earlier else "arms"),
        network=recipe.network,
        training=arm.training,
        grader=make_grader(arm.grader, arm.strength),
        penalty=arm.penalty,
        penalty_sign=arm.penalty_sign,
        doses=doses,
        shaping=arm.shaping,
        design=recipe.design,
        anchor=aligned.weights(),
        advantage_scale=scales.advantage,
        latent_scale=scales.latent,
        objective=arm.objective,
        num_threads=num_threads,
    )


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


def measure_latent_scale(world: World, policy: TorchPolicy, seed: int) -> float:
    """What a latent radius of 1 is for `seed`, whose aligned agent is `policy`; raises as `latent_scale`."""
    return latent_scale(policy, world, np.random.default_rng(np.random.SeedSequence(entropy(seed, "latent scale"))))


def _natural(world: World) -> ScenarioSource:
    return make_generator(world, GeneratorSettings(kind="natural"))


def _publish(folder: Folder, policy: Exportable, log: Log, measured: Sequence[Measured], battery: AnyBattery) -> None:
    """Write what both kinds of unit have: weights, measures, training curve."""
    metadata = {"arm": log.unit.arm, "seed": log.unit.seed, "env_steps": log.env_steps}
    save_policy(folder.path / POLICY, policy, battery.world, metadata)
    rows = [
        (log.unit.arm, log.unit.seed, at.iteration, at.env_steps, metric, score, battery.num_scenarios[metric] or 0)
        for at in measured
        for metric, score in at.scores.items()
    ]
    folder.write_table("measures", dict(zip(MEASURES.names, zip(*rows, strict=True), strict=True)))
    length = len(log.columns["value"])
    keys = {"arm": [log.unit.arm] * length, "seed": [log.unit.seed] * length}
    folder.write_table("training", keys | log.columns)
