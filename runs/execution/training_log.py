"""Training log of a unit of work: its progress and its training metrics."""

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
    "sample": {
        "elicited", "score", "return_utility", "return_penalty", "penalised", "flagged", "frozen", "advantage_std",
    },
    "learn": {
        "loss", "policy_loss", "value_loss", "imitation_loss", "anchor_kl", "entropy", "kl", "clip_fraction",
        "grad_norm", "grad_clip_share", "latent_share", "latent_gain", "latent_norm", "probe_loss",
        "step_penalty", "step_utility", "step_critic", "step_all", "qf_loss", "qf_mean", "td_error_mean", "vf_loss",
    },
}  # fmt: skip
"""The numbers reported by algorithms on RLlib that are recorded, by part of training; a loss that is off is absent."""

_NUMBERS: Mapping[str, type] = {"iteration": np.int64, "env_steps": np.int64, "value": np.float64}
"""Numeric columns of the training records, with dtypes."""


@dataclass(frozen=True)
class Progress:
    """Progress of a unit.

    Attributes:
        unit: The unit.
        iteration: Number of training iterations done.
        iterations: Number of training iterations in all.
        env_steps: Environment steps so far; gradient steps for a trainer that plays no episodes.
        seconds: Seconds since the unit began, without the time between an interruption and the next try.
        note: A message for the user; empty if there is none.
    """

    unit: Unit
    iteration: int
    iterations: int
    env_steps: int
    seconds: float
    note: str = ""


class Log:
    """Counts training iterations and steps of a unit, and records its training metrics."""

    def __init__(self, unit: Unit, iterations: int) -> None:
        self.unit, self.iterations = unit, iterations
        self.done = self._earlier = 0
        self.env_steps = 0
        self.columns: dict[str, list[Any]] = {"iteration": [], "env_steps": [], "metric": [], "value": []}
        self._began = time.monotonic()

    def begin_at(self, done: int, env_steps: int) -> None:
        """Start counting from the iterations and environment steps of another unit."""
        self.done = self._earlier = done
        self.env_steps = env_steps

    def record(self, reports: Mapping[str, Mapping[str, Any]], env_steps: int) -> Progress:
        """Record the reports of one iteration of `env_steps` steps, by part of training.

        A NaN means that the number was not measured in this iteration; it is left out. Diverging training raises
        elsewhere.
        """
        self.done += 1
        self.env_steps += env_steps
        for part, report in reports.items():
            for name in sorted(name for name in report if not math.isnan(report[name])):
                row = (self.done, self.env_steps, training_metric(part, name), float(report[name]))
                for column, entry in zip(self.columns.values(), row, strict=True):
                    column.append(entry)
        return self.progress()

    def skip_to(self, done: int) -> None:
        """Count `done` iterations without training, as of an arm that stopped before."""
        self.done = done

    def value(self, metric: str, iteration: int) -> float:
        """Return what was recorded of `metric` at `iteration`; raises `KeyError` if nothing was."""
        rows = zip(self.columns["iteration"], self.columns["metric"], self.columns["value"], strict=True)
        for row in rows:
            if row[:2] == (iteration, metric):
                return float(row[2])
        raise KeyError(f"{self.unit.name}: no {metric} at iteration {iteration}")

    def progress(self, note: str = "") -> Progress:
        """Return the present progress of the unit."""
        seconds = time.monotonic() - self._began
        return Progress(self.unit, self.done - self._earlier, self.iterations, self.env_steps, seconds, note)

    def state(self) -> State:
        """Return the state for a checkpoint."""
        numbers: dict[str, NDArray[Any]] = {
            name: np.array(self.columns[name], dtype) for name, dtype in _NUMBERS.items()
        }
        counts = {"done": self.done, "env_steps": self.env_steps, "seconds": time.monotonic() - self._began}
        return numbers, {**counts, "metric": list(self.columns["metric"])}

    def load_state(self, numbers: Mapping[str, NDArray[Any]], plain: Mapping[str, Any]) -> None:
        """Restore a state that `state` returned."""
        self.columns |= {name: numbers[name].tolist() for name in _NUMBERS} | {"metric": list(plain["metric"])}
        self.done, self.env_steps = plain["done"], plain["env_steps"]
        self._began = time.monotonic() - plain["seconds"]
