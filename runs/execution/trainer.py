"""Trainer protocol: the interface between units of work and a way of training.

There are two trainers: algorithms on RLlib (`kerf.runs.execution.rllib_trainer`) and exact gradients
(`kerf.runs.execution.exact_trainer`). Another one needs

1. a section of settings in `kerf.runs.recipe.model.Recipe` that selects it, and a settings class of its own in
   `kerf.runs.recipe.arms.ResolvedArm.training`;
2. a module with a class that implements `Trainer`, and a function `make_trainer(recipe)` that returns one;
3. a line in `kerf.runs.execution.trainers.module_of`;
4. a policy that `kerf.agents.export` can write and read (`Exportable`), if it trains something other than a network.

It must be deterministic: the same recipe, arm and seed give the same weights and scores, with any number of threads
and whether or not it was resumed from a checkpoint. Arms of one seed use common random numbers (they are paired), so
random streams are named after the seed and not after the arm.

Another learning algorithm on RLlib needs no trainer, but a line in `kerf.agents.methods.METHODS` and a module with
`build`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kerf.agents.export import Exportable, load_network
from kerf.lab.worlds import get_world
from kerf.runs.execution.measurements import Measurements
from kerf.runs.execution.stopping import Stopped
from kerf.runs.execution.training_log import Log, Progress
from kerf.runs.recipe.arms import ResolvedArm
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.checkpoints import Checkpoints
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kerf.agents.architectures import AnyNetworkPolicy


@dataclass(frozen=True)
class TrainingRun:
    """Context of the training of one unit: what a trainer reads from and reports to.

    Attributes:
        unit: The unit.
        store: The study's folder, with the finished units that this one needs.
        log: Counts iterations and steps, and records training numbers.
        measured: Measures policies on the battery.
        num_threads: Number of threads that may be used; does not affect the records.
        checkpoints: Checkpoints of the unit; None: none are kept.
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

    def network(self, recipe: Recipe, arm: str = ALIGNED) -> AnyNetworkPolicy:
        """Load the final network of the finished unit of `arm` and this seed."""
        return load_network(self.store.path / Unit(arm, self.seed).name / POLICY, get_world(recipe.world))

    def end(self, stopped: Stopped, done: int) -> Progress:
        """Count all `done` iterations of an arm that `stopped` early, and repeat its measures there."""
        self.log.skip_to(done)
        self.measured.repeat()
        return self.log.progress(
            f"stopped at iteration {stopped.iteration}, with {stopped.suppression:.0%} of what is penalised suppressed"
        )


@dataclass(frozen=True)
class Scales:
    """Scales measured on an aligned agent for the training of its arms; None where the trainer needs none.

    Attributes:
        advantage: Standard deviation of its advantages: the divisor of `fixed` scaling.
        latent: Unit of latent radii; None also if no arm has one.
    """

    advantage: float | None = None
    latent: float | None = None


@dataclass(frozen=True)
class Aligned:
    """Result of alignment: the policy and its scales."""

    policy: Exportable
    scales: Scales = Scales()


@dataclass(frozen=True)
class Trained:
    """Result of the training of an arm.

    Attributes:
        policy: The final policy.
        penalty_counts: For each iteration, the number of episodes penalised at each step, `(T,)`; None if training
            plays no episodes that could be counted.
        stopped: Where it stopped early; None if it did not.
    """

    policy: Exportable
    penalty_counts: Sequence[NDArray[np.int64]] | None = None
    stopped: Stopped | None = None


class Trainer(Protocol):
    """A way of training, made from a recipe (`kerf.runs.execution.trainers.trainer_of`).

    Both methods are Python generators that yield `Progress` and return the result.
    """

    keeps_checkpoints: bool
    """Whether it writes to `TrainingRun.checkpoints`. If not, a unit that is stopped starts again from scratch."""

    def align(self, run: TrainingRun, without: Sequence[str] = ()) -> Generator[Progress, None, Aligned]:
        """Train an agent of a seed from scratch for alignment, on the natural stream less the families `without`."""

    def train(self, arm: ResolvedArm, run: TrainingRun) -> Generator[Progress, None, Trained]:
        """Train an arm from its seed's aligned agent, or from the final agent of the arm that it comes after.

        `run.log.done` is the number of iterations before this arm, `arm.iterations` the number to train. The policy
        must be passed to `run.measured.add` every `recipe.measure_every` iterations and after the last one. An arm that
        stops early (`kerf.runs.execution.stopping`) is measured there, and counts its other iterations as done.
        """
