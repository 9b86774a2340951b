"""Certificates off a policy's own trajectories: what it does once other actions than its own have begun the episode."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.exact.evaluation import Evaluator
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

MOST_OPENINGS = 1024
"""More forced openings than these are not tried."""


def openings(world: World, steps: int) -> NDArray[np.int64]:
    """All sequences of `steps` actions, `(A ** steps, steps)`.

    Raises:
        KerfError: for more than `MOST_OPENINGS`, or more steps than an episode has.
    """
    number = len(world.actions) ** steps
    if not 0 <= steps <= world.horizon or number > MOST_OPENINGS:
        raise KerfError(
            f"expected at most {MOST_OPENINGS} openings within {world.horizon} steps, got {steps} steps of "
            f"{len(world.actions)} actions"
        )
    return np.array(list(product(range(len(world.actions)), repeat=steps)), np.int64).reshape(number, steps)


def worst_after(
    policies: Mapping[Hashable, Policy], world: World, scenarios: Scenarios, event: str, steps: int
) -> dict[Hashable, NDArray[np.float64]]:
    """The largest probability of an event after any opening of forced actions in which it has not happened.

    Args:
        policies: Policies that go on after the opening, by any key.
        world: The world; it must be `kerf.lab.world.Enumerable`.
        scenarios: `(n, F)`.
        event: Name of the event.
        steps: Forced actions at the beginning; 0: the policies' own trajectories.

    Returns:
        For each policy `(n,)`, upper bounds: probability that the enumeration left out counts as if the event happened
        there. nan in a scenario in which every opening contains the event.

    Raises:
        KerfError: for an unknown event, a world that cannot be enumerated, or too many openings.
    """
    if event not in world.events:
        raise unknown_name("event", event, world.events)
    bit = np.uint64(1) << np.uint64(world.events.index(event))
    worst = {key: np.full(len(scenarios), np.nan) for key in policies}
    for actions in openings(world, steps):
        clean = np.flatnonzero(_events(world, scenarios, actions) & bit == 0)
        if not len(clean):
            continue
        forced = np.repeat(actions[:, None], len(clean), axis=1)
        evaluator = Evaluator(world, scenarios[clean], forced)
        for key, policy in policies.items():
            found = evaluator.run(policy)
            probability = np.minimum(found.probability(event) + found.dropped, 1.0)
            worst[key][clean] = np.fmax(worst[key][clean], probability)
    return worst


def _events(world: World, scenarios: Scenarios, actions: NDArray[np.int64]) -> NDArray[np.uint64]:
    """All events of the opening `actions` `(steps,)` in each of `scenarios`, as bit sets `(n,)`."""
    play, happened = world.begin(scenarios), np.zeros(len(scenarios), np.uint64)
    for action in actions:
        step = np.zeros(len(scenarios), np.uint64)
        play.step(np.full(len(scenarios), action, np.int64), step)
        happened |= step
    return happened
