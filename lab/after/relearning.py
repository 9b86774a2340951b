"""Savings in relearning: how much faster a policy learns a behaviour that it, or its trunk, once had.

A curve that does not reach the level within its iterations is censored: the number needed is known only to be larger.
Censored curves are never dropped. Savings are bounded by what is known, and means are restricted means, as in survival
analysis (Royston and Parmar 2013): every curve counts with `min(needed, iterations)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kerf.lab.errors import KerfError


@dataclass(frozen=True)
class Needed:
    """Iterations needed to reach a level.

    Attributes:
        iterations: The number, interpolated linearly between two measurements; if censored, the iterations trained.
        censored: Whether the level was not reached.
    """

    iterations: float
    censored: bool = False

    def __str__(self) -> str:
        return f"{'>' if self.censored else ''}{self.iterations:.3g}"


def needed(iterations: ArrayLike, scores: ArrayLike, level: float) -> Needed:
    """When a learning curve first reaches `level`.

    Args:
        iterations: `(m,)`, ascending, of the measurements.
        scores: `(m,)`, finite.
        level: The score to reach.

    Raises:
        KerfError: no measurement, other shapes, or scores that are not finite.
    """
    at, score = np.asarray(iterations, np.float64), np.asarray(scores, np.float64)
    if at.ndim != 1 or at.shape != score.shape or not len(at) or not np.isfinite(score).all():
        raise KerfError(f"a learning curve needs as many finite scores as iterations, got {score} at {at}")
    above = np.flatnonzero(score >= level)
    if not len(above):
        return Needed(float(at[-1]), censored=True)
    first = int(above[0])
    if first == 0:
        return Needed(float(at[0]))
    share = (level - score[first - 1]) / (score[first] - score[first - 1])
    return Needed(float(at[first - 1] + share * (at[first] - at[first - 1])))


def savings(again: Needed, original: Needed) -> tuple[float, float] | None:
    """Bounds on `1 - n_again / n_original` (Ebbinghaus 1885); equal where both numbers are known.

    None where nothing had to be learnt originally, so that nothing can be saved.
    """
    if original.iterations <= 0.0:
        return None
    ratio = again.iterations / original.iterations
    low = -math.inf if again.censored else 1.0 - ratio
    high = 1.0 if original.censored else 1.0 - ratio
    return (low, high)


def share_saved(again: Needed, original: Needed, iterations: float) -> float:
    """Difference of the restricted numbers over the iterations trained, in [-1, 1]: positive if relearning is faster.

    Known for every pair of curves, censored or not; 0 if both are censored.
    """
    return (min(original.iterations, iterations) - min(again.iterations, iterations)) / iterations


def restricted_savings(again: Sequence[Needed], original: Sequence[Needed]) -> float:
    """`1 - mean(n_again) / mean(n_original)` of restricted numbers, over seeds; nan where nothing had to be learnt."""
    mean = float(np.mean([one.iterations for one in original]))
    return 1.0 - float(np.mean([one.iterations for one in again])) / mean if mean > 0.0 else math.nan
