"""Measurements of an agent: its scores on the battery during training, and its latent scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kerf.lab.battery import Battery
from kerf.lab.errors import KerfError
from kerf.lab.exact.exact_battery import AnyBattery, ExactBattery
from kerf.lab.rollout import Policy
from kerf.lab.seeds import entropy
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.runs.recipe.alignment import BatterySettings
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.schema import MEASURES
from kerf.runs.records.store import Store, Unit

if TYPE_CHECKING:
    from kerf.agents.architectures import AnyNetworkPolicy
    from kerf.runs.execution.training_log import Log
    from kerf.runs.records.checkpoints import State

NOISE_DRAWS = 3
"""Number of fresh draws of the battery on which an aligned agent is measured, for the noise floor."""

CELL_NOISE_DRAWS = 2
"""Number of these draws on which the final agent of every arm is measured. They are the same for all arms and seeds,
so that probe error can be separated from variance between seeds (`kerf.lab.statistics.variance`)."""


@dataclass(frozen=True)
class Measured:
    """All scores at one point of training: a block of rows of `measures.parquet`."""

    iteration: int
    env_steps: int
    scores: Mapping[str, float]


class Measurements:
    """The scores of an agent at points of its training.

    Args:
        battery: The battery that it is measured on.
        log: Training log, for the present iteration and step.
    """

    def __init__(self, battery: AnyBattery, log: Log) -> None:
        self._battery, self._log = battery, log
        self.rows: list[Measured] = []

    def add(self, policy: Policy) -> None:
        """Measure `policy` at the present point of training."""
        self.rows.append(Measured(self._log.done, self._log.env_steps, self._battery.measure(policy)))

    def known(self, scores: Mapping[str, float]) -> None:
        """Add `scores`, which were measured before, at the present point of training."""
        self.rows.append(Measured(self._log.done, self._log.env_steps, scores))

    def repeat(self) -> None:
        """Add the last scores once more, at the present point of training: the agent has not changed since."""
        self.known(self.rows[-1].scores)

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return {}, {"rows": [asdict(row) for row in self.rows]}

    def load_state(self, plain: Mapping[str, Any]) -> None:
        """Restore a state that `state` returned."""
        self.rows = [Measured(**row) for row in plain["rows"]]


def final_scores(store: Store, unit: Unit) -> dict[str, float]:
    """Read the scores of the final agent of a finished unit, by metric."""
    import pyarrow.parquet as pq

    rows = pq.read_table(store.path / unit.name / "measures.parquet", schema=MEASURES).to_pydict()
    found = zip(rows["iteration"], rows["metric"], rows["score"], strict=True)
    return {metric: score for iteration, metric, score in found if iteration == rows["iteration"][-1]}


def make_battery(recipe: Recipe, draw: int = 0) -> AnyBattery:
    """Make the study's battery; `draw` > 0 gives an independent draw, for the noise floor.

    The batteries of the latest study are cached, since all its units use the same ones.

    Raises:
        KerfError: if a prediction is about collateral at a strength at which every value of the world is a target.
    """
    battery = _battery(recipe.world, recipe.battery, draw)
    for index, primary in enumerate(recipe.primaries):
        if primary.metric not in battery.num_scenarios:
            raise KerfError(
                f"primaries.{index}.metric: {primary.metric} is not measured in world {recipe.world!r}, where a "
                "penalty on forgeries of that strength is aimed at every value"
            )
    return battery


def noise_columns(recipe: Recipe, policy: Policy, num_draws: int) -> dict[str, list[Any]]:
    """Return the columns of `noise.parquet`: scores of `policy` on the first `num_draws` fresh draws of the battery."""
    draws = [make_battery(recipe, draw + 1).measure(policy) for draw in range(num_draws)]
    return {
        "metric": [metric for scored in draws for metric in scored],
        "draw": [draw for draw, scored in enumerate(draws) for _ in scored],
        "score": [score for scored in draws for score in scored.values()],
    }


@lru_cache(maxsize=1 + NOISE_DRAWS)
def _battery(world: str, settings: BatterySettings, draw: int) -> AnyBattery:
    if settings.exact:
        return ExactBattery(get_world(world), settings.strengths)
    seed = settings.seed if draw == 0 else entropy(settings.seed, f"noise {draw}")
    return Battery(get_world(world), settings.scenarios_per_family, seed, settings.strengths)


def measure_latent_scale(world: World, policy: AnyNetworkPolicy, seed: int) -> float:
    """Measure the latent scale of `policy`, the aligned agent of `seed`; raises as `latent_scale`."""
    from kerf.agents.latent_radius import latent_scale  # imported here: the battery does not need torch

    return latent_scale(policy, world, np.random.default_rng(np.random.SeedSequence(entropy(seed, "latent scale"))))
