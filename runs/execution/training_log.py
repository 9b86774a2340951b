"""Training log of a unit of work: how far it is, and the metrics of training on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.lab.metrics import training_metric
from kerf.runs.records.checkpoints import State
from kerf.runs.records.store import Unit

REPORTED = {
    "sample": {"elicited", "score", "return_utility", "return_penalty", "penalised", "advantage_std"},
    "learn": {
        "loss", "policy_loss", "value_loss", "imitation_loss", "anchor_kl", "entropy", "kl", "clip_fraction",
        "grad_norm", "grad_clip_share", "latent_share", "latent_gain", "latent_norm",
        "step_penalty", "step_utility", "step_critic", "step_all",
    },
}  # fmt: skip
"""What goes into the training records of what PPO reports; a loss that is off is absent."""

_NUMBERS: Mapping[str, type] = {"iteration": np.int64, "env_steps": np.int64, "value": np.float64}
"""The columns of the training records that hold numbers."""


@dataclass(frozen=True)
class Progress:
    """How far a unit is.

    Attributes:
        unit: Which.
        iteration: Training iterations done, of `iterations`.
        env_steps: Steps of training played so far; gradient steps, where nothing is played.
        seconds: Since the unit began, not counting the time between a kill and the next try.
        note: What should be known besides; empty for nothing.
    """

    unit: Unit
    iteration: int
    iterations: int
    env_steps: int
    seconds: float
    note: str = ""


class Log:
    """Counts what was trained and keeps what training reported of it."""

    def __init__(self, unit: Unit, iterations: int) -> None:
        self.unit, self.iterations = unit, iterations
        self.done = self._earlier = 0
        self.env_steps = 0
        self.columns: dict[str, list[Any]] = {"iteration": [], "env_steps": [], "metric": [], "value": []}
        self._began = time.monotonic()

    def begin_at(self, done: int, env_steps: int) -> None:
        """Count on from so many iterations and environment steps, which another unit did."""
        self.done = self._earlier = done
        self.env_steps = env_steps

    def record(self, reports: Mapping[str, Mapping[str, Any]], env_steps: int) -> Progress:
        """Take in what one iteration of `env_steps` steps reports, by the part of training that reports it.

        A figure that is NaN was not measured in this iteration and is left out; training that diverges raises instead.
        """
        self.done += 1
        self.env_steps += env_steps
        for part, report in reports.items():
            for name in sorted(name for name in report if not math.isnan(report[name])):
                row = (self.done, self.env_steps, training_metric(part, name), float(report[name]))
                for column, entry in zip(self.columns.values(), row, strict=True):
                    column.append(entry)
        return self.progress()

    def progress(self, note: str = "") -> Progress:
        """How far the unit is now."""
        seconds = time.monotonic() - self._began
        return Progress(self.unit, self.done - self._earlier, self.iterations, self.env_steps, seconds, note)

    def state(self) -> State:
        """All of it, for a checkpoint."""
        numbers: dict[str, NDArray[Any]] = {
            name: np.array(self.columns[name], dtype) for name, dtype in _NUMBERS.items()
        }
        counts = {"done": self.done, "env_steps": self.env_steps, "seconds": time.monotonic() - self._began}
        return numbers, {**counts, "metric": list(self.columns["metric"])}

    def load_state(self, numbers: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.columns |= {name: numbers[name].tolist() for name in _NUMBERS} | {"metric": list(plain["metric"])}
        self.done, self.env_steps = plain["done"], plain["env_steps"]
        self._began = time.monotonic() - plain["seconds"]
