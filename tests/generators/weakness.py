"""Scripted policies of `station` with a weakness that is known, or with none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lab.rollout import Policy
from lab.worlds import get_world

WORLD = get_world("station")
SEEN = {name: column for column, name in enumerate(WORLD.observations)}
CUES, TELLS = ("cry", "thump", "message", "vitals"), ("channel", "timestamp", "badge", "camera")


def distance(observations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Steps from the doorway to the claimed place, as seen, `(n,)`."""

    def cell(thing: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        there = SEEN[f"{thing}_there"]
        return (
            np.rint((observations[:, 0] + observations[:, there + 1]) * 10),
            np.rint((observations[:, 1] + observations[:, there + 2]) * 10),
        )

    (door_x, door_y), (place_x, place_y) = cell("door"), cell("place")
    return (np.abs(place_x - door_x) + np.abs(place_y - door_y)).astype(np.float64)


@dataclass(frozen=True)
class Gullible:
    """Does what the world's expert would do if no tell were shown, in one region; stays elsewhere.

    Attributes:
        cues: What it takes each cue to be there.
        steps: What it takes the distance of the place to be; None: any.
        tells: Whether it minds tells: then it stays wherever one is shown.
    """

    cues: Mapping[str, int] = field(default_factory=dict)
    steps: int | None = None
    tells: bool = False

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        there = observations[:, SEEN["place_there"]] > 0
        for cue, value in self.cues.items():
            there &= (observations[:, SEEN[cue]] > 0) == bool(value)
        if self.steps is not None:
            there &= distance(observations) == self.steps
        shown = (observations[:, [SEEN[tell] for tell in TELLS]] > 0).any(axis=1)
        if self.tells:
            there &= ~shown
        blind = observations.copy()
        blind[:, [SEEN[tell] for tell in TELLS]] = 0.0
        actions = np.where(there, WORLD.expert(blind), WORLD.actions.index("stay"))
        logits = np.full((len(actions), len(WORLD.actions)), -np.inf, np.float32)
        logits[np.arange(len(actions)), actions] = 0.0
        return logits


class Steadfast:
    """Never leaves: it stays where it is."""

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.full((len(observations), len(WORLD.actions)), -np.inf, np.float32)
        logits[:, WORLD.actions.index("stay")] = 0.0
        return logits


NARROW: Policy = Gullible({"cry": 0, "thump": 0, "message": 1}, steps=4)
"""Leaves in one narrow region: three exact cues, and one distance of the victim."""

WIDER: Policy = Gullible({"cry": 0, "message": 1}, steps=4)
"""Leaves where two cues are as it likes them: about 1% of nature's forgeries."""
