"""Potential-based shaping: a change of reward that changes no optimal policy.

With F_t = gamma Phi(o_{t+1}) - Phi(o_t), and Phi = 0 once the episode is over, the discounted sum of F over an episode
is -Phi(o_0), whatever was done (Ng, Harada and Russell 1999, theorem 1; Grzes 2017 for the end of an episode).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import World, natural

SCALE_EPISODES = 1024
"""Natural episodes over whose steps a potential's standard deviation is measured."""


@dataclass(frozen=True)
class Potential:
    """Phi(o) = (o - centre) . weights, in units of utility.

    Attributes:
        weights: `(D,)` float64.
        centre: `(D,)` float64.
    """

    weights: NDArray[np.float64]
    centre: NDArray[np.float64]

    def __call__(self, observations: NDArray[np.float32]) -> NDArray[np.float64]:
        """Phi of observations `(..., D)`, shape `(...)`."""
        # einsum and not BLAS, whose sums may depend on the number of rows
        potentials: NDArray[np.float64] = np.einsum("...d,d->...", observations - self.centre, self.weights)
        return potentials


def random_potential(world: World, size: float, rng: np.random.Generator) -> Potential:
    """A random direction in the space of observations, as a potential.

    Its mean is 0 and its standard deviation `size` over all steps of `SCALE_EPISODES` natural episodes in which the
    world's expert acts: so it depends on no agent and on no arm.

    Args:
        world: The world whose observations it maps.
        size: Standard deviation > 0, in units of utility.
        rng: Draws the direction (standard normal), the scenarios and the actions in them.

    Raises:
        KerfError: if the observations never differ.
    """
    weights = rng.standard_normal(len(world.observations))
    played = rollout(ExpertPolicy(world), world, natural(world, SCALE_EPISODES, rng), rng)
    centre = played.observations.mean(axis=(0, 1), dtype=np.float64)
    spread = float(Potential(weights, centre)(played.observations).std())
    if spread == 0.0:
        raise KerfError(f"shaping: the observations of {world.name} never differ, so no potential can")
    return Potential(weights * (size / spread), centre)


def shaping(potentials: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    """Shaping reward of each step, `(T, n)`.

    Args:
        potentials: `(T, n)`, Phi of the observation before each step of whole episodes.
        gamma: Discount of the returns: with any other, optima may change.
    """
    added = -potentials
    added[:-1] += gamma * potentials[1:]
    return added
