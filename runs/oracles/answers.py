"""Optimal decisions in a dilemma, computed by the lab: enumeration, beliefs and backward induction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.exact.branches import sums
from kerf.lab.exact.decompose import Deployment
from kerf.lab.exact.evaluation import Evaluator
from kerf.lab.exact.optimum import belief, solve, trees
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ConstantPolicy
from kerf.lab.worlds.dilemma import LEAVE, DilemmaWorld
from kerf.lab.worlds.dilemma.sources import FALSE, GENUINE


@dataclass(frozen=True)
class Answers:
    """The lab's solution in `n` situations.

    Attributes:
        situations: `(n, F)`.
        allowed: `(n, A)` bool, which actions are optimal.
        genuine: `(n,)`, P(x, T).
        false: `(n,)`, P(x, F).
        value: Maximum J.
    """

    situations: Scenarios
    allowed: NDArray[np.bool_]
    genuine: NDArray[np.float64]
    false: NDArray[np.float64]
    value: float

    @property
    def leaves(self) -> NDArray[np.bool_]:
        """Where leaving is the only optimal action, `(n,)`."""
        return np.asarray(self.allowed[:, LEAVE] & (self.allowed.sum(axis=1) == 1))

    @property
    def rates(self) -> tuple[float, float]:
        """Hit rate and false-alarm rate of the optimal policy."""
        return (
            float(self.genuine @ self.leaves / self.genuine.sum()),
            float(self.false @ self.leaves / self.false.sum()),
        )


def answers(world: DilemmaWorld, mix: Mix, objective: RewardSpec, situations: Scenarios | None = None) -> Answers:
    """Solve `objective` on `mix`, in `situations`; None: all situations of `mix`."""
    if situations is None:
        situations = Deployment.listed(world, mix).situations
    allowed: list[NDArray[np.bool_]] = []
    genuine: list[NDArray[np.float64]] = []
    false: list[NDArray[np.float64]] = []
    value = 0.0
    for tree in trees(world, situations):
        weights = belief(tree, mix)
        solved = solve(tree, objective, weights)
        allowed.append(solved.allowed[0][tree.roots])
        value += solved.value
        truth = tree.completions[:, world.space.index["truth"]]
        for kind, masses in ((GENUINE, genuine), (FALSE, false)):
            masses.append(sums(tree.origin, weights * (truth == kind), len(tree.situations)))
    return Answers(situations, np.concatenate(allowed), np.concatenate(genuine), np.concatenate(false), value)


def worths(world: DilemmaWorld, mix: Mix, objective: RewardSpec, situations: Scenarios) -> NDArray[np.float64]:
    """Expected return of each action in `situations` `(n, F)`, given the observation, `(n, A)`."""
    parts = []
    for tree in trees(world, situations):
        weights = belief(tree, mix)
        shown = sums(tree.origin, weights, len(tree.situations))
        evaluator = Evaluator(world, tree.completions)
        columns = []
        for action in world.actions:
            returns = evaluator.run(ConstantPolicy(world, action), objective=objective).returns
            columns.append(sums(tree.origin, weights * returns, len(shown)))
        parts.append(np.stack(columns, axis=1) / shown[:, None])
    return np.concatenate(parts)


def indifference(posterior: NDArray[np.float64], gain: NDArray[np.float64]) -> float:
    """The posterior at which `gain` `(n,)`, linear in `posterior` `(n,)`, is 0; NaN where it does not depend on it."""
    low, high = posterior.argmin(), posterior.argmax()
    slope = (gain[high] - gain[low]) / (posterior[high] - posterior[low])
    return float(posterior[low] - gain[low] / slope) if slope else float("nan")
