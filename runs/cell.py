"""The two units of work: aligning an agent of one seed, and training one arm from it. Both publish records.

Each is a Python generator that yields `Progress` as it goes, so whoever drives it sees how far it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agents.algorithm import KerfAlgorithm
from agents.config import KerfConfig
from agents.export import load_policy, save_policy
from agents.network import TorchPolicy
from generators.base import GeneratorSettings
from generators.registry import make_generator
from lab.grader import make_grader
from lab.seeds import entropy
from lab.source import ScenarioSource
from lab.values import Battery, gate
from lab.world import World, natural
from lab.worlds import get_world
from runs.arms import ResolvedArm
from runs.recipe import Recipe
from runs.schema import MEASURES
from runs.store import ALIGNED, Folder, Store, Unit

NOISE_DRAWS = 3
"""Fresh draws of the battery on which an aligned agent is measured again: the noise floor."""

POLICY = "policy"
"""Stem of the files that hold a unit's weights."""

SCALE_EPISODES = 1024
"""Natural episodes on which the spread of the advantages is measured once a seed."""

REPORTED = {
    "sample": {"elicited", "return_utility", "return_penalty", "penalised", "advantage_std"},
    "learn": {
        "loss", "policy_loss", "value_loss", "imitation_loss", "anchor_kl", "entropy", "kl", "clip_fraction",
        "grad_norm",
    },
}  # fmt: skip
"""What goes into the training records of what the algorithm reports; a loss that is off is absent."""

DEFAULT_POLICY = "default_policy"
"""RLlib's name for the only policy."""


@dataclass(frozen=True)
class Progress:
    """How far a unit is.

    Attributes:
        unit: Which.
        iteration: Training iterations done, of `iterations`.
        env_steps: Steps of training played so far.
        seconds: Since the unit began.
    """

    unit: Unit
    iteration: int
    iterations: int
    env_steps: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """A row block of `measures.parquet`: all scores at one point of training."""

    iteration: int
    env_steps: int
    scores: Mapping[str, float]


def make_battery(recipe: Recipe, draw: int = 0) -> Battery:
    """The study's battery; `draw` > 0 gives an independent one of the same make, for the noise floor."""
    settings = recipe.battery
    seed = settings.seed if draw == 0 else entropy(settings.seed, f"noise {draw}")
    return Battery(get_world(recipe.world), settings.scenarios_per_family, seed, settings.strengths)


def run_unit(recipe: Recipe, unit: Unit, store: Store) -> Iterator[Progress]:
    """Do a unit and publish its records. A cell needs its seed's aligned agent in the store.

    Ray must have been initialised (RLlib asks for it). Raises `KerfError` if the unit is finished already.
    """
    if unit.arm == ALIGNED:
        return align(recipe, unit, store)
    return train_arm(recipe, recipe.resolve()[unit.arm], unit, store)


def align(recipe: Recipe, unit: Unit, store: Store) -> Iterator[Progress]:
    """Train an agent until it should be aligned, and record whether it is: weights, measures, gate, noise floor."""
    world, battery = get_world(recipe.world), make_battery(recipe)
    with store.unit(unit) as folder:
        log = _Log(unit, sum(phase.iterations for _, phase in recipe.align.phases))
        policy: TorchPolicy | None = None
        for name, phase in recipe.align.phases:
            config = KerfConfig().kerf(
                world=recipe.world,
                source=_natural(world),
                seed=entropy(unit.seed, f"align {name}"),
                network=recipe.network,
                training=phase.training,
            )
            with _built(config, policy) as algorithm:
                for _ in range(phase.iterations):
                    yield log.iteration(algorithm.train(), phase.training.num_scenarios * world.horizon)
                policy = algorithm.policy()
        assert policy is not None  # there are always two phases, if of no iterations
        scores = battery.measure(policy)
        scale = _advantage_scale(recipe, policy, unit.seed)
        measured = [Measured(log.done, log.env_steps, scores)]
        _publish(folder, policy, log, measured, battery)
        shortfalls = gate(world, scores, **recipe.gate.model_dump())
        folder.write_json(
            "gate",
            {
                "passed": not shortfalls,
                "shortfalls": [asdict(short) for short in shortfalls],
                "advantage_scale": scale,
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


def train_arm(recipe: Recipe, arm: ResolvedArm, unit: Unit, store: Store) -> Iterator[Progress]:
    """Train one arm from its seed's aligned agent, measuring on the way."""
    world, battery = get_world(recipe.world), make_battery(recipe)
    origin = Unit(ALIGNED, unit.seed)
    aligned = load_policy(store.path / origin.name / POLICY, world)
    scale = float(store.read_json(origin, "gate")["advantage_scale"])
    with store.unit(unit) as folder:
        log = _Log(unit, recipe.iterations)
        measured = [Measured(0, 0, battery.measure(aligned))]
        policy = aligned
        if arm.train:
            with _built(arm_config(recipe, arm, unit.seed, aligned, scale), aligned) as algorithm:
                while log.done < arm.iterations:
                    yield log.iteration(algorithm.train(), arm.training.num_scenarios * world.horizon)
                    if log.done % recipe.measure_every == 0 or log.done == arm.iterations:
                        policy = algorithm.policy()
                        measured.append(Measured(log.done, log.env_steps, battery.measure(policy)))
        else:
            measured.append(Measured(recipe.iterations, 0, battery.measure(policy)))
        _publish(folder, policy, log, measured, battery)


def arm_config(recipe: Recipe, arm: ResolvedArm, seed: int, aligned: TorchPolicy, advantage_scale: float) -> KerfConfig:
    """An arm in the trainer's terms. All arms of a seed name the same stream of chance: they are paired."""
    return KerfConfig().kerf(
        world=recipe.world,
        source=make_generator(get_world(recipe.world), arm.generator, arm.replay),
        seed=entropy(seed, "arms"),
        network=recipe.network,
        training=arm.training,
        grader=make_grader(arm.grader, arm.strength),
        penalty=arm.penalty,
        penalty_sign=arm.penalty_sign,
        design=recipe.design,
        anchor=aligned.weights(),
        advantage_scale=advantage_scale,
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


class _Log:
    """Counts what was trained and keeps what training reported of it."""

    def __init__(self, unit: Unit, iterations: int) -> None:
        self.unit, self.iterations = unit, iterations
        self.done = 0
        self.env_steps = 0
        self.columns: dict[str, list[Any]] = {"iteration": [], "env_steps": [], "metric": [], "value": []}
        self._began = time.monotonic()

    def iteration(self, result: Mapping[str, Any], env_steps: int) -> Progress:
        """Take in the result of one `train()` that played `env_steps` steps."""
        self.done += 1
        self.env_steps += env_steps
        reports = {"sample": result["env_runners"], "learn": result["learners"][DEFAULT_POLICY]}
        for part, report in reports.items():
            for name in sorted(REPORTED[part] & set(report)):
                row = (self.done, self.env_steps, f"{part}/{name}", float(report[name]))
                for column, entry in zip(self.columns.values(), row, strict=True):
                    column.append(entry)
        return Progress(self.unit, self.done, self.iterations, self.env_steps, time.monotonic() - self._began)


def _advantage_scale(recipe: Recipe, policy: TorchPolicy, seed: int) -> float:
    """Standard deviation of the advantages of `policy` on the natural stream: the divisor of `frozen` scaling."""
    world = get_world(recipe.world)
    training = recipe.training.model_copy(update={"advantage_scaling": "none", "anchor_coeff": 0.0})
    stream = entropy(seed, "advantage scale")
    config = KerfConfig().kerf(
        world=recipe.world, source=_natural(world), seed=stream, network=recipe.network, training=training
    )
    rng = np.random.default_rng(np.random.SeedSequence(stream))
    scenarios = natural(world, SCALE_EPISODES, rng)
    uniforms = rng.random((world.horizon, len(scenarios)), np.float32)
    with _built(config, policy) as algorithm:
        return float(algorithm.play(scenarios, uniforms).advantages().std())


def _natural(world: World) -> ScenarioSource:
    return make_generator(world, GeneratorSettings(kind="natural"))


def _publish(folder: Folder, policy: TorchPolicy, log: _Log, measured: Sequence[Measured], battery: Battery) -> None:
    """Write what both kinds of unit have: weights, measures, training curve."""
    metadata = {"arm": log.unit.arm, "seed": log.unit.seed, "env_steps": log.env_steps}
    save_policy(folder.path / POLICY, policy, battery.world, metadata)
    rows = [
        (log.unit.arm, log.unit.seed, at.iteration, at.env_steps, metric, score, battery.num_scenarios[metric])
        for at in measured
        for metric, score in at.scores.items()
    ]
    folder.write_table("measures", dict(zip(MEASURES.names, zip(*rows, strict=True), strict=True)))
    length = len(log.columns["value"])
    keys = {"arm": [log.unit.arm] * length, "seed": [log.unit.seed] * length}
    folder.write_table("training", keys | log.columns)
