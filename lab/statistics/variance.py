"""Variance components of effects that were measured for every seed on every one of several batteries (crossed).

The model is the two-way random one without replication (Searle, Casella and McCulloch 1992, chapter 4): an effect is a
mean, what its seed adds, what its battery adds, and a residual of that seed on that battery, all independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Components", "variance_components"]


@dataclass(frozen=True)
class Components:
    """Variances of the parts of an effect, each >= 0, in the unit of the effects squared.

    Attributes:
        seed: Between seeds, whatever the battery.
        probe: Between batteries, the same for all seeds: more seeds do not average it out.
        residual: Of a seed on a battery, beyond the two.
    """

    seed: float
    probe: float
    residual: float

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the effects over seeds on an endless battery."""
        return math.sqrt(self.seed)

    @property
    def probe_sd(self) -> float:
        """Standard deviation of one seed's effect over batteries: its error from the draw of the probes."""
        return math.sqrt(self.probe + self.residual)


def variance_components(effects: ArrayLike) -> Components:
    """The components, from mean squares (the analysis of variance); an estimate below 0 counts as 0.

    Args:
        effects: `(B, S)`: of S seeds on B batteries, the same batteries for all; both >= 2.

    Raises:
        ValueError: another shape, or NaN or infinity among them.
    """
    values = np.asarray(effects, np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(f"expected finite effects of shape (B, S), two or more each way, got {values.tolist()}")
    num_batteries, num_seeds = values.shape
    by_battery, by_seed = values.mean(axis=1), values.mean(axis=0)
    residuals = values - by_battery[:, None] - by_seed + values.mean()
    residual = float(np.square(residuals).sum()) / ((num_batteries - 1) * (num_seeds - 1))
    return Components(
        seed=max(0.0, float(by_seed.var(ddof=1)) - residual / num_batteries),
        probe=max(0.0, float(by_battery.var(ddof=1)) - residual / num_seeds),
        residual=residual,
    )
