"""`Trainer`: what turns a recipe into agents. Units, workers and schedulers call nothing else of a way of training.

There are two: PPO by RLlib (`kerf.runs.execution.ppo_trainer`) and exact gradients
(`kerf.runs.execution.exact_trainer`). A third one needs

1. a section of settings in `kerf.runs.recipe.model.Recipe` that says that it is meant, and settings of its own in
   `kerf.runs.recipe.arms.ResolvedArm.training`;
2. a module with a class that has the members of `Trainer`, and `make_trainer(recipe)` that makes one;
3. a line in `kerf.runs.execution.trainers.module_of`;
4. a policy that `kerf.agents.export` can write and read (`Exportable`), if it trains something else than a network.

It must be deterministic: the same recipe, arm and seed give the same weights and scores, with any number of threads
and whether or not it was stopped and went on from a checkpoint. Arms of one seed draw the same chance (they are
paired), so streams are named after the seed and not after the arm.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kerf.agents.export import Exportable, load_network
from kerf.lab.worlds import get_world
from kerf.runs.execution.measurements import Measurements
from kerf.runs.execution.training_log import Log, Progress
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.checkpoints import Checkpoints
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kerf.agents.network import TorchPolicy


@dataclass(frozen=True)
class TrainingRun:
    """One unit as it is trained: what a trainer reads from and reports to.

    Attributes:
        unit: Which.
        store: The study's folder, which holds what the unit needs.
        log: Counts iterations and steps, and takes in what training reports of itself.
        measured: Takes in policies to measure on the battery.
        num_threads: Threads that may be used; changes no record.
        checkpoints: Where to leave states to go on from; None: nowhere.
    """

    unit: Unit
    store: Store
    log: Log
    measured: Measurements
    num_threads: int = 1
    checkpoints: Checkpoints | None = None

    @property
    def seed(self) -> int:
        """The unit's seed."""
        return self.unit.seed

    def network(self, recipe: Recipe, arm: str = ALIGNED) -> TorchPolicy:
        """The network that the finished unit of `arm` and this seed left."""
        return load_network(self.store.path / Unit(arm, self.seed).name / POLICY, get_world(recipe.world))


@dataclass(frozen=True)
class Scales:
    """What was measured of an aligned agent for the arms to be trained with; None: this way of training needs none.

    Attributes:
        advantage: Standard deviation of its advantages: the divisor of `fixed` scaling.
        latent: What a latent radius is in units of; None also where no arm has one.
    """

    advantage: float | None = None
    latent: float | None = None


@dataclass(frozen=True)
class Aligned:
    """What training until alignment leaves: the policy, and its scales."""

    policy: Exportable
    scales: Scales = Scales()


@dataclass(frozen=True)
class Trained:
    """What training an arm leaves.

    Attributes:
        policy: The policy.
        penalty_counts: How many episodes were penalised at each step of each iteration, `(T,)` each; None where
            penalties are no whole episodes that could be counted.
    """

    policy: Exportable
    penalty_counts: Sequence[NDArray[np.int64]] | None = None


class Trainer(Protocol):
    """One way of training, made from a recipe (`kerf.runs.execution.trainers.trainer_of`).

    Both methods are Python generators: they yield `Progress` as they go, and return what came out.
    """

    keeps_checkpoints: bool
    """Whether it offers states to `TrainingRun.checkpoints`. A unit that does not begins anew if it is stopped."""

    def align(self, run: TrainingRun) -> Generator[Progress, None, Aligned]:
        """Train an agent of a seed from nothing until it should be aligned."""

    def train(self, arm: ResolvedArm, run: TrainingRun) -> Generator[Progress, None, Trained]:
        """Train an arm from where it starts: its seed's aligned agent, or the end of the arm that it comes after.

        `run.log.done` says how many iterations came before; the arm's own are `arm.iterations`. Every
        `recipe.measure_every` iterations and after the last one the policy goes to `run.measured.add`.
        """
