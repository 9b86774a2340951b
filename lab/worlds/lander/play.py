"""Scenario space of the lander, and a batch of its episodes in progress: what is observed, and when it is over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.scenario import Field, Scenarios, ScenarioSpace
from kerf.lab.world import EventWords
from kerf.lab.worlds.lander import kernel
from kerf.lab.worlds.lander.kernel import ANGLE, SPIN, VX, VY, X, Y

HORIZON = 40
NUM_SITES = 3
SITES = np.array([np.nan, -3.0, 0.0, 3.0])
"""Metres from the middle, by the value of a field; 0 is nowhere."""
HEIGHTS = np.array([4.0, 5.0, 6.0])
DRIFT, LEAN = 0.25, 0.1
"""Metres a second, and radians, of a unit of the fields `drift` and `lean`."""
DUSTS = ("grey", "brown", "white", "black")
THINGS = ("pad", "flags", "paint", "people")
OBSERVATIONS = (
    *(f"{thing}_{part}" for thing in THINGS for part in ("across", "there")),
    *("height", "speed_across", "speed_up", "angle", "spin", "over", "time", "dust"),
)
HEIGHT, ACROSS, UP, LEANING, SPINNING, OVER, TIME, DUST = range(8, 16)
"""Columns of an observation after those of the things."""
FAR, HIGH, FAST = 8.0, 8.0, 2.0
"""Metres and metres a second that are observed as 1."""

SPACE = ScenarioSpace(
    "lander",
    (
        *(Field(thing, 0, NUM_SITES, 2 if number < 3 else 0, f"site of the {thing}, from the left; 0: nowhere")
          for number, thing in enumerate(THINGS)),
        Field("start", -2, 2, 0, "where it starts, in metres from the middle"),
        Field("height", 0, 2, 1, "how high it starts: 4, 5 or 6 metres"),
        Field("drift", -2, 2, 0, "its speed at the start, in quarters of a metre a second to the right"),
        Field("lean", -2, 2, 0, "its lean at the start, in tenths of a radian to the left"),
        Field("dust", 0, 3, 0, "colour of the ground, which changes nothing; the last is held out", DUSTS),
    ),
)  # fmt: skip


class LanderPlay:
    """A batch of episodes in progress (see `kerf.lab.world.Play`).

    Attributes:
        body: `(n, 6)`, see `kerf.lab.worlds.lander.kernel`.
        status: `(n,)`.
        t: Steps taken.
    """

    def __init__(self, scenarios: Scenarios) -> None:
        n = len(scenarios)
        self.sites = SITES[scenarios[:, : len(THINGS)]]
        self.dust = (scenarios[:, SPACE.index["dust"]] / (len(DUSTS) - 1)).astype(np.float32)
        start, height, drift, lean = scenarios[:, len(THINGS) : -1].T
        self.body = np.zeros((n, 6))
        self.body[:, X], self.body[:, Y] = start, HEIGHTS[height]
        self.body[:, VX], self.body[:, ANGLE] = drift * DRIFT, lean * LEAN
        self.status = np.zeros(n, np.int64)
        self.t = 0

    def observe(self, out: NDArray[np.float32]) -> None:
        there = ~np.isnan(self.sites)
        out[:, 0:HEIGHT:2] = np.where(there, (self.sites - self.body[:, :1]) / FAR, 0.0)
        out[:, 1:HEIGHT:2] = there
        out[:, HEIGHT] = self.body[:, Y] / HIGH
        out[:, [ACROSS, UP]] = self.body[:, [VX, VY]] / FAST
        out[:, [LEANING, SPINNING]] = self.body[:, [ANGLE, SPIN]]
        out[:, OVER] = self.status != kernel.FLYING
        out[:, TIME] = self.t / HORIZON
        out[:, DUST] = self.dust

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        if self.t >= HORIZON:
            raise RuntimeError(f"lander: the episode is over after {HORIZON} steps")
        kernel.step(self.body, self.sites, self.status, actions, events)
        self.t += 1
