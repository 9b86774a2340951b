"""Trainer by exact gradients: sums over all situations of a one-step world."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

import numpy as np
import torch

from kerf.agents.architectures import without_memory
from kerf.agents.averaging import averaged
from kerf.agents.exact import AnyPolicy, ExactTrainer
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import ExactSettings
from kerf.agents.shaping import random_potential
from kerf.agents.tabular import Situations, TablePolicy
from kerf.generators.registry import make_generator
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.grader import make_grader
from kerf.lab.metrics import training_metric
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.seeds import entropy
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.execution.stopping import Stopping
from kerf.runs.execution.trainer import Aligned, Trained, Trainer, TrainingRun
from kerf.runs.execution.training_log import Progress
from kerf.runs.recipe.arm_kinds import Agent
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.exact_settings import ExactTraining
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.schema import TRAINING
from kerf.runs.records.store import Store, Unit

PENALISED = "penalised"
"""Name of a training number: the share of episodes that are penalised."""

SAMPLE = {"elicited", "return_utility", "return_penalty", PENALISED}
"""Training numbers recorded under `sample`, as for PPO; all others are recorded under `learn`."""

START: Mapping[Agent, Callable[[TorchPolicy, World], AnyPolicy]] = {
    "network": lambda aligned, world: aligned,
    "table": TablePolicy.copy_of,
}
"""The initial policy of an arm, by the kind of policy that it trains."""


def make_trainer(recipe: Recipe) -> Trainer:
    """Return the trainer of a recipe that has the section `exact`."""
    assert recipe.exact is not None
    return ExactGradients(recipe, recipe.exact)


class ExactGradients:
    """Trains by exact gradients (`kerf.runs.execution.trainer.Trainer`).

    Args:
        recipe: The study's recipe.
        exact: The recipe's section `exact`.
    """

    keeps_checkpoints = False  # a whole arm takes seconds

    def __init__(self, recipe: Recipe, exact: ExactTraining) -> None:
        self._recipe, self._exact, self._world = recipe, exact, get_world(recipe.world)

    def align(self, run: TrainingRun, without: Sequence[str] = ()) -> Generator[Progress, None, Aligned]:
        """Train a network in the alignment phases of `exact`."""
        recipe, world = self._recipe, self._world
        weights = int(np.random.SeedSequence(entropy(run.seed, "weights")).generate_state(1, np.uint64)[0])
        generator = torch.Generator().manual_seed(weights)
        network = PolicyNetwork(len(world.observations), len(world.actions), recipe.network, generator)
        policy: AnyPolicy = TorchPolicy(network)
        for _, phase in self._exact.phases:
            trainer = ExactTrainer(world, policy, Mix(without=tuple(without)), RewardSpec(), phase.training)
            for done in range(1, phase.iterations + 1):
                progress = run.log.record(_iteration(trainer, phase.training), phase.training.steps_per_iteration)
                if done % recipe.measure_every == 0 or done == phase.iterations:
                    yield progress
            policy = trainer.policy()
        return Aligned(policy)

    def train(self, arm: ResolvedArm, run: TrainingRun) -> Generator[Progress, None, Trained]:
        """Train one arm from its seed's aligned agent, with measurements during training."""
        settings, log = arm.trained_by(ExactSettings), run.log
        penalty_rates = None
        if arm.yoked_to is not None and arm.signed_penalty:
            penalty_rates = _penalty_rates(run.store, Unit(arm.yoked_to, run.seed), arm.iterations)
        first, last = arm.penalty_iterations
        aligned = without_memory(run.network(self._recipe), "exact")
        stopping = Stopping(arm, log)
        start = START[arm.agent](aligned, self._world)
        policy = start
        trainer = self._gradients(arm, run.seed, aligned, start)
        while log.done < arm.iterations and stopping.now() is None:
            penalty_rate = None if penalty_rates is None else penalty_rates[log.done]
            if not first <= log.done + 1 <= last:
                penalty_rate = 0.0
            progress = log.record(_iteration(trainer, settings, penalty_rate), settings.steps_per_iteration)
            is_last = log.done == arm.iterations or stopping.now() is not None
            if log.done % self._recipe.measure_every == 0 or is_last:
                policy = averaged(start, trainer.policy(), arm.weight_average, self._world)
                run.measured.add(policy)
                yield progress
        stopped = stopping.now()
        if stopped is not None and log.done < arm.iterations:
            yield run.end(stopped, arm.iterations)
        return Trained(policy, stopped=stopped)

    def _gradients(self, arm: ResolvedArm, seed: int, aligned: TorchPolicy, start: AnyPolicy) -> ExactTrainer:
        """Return the trainer for an arm of the aligned agent `aligned` that starts from `start`."""
        world = self._world
        mix = make_generator(world, arm.generator, arm.adversarial_share).mix()
        assert mix is not None  # `check_exact` has refused other recipes
        offset = None
        if arm.shaping:  # gamma Phi - Phi(o) in a single step, after which Phi is 0
            rng = np.random.default_rng(np.random.SeedSequence(entropy(seed, "potential")))
            offset = -random_potential(world, arm.shaping, rng)(Situations(world).observations)
        return ExactTrainer(
            world,
            start,
            mix,
            RewardSpec(
                self._recipe.paid_by(arm),
                make_grader(arm.grader, arm.strength),
                arm.signed_penalty,
                oversight=arm.feedback,
            ),
            arm.trained_by(ExactSettings),
            anchor=aligned,
            offset=offset,
            yoked_event=arm.yoked_event,
        )


def _iteration(
    trainer: ExactTrainer, settings: ExactSettings, penalty_rate: float | None = None
) -> dict[str, dict[str, float]]:
    """Run one iteration; return the means of the numbers that its steps report, by part of the records."""
    reports = [trainer.step(penalty_rate) for _ in range(settings.steps_per_iteration)]
    means = {name: sum(report[name] for report in reports) / len(reports) for name in reports[0]}
    return {
        "sample": {name: mean for name, mean in means.items() if name in SAMPLE},
        "learn": {name: mean for name, mean in means.items() if name not in SAMPLE},
    }


def _penalty_rates(store: Store, partner: Unit, iterations: int) -> list[float]:
    """Read the share of penalised episodes in each iteration of a finished cell.

    Raises:
        KerfError: if its records do not contain it.
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(store.path / partner.name / "training.parquet", schema=TRAINING).to_pylist()
    penalised = training_metric("sample", PENALISED)
    shares = {row["iteration"]: float(row["value"]) for row in rows if row["metric"] == penalised}
    if sorted(shares) != list(range(1, iterations + 1)):
        raise KerfError(f"{partner.name}: its records lack the penalties of some of its {iterations} iterations")
    return [shares[iteration] for iteration in range(1, iterations + 1)]
