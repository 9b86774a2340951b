"""CMA-ES (Hansen 2016, *The CMA evolution strategy: a tutorial*), with a population of any size and a state of
plain JSON values.

Own implementation, because packages of it have a state that only a pickle can restore.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SPREAD = 0.25
"""Lower bound of the standard deviation in every direction, so that a search which found something still explores."""
MOST_SPREAD = 2.0
FARTHEST = 3.0
"""Bound of the mean in every direction: beyond it the relaxation saturates."""


class CMA:
    """A normal distribution over `d` numbers that moves to where scores are high. Starts as the standard normal.

    Args:
        num_dimensions: d >= 1.
    """

    def __init__(self, num_dimensions: int) -> None:
        d = self.d = num_dimensions
        self.mean = np.zeros(d)
        self.sigma = 1.0
        self.covariance = np.eye(d)
        self.path, self.step_path = np.zeros(d), np.zeros(d)
        self.generation = 0

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """`n` points, `(n, d)`."""
        return self.mean + self.sigma * rng.standard_normal((n, self.d)) @ self._root().T

    def update(self, points: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        """Learn from `points` `(n, d)` with these scores `(n,)`; higher is better.

        Equal scores get equal weight. If all are equal, nothing is learnt.
        """
        n, d = len(points), self.d
        if n < 2 or (scores == scores[0]).all():
            return
        weights = _weights(scores)
        mass = 1.0 / float((weights**2).sum())
        c_path = (4 + mass / d) / (d + 4 + 2 * mass / d)
        c_step = (mass + 2) / (d + mass + 5)
        c_one = 2 / ((d + 1.3) ** 2 + mass)
        c_rank = min(1 - c_one, 2 * (mass - 2 + 1 / mass) / ((d + 2) ** 2 + mass))
        damping = 1 + 2 * max(0.0, math.sqrt(max(0.0, (mass - 1) / (d + 1))) - 1) + c_step
        expected = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))

        self.generation += 1
        steps = (points - self.mean) / self.sigma
        step = weights @ steps
        self.mean = np.clip(self.mean + self.sigma * step, -FARTHEST, FARTHEST)
        whitened = np.linalg.solve(self._root(), step)
        self.step_path = (1 - c_step) * self.step_path + math.sqrt(c_step * (2 - c_step) * mass) * whitened
        length = float(np.linalg.norm(self.step_path))
        settled = length / math.sqrt(1 - (1 - c_step) ** (2 * self.generation)) < (1.4 + 2 / (d + 1)) * expected
        self.path = (1 - c_path) * self.path + settled * math.sqrt(c_path * (2 - c_path) * mass) * step
        rank_one = np.outer(self.path, self.path) + (not settled) * c_path * (2 - c_path) * self.covariance
        rank_many = (steps * weights[:, None]).T @ steps
        self.covariance = (1 - c_one - c_rank) * self.covariance + c_one * rank_one + c_rank * rank_many
        self.sigma *= math.exp(min(1.0, c_step / damping * (length / expected - 1)))
        self._bound()

    def get_state(self) -> dict[str, Any]:
        """The state, as plain JSON values."""
        return {
            "mean": self.mean.tolist(),
            "sigma": self.sigma,
            "covariance": self.covariance.tolist(),
            "path": self.path.tolist(),
            "step_path": self.step_path.tolist(),
            "generation": self.generation,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `get_state`; raises `ValueError` for another number of dimensions."""
        d = self.d
        self.mean, self.path, self.step_path = (
            np.array(state[name], np.float64).reshape(d) for name in ("mean", "path", "step_path")
        )
        self.covariance = np.array(state["covariance"], np.float64).reshape(d, d)
        self.sigma, self.generation = float(state["sigma"]), int(state["generation"])

    def _root(self) -> NDArray[np.float64]:
        """Symmetric square root of the covariance, `(d, d)`."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(values)) @ vectors.T

    def _bound(self) -> None:
        """Keep the standard deviation along every axis of the distribution within bounds; sigma becomes 1's share."""
        values, vectors = np.linalg.eigh((self.covariance + self.covariance.T) / 2)
        spread = np.clip(self.sigma * np.sqrt(np.maximum(values, 0.0)), LEAST_SPREAD, MOST_SPREAD)
        self.sigma = float(np.exp(np.log(spread).mean()))
        self.covariance = (vectors * (spread / self.sigma) ** 2) @ vectors.T


def _weights(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Recombination weights `(n,)` of sum 1: logarithmic in the rank, for the better half; ties share theirs."""
    n = len(scores)
    by_rank = np.maximum(0.0, math.log((n + 1) / 2) - np.log(np.arange(1, n + 1)))
    _, place, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    shared = np.bincount(place[np.argsort(-scores, kind="stable")], by_rank, len(counts)) / counts
    weights = shared[place]
    # Ties with the worst score get no weight: they carry no information on where to move.
    weights[scores == scores.min()] = 0.0
    return np.asarray(weights / weights.sum(), np.float64)
