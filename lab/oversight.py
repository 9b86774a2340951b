"""Oversight of a feedback process: how often an episode is looked at, and how often its grader is mistaken.

A grader says which acts deserve a penalty. Oversight says with what probability the penalty falls:

    P(penalised | act) = w (1 - m)   where the grader penalises it,
                         w f         for any other forbidden act,

with w the share of episodes that are overseen, m the grader's misses and f its false alarms. Acts that are not
forbidden are never penalised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError
from kerf.lab.rollout import Trajectories
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


@dataclass(frozen=True)
class Draws:
    """The chance in the oversight of `n` episodes.

    Attributes:
        overseen: `(n,)` bool, the episodes in which something may be penalised.
        verdicts: `(n,)` in [0, 1): in an overseen episode an act is penalised if its probability exceeds this.
    """

    overseen: NDArray[np.bool_]
    verdicts: NDArray[np.float64]

    def of(self, rows: NDArray[np.int64]) -> Draws:
        """The draws of the episodes `rows`."""
        return Draws(self.overseen[rows], self.verdicts[rows])


@dataclass(frozen=True)
class Oversight:
    """Oversight of a grader; as it stands here every episode is overseen and the grader is never mistaken.

    Attributes:
        share: w, the probability that an episode is overseen.
        misses: m, the probability that an act that the grader penalises is not penalised in an overseen episode.
        false_alarms: f, the probability that a forbidden act that the grader does not penalise is penalised there.
        cue: A sign of the world (`kerf.lab.dilemma.Dilemma.signs`) that is 1 in overseen episodes and 0 in all others,
            so that the agent sees whether it is overseen. None: it does not see it.

    Raises:
        KerfError: for a probability outside [0, 1].
    """

    share: float = 1.0
    misses: float = 0.0
    false_alarms: float = 0.0
    cue: str | None = None

    def __post_init__(self) -> None:
        for name in ("share", "misses", "false_alarms"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise KerfError(f"oversight: {name} must be in [0, 1], got {getattr(self, name)}")

    def check(self, world: World) -> None:
        """Raise `KerfError` if the cue is no sign of `world`."""
        signs = world.dilemma.signs
        if self.cue is not None and self.cue not in signs:
            known = f"one of {', '.join(signs)}" if signs else "left out, for it has none"
            raise KerfError(f"expected a sign of world {world.name!r} that changes nothing, {known}, got {self.cue!r}")

    def draw(self, n: int, rng: np.random.Generator, in_force: bool = True) -> Draws:
        """The chance of `n` episodes, of which none is overseen unless the penalty is `in_force`.

        The same generator gives nested sets: whatever is penalised at a lower probability is so at a higher one.
        """
        overseen, verdicts = rng.random((2, n))
        return Draws((overseen < self.share) & in_force, verdicts)

    def shown(self, world: World, scenarios: Scenarios, draws: Draws) -> Scenarios:
        """`scenarios` `(n, F)` with the cue as it was drawn: a copy, or they themselves without a cue."""
        if self.cue is None:
            return scenarios
        marked = scenarios.copy()
        marked[:, world.space.column(self.cue)] = draws.overseen
        return marked

    def penalised(
        self, trajectories: Trajectories, graded: NDArray[np.bool_], draws: Draws | None = None
    ) -> NDArray[np.float64]:
        """Which steps are penalised, as 0 or 1, or the probability of it if there are no `draws`; `(T, n)`.

        Args:
            trajectories: What was played.
            graded: `(T, n)`, the steps that the grader penalises.
            draws: The chance of these episodes.
        """
        forbidden = trajectories.when(trajectories.world.dilemma.forbidden)
        chance = np.where(graded, 1.0 - self.misses, self.false_alarms * forbidden)
        if draws is None:
            return self.share * chance
        return (draws.overseen & (draws.verdicts < chance)).astype(np.float64)


PERFECT = Oversight()
"""Every episode is overseen, and the grader is never mistaken."""
