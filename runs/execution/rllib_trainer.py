"""Trainer by the algorithms on RLlib (`kerf.agents.methods`), for worlds of any number of steps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.architectures import AnyNetworkPolicy, without_memory
from kerf.agents.averaging import averaged
from kerf.agents.building import Learning, build
from kerf.agents.config import KerfConfig
from kerf.agents.methods import METHODS
from kerf.agents.probe import ProbePenalty, fit_probe
from kerf.agents.settings import TrainingSettings
from kerf.agents.yoking import delayed
from kerf.generators.natural import NaturalSettings
from kerf.generators.registry import make_generator
from kerf.lab.grader import make_grader
from kerf.lab.seeds import entropy
from kerf.lab.source import ScenarioSource
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from kerf.runs.execution.measurements import measure_latent_scale
from kerf.runs.execution.stopping import Stopping
from kerf.runs.execution.trainer import Aligned, Scales, Trained, Trainer, TrainingRun
from kerf.runs.execution.training_log import REPORTED, Log, Progress
from kerf.runs.recipe.arms import ResolvedArm, before
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.penalty_counts import read_penalty_counts
from kerf.runs.records.store import ALIGNED, Store, Unit

if TYPE_CHECKING:
    from kerf.runs.records.checkpoints import Checkpoints, State

SCALE_EPISODES = 1024
"""Number of natural episodes on which the advantage scale of a seed is measured."""

DEFAULT_POLICY = "default_policy"
"""RLlib's name for the only policy."""


def make_trainer(recipe: Recipe) -> Trainer:
    """Return the trainer of a recipe that has no section for another trainer."""
    return OnRLlib(recipe)


class OnRLlib:
    """Trains by the algorithm that the recipe's training settings name (`kerf.runs.execution.trainer.Trainer`).

    Ray must be initialised if the recipe asks for remote env runners or learners.

    Args:
        recipe: The study's recipe.
    """

    keeps_checkpoints = True

    def __init__(self, recipe: Recipe) -> None:
        self._recipe, self._world = recipe, get_world(recipe.world)

    def align(self, run: TrainingRun, without: Sequence[str] = ()) -> Generator[Progress, None, Aligned]:
        """Train a network in the alignment phases, and measure the scales that its arms need."""
        scaled = METHODS[self._recipe.training.algorithm].scaled
        policy = yield from self.align_network(run.seed, run.log, run.num_threads, run.checkpoints, without=without)
        advantage = self._advantage_scale(policy, run.seed) if scaled else None
        scales = Scales(advantage, self._latent_scale(policy, run.seed))
        return Aligned(policy, scales)

    def align_network(
        self,
        seed: int,
        log: Log,
        num_threads: int = 1,
        checkpoints: Checkpoints | None = None,
        look: Callable[[Learning], None] | None = None,
        without: Sequence[str] = (),
    ) -> Generator[Progress, None, AnyNetworkPolicy]:
        """Train a network phase by phase on the natural stream; `look` gets the algorithm after each iteration.

        The families named in `without` are left out of the stream.
        """
        recipe, world = self._recipe, self._world
        method = METHODS[recipe.training.algorithm]
        policy: AnyNetworkPolicy | None = None
        saved = yield from _resumed(log, checkpoints)
        begun = saved["phase"][1]["index"] if saved else 0
        for index, (name, phase) in enumerate(recipe.align.phases):
            if index < begun:
                continue
            config = KerfConfig().kerf(
                world=recipe.world,
                source=_natural_stream(world, without),
                seed=entropy(seed, f"align {name}"),
                network=recipe.network,
                training=phase.training.model_copy(update={"algorithm": method.aligned_by}),
                num_threads=num_threads,
            )
            with _algorithm_of(config, policy) as algorithm:
                if saved and index == begun:
                    algorithm.load_training_state(*saved["algorithm"])
                while algorithm.num_iterations < phase.iterations:
                    progress = log.record(_reports(algorithm.train()), phase.training.num_scenarios * world.horizon)
                    if look is not None:
                        look(algorithm)
                    if checkpoints is not None and algorithm.num_iterations < phase.iterations:
                        checkpoints.offer(
                            log.done, partial(_checkpoint_state, log, algorithm, phase=({}, {"index": index}))
                        )
                    yield progress
                policy = algorithm.policy()
        assert policy is not None  # there are always two phases, even if they have no iterations
        return policy

    def train(self, arm: ResolvedArm, run: TrainingRun) -> Generator[Progress, None, Trained]:
        """Train one arm from the aligned agent or the final agent of another arm, with measurements during training."""
        recipe, log, checkpoints = self._recipe, run.log, run.checkpoints
        aligned = run.network(recipe)
        policy = aligned if arm.after is None else run.network(recipe, arm.after)
        config = self.arm_config(arm, run.seed, aligned, run.store, run.num_threads)
        end = log.done + arm.iterations
        env_steps = arm.trained_by(TrainingSettings).num_scenarios * self._world.horizon
        penalty_counts = list[NDArray[np.int64]]()
        stopping = Stopping(arm, log)

        def state() -> Mapping[str, State]:
            counts = {"penalty_counts": np.stack(penalty_counts)}
            return _checkpoint_state(log, algorithm, measured=run.measured.state(), penalty_counts=(counts, {}))

        saved = yield from _resumed(log, checkpoints)
        with _algorithm_of(config, policy) as algorithm:
            if saved:
                algorithm.load_training_state(*saved["algorithm"])
                penalty_counts = list(saved["penalty_counts"][0]["penalty_counts"])
                run.measured.load_state(saved["measured"][1])
            while log.done < end and stopping.now() is None:
                progress = log.record(_reports(algorithm.train()), env_steps)
                penalty_counts.append(algorithm.penalty_counts)
                is_last = log.done == end or stopping.now() is not None
                if log.done % recipe.measure_every == 0 or is_last:
                    policy = averaged(aligned, algorithm.policy(), arm.weight_average, self._world)
                    run.measured.add(policy)
                if checkpoints is not None and not is_last:
                    checkpoints.offer(log.done, state)
                yield progress
        stopped = stopping.now()
        if stopped is not None and log.done < end:
            yield run.end(stopped, end)
        return Trained(policy, penalty_counts, stopped)

    def arm_config(
        self, arm: ResolvedArm, seed: int, aligned: AnyNetworkPolicy, store: Store, num_threads: int = 1
    ) -> KerfConfig:
        """Return the RLlib configuration of an arm.

        Arms of a seed with the same number of arms before them (`after`) have the same random stream: they are paired.
        """
        recipe = self._recipe
        earlier = len(before(recipe.resolve(), arm.name))
        measured = store.read_json(Unit(ALIGNED, seed), "gate")
        penalty_counts = None
        if arm.yoked_to is not None and arm.signed_penalty:
            penalty_counts = delayed(
                read_penalty_counts(store, Unit(arm.yoked_to, seed), arm.iterations, self._world.horizon),
                arm.yoked_delay,
            )
        return KerfConfig().kerf(
            world=recipe.world,
            source=make_generator(self._world, arm.generator, arm.adversarial_share),
            seed=entropy(seed, f"arms after {earlier}" if earlier else "arms"),
            network=recipe.network,
            training=arm.trained_by(TrainingSettings),
            grader=make_grader(arm.grader, arm.strength),
            penalty=arm.penalty,
            penalty_sign=arm.penalty_sign,
            penalty_counts=penalty_counts,
            yoked_event=None if penalty_counts is None else arm.yoked_event,
            oversight=arm.feedback,
            penalty_iterations=arm.penalty_iterations,
            screened=arm.screened,
            frozen_by=arm.frozen_by,
            plasticity=arm.learning_rate,
            penalty_units=arm.penalty_units,
            probe=self._probe(arm, seed, aligned),
            shaping=arm.shaping,
            design=recipe.paid_by(arm),
            anchor=aligned.weights(),
            advantage_scale=measured["advantage_scale"],
            latent_scale=measured["latent_scale"],
            objective=arm.objective,
            num_threads=num_threads,
        )

    def _probe(self, arm: ResolvedArm, seed: int, aligned: AnyNetworkPolicy) -> ProbePenalty | None:
        """Fit the probe that the arm is penalised for, if it is; that of a seed and strength is the same for all."""
        if not arm.probe:
            return None
        rng = np.random.default_rng(np.random.SeedSequence(entropy(seed, "probe")))
        return ProbePenalty(fit_probe(without_memory(aligned, "probe"), self._world, arm.strength, rng), arm.probe)

    def _advantage_scale(self, policy: AnyNetworkPolicy, seed: int) -> float:
        """Measure the standard deviation of the advantages of `policy` on the natural stream, for `fixed` scaling."""
        recipe, world = self._recipe, self._world
        training = recipe.training.model_copy(
            update={"advantage_scaling": "none", "anchor_coeff": 0.0, "latent_radius": 0.0}
        )
        stream = entropy(seed, "advantage scale")
        config = KerfConfig().kerf(
            world=recipe.world, source=_natural_stream(world), seed=stream, network=recipe.network, training=training
        )
        rng = np.random.default_rng(np.random.SeedSequence(stream))
        scenarios = natural(world, SCALE_EPISODES, rng)
        uniforms = rng.random((world.horizon, len(scenarios)), np.float32)
        with _algorithm_of(config, policy) as algorithm:
            assert isinstance(algorithm, KerfAlgorithm), "the only one that scales advantages"
            return float(algorithm.play(scenarios, uniforms).advantages().std())

    def _latent_scale(self, policy: AnyNetworkPolicy, seed: int) -> float | None:
        """Measure the latent scale for the arms of `seed`; None if none of them has a latent adversary."""
        arms = self._recipe.resolve().values()
        if not any(arm.trained_by(TrainingSettings).latent_radius > 0 for arm in arms):
            return None
        return measure_latent_scale(self._world, policy, seed)


def _reports(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Select the numbers of one `train()` result that are recorded, by the part of training that reports them.

    There are none of the learner's where all episodes were screened.
    """
    reports = {"sample": result["env_runners"], "learn": result.get("learners", {}).get(DEFAULT_POLICY, {})}
    return {part: {name: report[name] for name in REPORTED[part] & set(report)} for part, report in reports.items()}


@contextmanager
def _algorithm_of(config: KerfConfig, policy: AnyNetworkPolicy | None) -> Iterator[Learning]:
    """Build the algorithm of `config` with the weights of `policy` (None: initial weights); stop it at the end."""
    algorithm = build(config)
    try:
        if policy is not None:
            algorithm.load_weights(policy.weights())
        yield algorithm
    finally:
        algorithm.stop()


def _resumed(log: Log, checkpoints: Checkpoints | None) -> Generator[Progress, None, Mapping[str, State] | None]:
    """Load the unit's latest checkpoint, if there is one, and restore the log from it."""
    saved = checkpoints.newest() if checkpoints is not None else None
    if saved is not None:
        log.load_state(*saved["log"])
    if checkpoints is not None and checkpoints.notes:
        yield log.progress("; ".join(checkpoints.notes))
    return saved


def _checkpoint_state(log: Log, algorithm: Learning, **others: State) -> Mapping[str, State]:
    return {"log": log.state(), "algorithm": algorithm.training_state(), **others}


def _natural_stream(world: World, without: Sequence[str] = ()) -> ScenarioSource:
    return make_generator(world, NaturalSettings(kind="natural", without=tuple(without)))
