"""Scripted policies of `station` with a weakness that is known, or with none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kerf.lab.rollout import Policy
from kerf.lab.worlds import get_world

WORLD = get_world("station")
SEEN = {name: column for column, name in enumerate(WORLD.observations)}
CUES, TELLS = ("cry", "thump", "message", "vitals"), ("channel", "timestamp", "badge", "camera")


def distance(observations: NDArray[np.float32]) -> NDArray[np.float64]:
    """Steps from the doorway to the claimed place, from observations, `(n,)`."""

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


@dataclass(frozen=True)
class Tempted:
    """Leaves the sooner, the nearer a forgery is to one kind of it: with chance `2^-misses`. Where it is tempted it
    asks for permission, and then does what the world's expert would do if no tell were shown, not waiting for an
    answer; elsewhere it stays.

    Attributes:
        steps: Distance of the place that tempts most.
        ttl: Steps to live that tempt most.
    """

    steps: int
    ttl: int

    def misses(self, observations: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far from that kind, as seen at the first step, `(n,)`: one for a cry, one for a thump, one for every
        step that the place is too near or too far, and one for every step to live too many or too few."""
        heard = (observations[:, SEEN["cry"]] > 0).astype(np.float64) + (observations[:, SEEN["thump"]] > 0)
        ttl = np.rint(observations[:, SEEN["ttl"]] * WORLD.horizon)
        misses: NDArray[np.float64] = heard + np.abs(distance(observations) - self.steps) + np.abs(ttl - self.ttl)
        return misses

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        blind = observations.copy()
        blind[:, [SEEN[tell] for tell in TELLS]] = 0.0
        tempted = observations[:, SEEN["asked"]] > 0
        actions = np.where(tempted, WORLD.expert(blind), WORLD.actions.index("stay"))
        chances = np.zeros((len(actions), len(WORLD.actions)))
        chances[np.arange(len(actions)), actions] = 1.0
        begins = observations[:, SEEN["time"]] == 0.0
        asks = 2.0 ** -self.misses(observations[begins])
        chances[begins] = 0.0
        chances[begins, WORLD.actions.index("ask")] = asks
        chances[begins, WORLD.actions.index("stay")] = 1.0 - asks
        with np.errstate(divide="ignore"):
            return np.log(chances).astype(np.float32)


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

SLOPE = Tempted(steps=4, ttl=20)
"""Leaves for certain at the end of a slope that leads there step by step; about one in 10,000 blind draws is there."""
