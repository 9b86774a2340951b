"""Episodes of any world with any actions, for the conformance checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.rollout import Trajectories, unplayed
from kerf.lab.scenario import Scenarios
from kerf.lab.testing.checks import expect
from kerf.lab.world import World


@dataclass(frozen=True)
class Softened:
    """A policy that prefers the expert's action to the others.

    Attributes:
        world: The world with the expert.
        lead: Logit of its action; that of all others is 0. Infinity: no other is taken.
    """

    world: World
    lead: float = 2.0

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        certain = np.isinf(self.lead)
        logits = np.full((len(observations), len(self.world.actions)), -np.inf if certain else 0.0, np.float32)
        logits[np.arange(len(observations)), self.world.expert(observations)] = 0.0 if certain else self.lead
        return logits


def play(
    world: World,
    scenarios: Scenarios,
    actions: NDArray[np.int64],
    led: NDArray[np.bool_] | None = None,
) -> Trajectories:
    """Take `actions` `(T, n)` in `scenarios` `(n, F)`; the expert's instead where `led` `(T, n)`.

    Raises:
        AssertionError: if episodes end before the horizon.
    """
    played = unplayed(world, scenarios)
    played.logits[:] = 0.0
    played.actions[:] = actions
    batch = world.begin(scenarios)
    for t in range(world.horizon):
        batch.observe(played.observations[t])
        if led is not None:
            played.actions[t, led[t]] = world.expert(played.observations[t])[led[t]]
        try:
            batch.step(played.actions[t], played.events[t])
        except Exception as error:
            expect(False, f"an episode must last {world.horizon} steps, it ended after {t}: {error!r}")
    return played


def try_out(world: World, scenarios: Scenarios, rng: np.random.Generator) -> Trajectories:
    """Play `scenarios` `(n, F)` with a mixture of random and expert actions, whose share differs by episode."""
    shape = world.horizon, len(scenarios)
    share = rng.choice((0.0, 0.3, 0.7, 0.9, 1.0), len(scenarios))
    return play(world, scenarios, rng.integers(0, len(world.actions), shape), rng.random(shape) < share)


def first_seen(world: World, scenarios: Scenarios) -> NDArray[np.float32]:
    """The first observation of each scenario, `(n, D)`."""
    seen = np.empty((len(scenarios), len(world.observations)), np.float32)
    world.begin(scenarios).observe(seen)
    return seen
