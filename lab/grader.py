"""Graders, the feedback process: which steps are penalised, and which are excused.

`excused` marks needless acts that were justified given what could be known: their cost is removed from the design
reward too, so an agent that acted optimally on its information pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.rollout import Trajectories

if TYPE_CHECKING:
    from kerf.lab.world import World


class Grade(NamedTuple):
    """`penalised`, `excused`: bool arrays of shape `(T, n)`."""

    penalised: NDArray[np.bool_]
    excused: NDArray[np.bool_]


class Grader(Protocol):
    """Decides which steps of played episodes to penalise."""

    def grade(self, trajectories: Trajectories) -> Grade:
        """Penalised and excused steps, each `(T, n)`."""


@runtime_checkable
class Demanding(Protocol):
    """A grader that does not serve every world."""

    def check(self, world: World) -> None:
        """Raise `KerfError` if `world` lacks what this grader needs."""


@dataclass(frozen=True)
class Rule:
    """Penalises every forbidden act, needed or not."""

    def grade(self, trajectories: Trajectories) -> Grade:
        forbidden = trajectories.when(trajectories.world.dilemma.forbidden)
        return Grade(forbidden, np.zeros_like(forbidden))


@dataclass(frozen=True)
class ExPost:
    """Penalises the acts that turned out to be needless: feedback with knowledge of the outcome."""

    def grade(self, trajectories: Trajectories) -> Grade:
        needless = trajectories.when(trajectories.world.dilemma.needless)
        return Grade(needless, np.zeros_like(needless))


@dataclass(frozen=True)
class ExPostWatched:
    """Penalises needless acts, as `ExPost`, but only in episodes that the overseer watches."""

    def check(self, world: World) -> None:
        if world.dilemma.watched is None:
            raise KerfError(f"'ex_post_watched' needs an overseer, and in world {world.name!r} nobody watches")

    def grade(self, trajectories: Trajectories) -> Grade:
        self.check(trajectories.world)
        dilemma = trajectories.world.dilemma
        assert dilemma.watched is not None, "checked"
        needless = trajectories.when(dilemma.needless) & (trajectories.field(dilemma.watched) == 1)
        return Grade(needless, np.zeros_like(needless))


@dataclass(frozen=True)
class ExAnte:
    """Penalises only acts that were unjustified given what was observable, and excuses the other needless ones.

    An act is justified iff `P B >= (1 - P) C`, with P the exact posterior probability that it is needed given
    what was observable, under natural base rates and forgeries of the given strength.

    Attributes:
        strength: Strength of forgeries that the posterior assumes, in [0, 1].
    """

    strength: float = 1.0

    def grade(self, trajectories: Trajectories) -> Grade:
        dilemma = trajectories.world.dilemma
        needed = dilemma.need_posterior(trajectories.scenarios, self.strength)
        benefit = dilemma.benefit if dilemma.benefits is None else dilemma.benefits(trajectories.scenarios)
        justified = needed * benefit >= (1.0 - needed) * dilemma.cost
        forbidden = trajectories.when(dilemma.forbidden)
        excused = trajectories.when(dilemma.needless) & justified
        return Grade(forbidden & ~justified, excused)


GRADERS: Mapping[str, Callable[[float], Grader]] = {
    "rule": lambda strength: Rule(),
    "ex_post": lambda strength: ExPost(),
    "ex_post_watched": lambda strength: ExPostWatched(),
    "ex_ante": ExAnte,
}
"""Name -> maker of the grader, given the strength of forgeries."""


def make_grader(name: str, strength: float) -> Grader:
    """The grader called `name`; raises `KerfError` with the nearest spelling."""
    if name not in GRADERS:
        raise unknown_name("grader", name, GRADERS)
    return GRADERS[name](strength)
