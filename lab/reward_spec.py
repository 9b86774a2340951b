"""Training objective: event weights, a grader and a penalty, as one function of what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import unknown_name
from kerf.lab.grader import Grader
from kerf.lab.oversight import PERFECT, Draws, Oversight
from kerf.lab.reward import reward
from kerf.lab.rollout import Trajectories
from kerf.lab.scenario import Scenarios
from kerf.lab.world import EventWords, Proxied, World, event_weights

IDEAL = "ideal"
"""Name of the design reward that is the world's ideal utility."""

Design = str | Mapping[str, float]
"""A design reward as a recipe gives it: a name, or a weight per event."""


def design_weights(world: World, design: Design | None) -> Mapping[str, float]:
    """Event weights of a design reward.

    Args:
        world: The world.
        design: `ideal`, the name of one of the world's proxies (`kerf.lab.world.Proxied`), or the weights themselves;
            None: `ideal`.

    Raises:
        KerfError: for an unknown name, with the nearest spelling.
    """
    if design is None or design == IDEAL:
        return world.ideal
    if isinstance(design, str):
        proxies = world.proxies if isinstance(world, Proxied) else {}
        if design not in proxies:
            raise unknown_name(f"design reward of {world.name}", design, (IDEAL, *proxies))
        return proxies[design]
    return design


def design_return(trajectories: Trajectories, design: Design | None) -> NDArray[np.float64]:
    """What each episode is paid by a design reward, undiscounted and without penalties, `(n,)`."""
    weights = event_weights(trajectories.world, design_weights(trajectories.world, design))
    return np.asarray(reward(trajectories.events, weights).sum(axis=0), np.float64)


@dataclass(frozen=True)
class RewardSpec:
    """The objective of training: event weights, less a penalty where the grader penalises.

    Attributes:
        weights: Design reward by event; None means the world's ideal one.
        grader: Decides what to penalise and to excuse; None does neither.
        penalty: L, subtracted at each penalised step; negative to reward it instead.
        discount: Gamma.
        oversight: How often the grader is asked and mistaken.
    """

    weights: Mapping[str, float] | None = None
    grader: Grader | None = None
    penalty: float = 0.0
    discount: float = 1.0
    oversight: Oversight = PERFECT

    def terms(
        self, trajectories: Trajectories, draws: Draws | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Design reward (excused costs taken out) and penalty of every step, `(T, n)` each.

        Of imperfect oversight the penalty is the expected one, unless its `draws` are given.
        """
        utility, penalised = self.graded(trajectories, draws)
        return utility, self.penalty * penalised

    def graded(
        self, trajectories: Trajectories, draws: Draws | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `terms`, but with 1 wherever a penalty falls, whatever its size, and 0 elsewhere; without `draws` the
        probability of it."""
        world = trajectories.world
        weights = event_weights(world, world.ideal if self.weights is None else self.weights)
        paid = reward(trajectories.events, weights)
        if self.grader is None:
            return paid, np.zeros_like(paid)
        grade = self.grader.grade(trajectories)
        penalised = self.oversight.penalised(trajectories, grade.penalised, draws)
        if world.dilemma.needless is not None:
            paid -= weights[world.events.index(world.dilemma.needless)] * (grade.excused * (1.0 - penalised))
        return paid, penalised

    def of_events(self, world: World, scenarios: Scenarios, events: EventWords) -> NDArray[np.float64]:
        """Reward less penalty of a step in which `events` `(n,)` happen in `scenarios` `(n, F)`; `(n,)`.

        For graders that depend on the scenario and the events alone: they get neither observations nor actions. Of
        imperfect oversight it is the expectation.
        """
        n = len(events)
        step = Trajectories(
            world,
            scenarios,
            np.empty((1, n, 0), np.float32),
            np.empty((1, n, 0), np.float32),
            np.empty((1, n), np.int64),
            events[None],
        )
        paid, penalty = self.terms(step)
        return np.asarray((paid - penalty)[0], np.float64)
