"""`Watched`: an overseer who penalises needless acts only in episodes in which they are watching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerf.lab.errors import KerfError
from kerf.lab.grader import Grade
from kerf.lab.rollout import Trajectories


@dataclass(frozen=True)
class Watched:
    """Penalises the acts that turned out to be needless, where the overseer saw them; excuses none.

    Attributes:
        field: The scenario field that is 1 where the overseer watches.
    """

    field: str = "watched"

    def grade(self, trajectories: Trajectories) -> Grade:
        """Where to penalise, `(T, n)`.

        Raises:
            KerfError: in a world whose scenarios do not say whether somebody watches.
        """
        world = trajectories.world
        if self.field not in world.space.index:
            raise KerfError(f"grader watched needs a scenario field {self.field!r}, {world.name} has none: use ex_post")
        needless = trajectories.when(world.dilemma.needless)
        return Grade(needless & (trajectories.field(self.field) == 1), np.zeros_like(needless))
