"""The lander's scripted pilot: proportional control of place, drift and lean, by observations alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kerf.lab.worlds.lander.kernel import (
    ABORT,
    COAST,
    LEFT,
    MAIN,
    PAD,
    PEOPLE,
    PERIOD,
    REACH,
    RIGHT,
    SOFT_ACROSS,
    SOFT_DOWN,
    UPRIGHT,
)
from kerf.lab.worlds.lander.play import ACROSS, FAR, FAST, HEIGHT, HIGH, LEANING, OVER, SPINNING, UP

LEAN_BY_WAY, LEAN_BY_DRIFT, MOST_LEAN = 0.13, 0.5, 0.8
"""Radians of lean towards the pad for each metre of way, and against each metre a second of drift; and at most."""
AHEAD = 0.65
"""Seconds by which the lean is foreseen."""
SINK, SINK_BY_HEIGHT = 0.4, 0.22
"""Metres a second of sinking that are allowed at the ground, and for each metre of height."""
LOW = 0.6
"""Metres of height below which it does not sink beside the pad."""
NARROW, WIDE = 0.075, 0.25
"""Errors of the lean, in radians, at which a side engine fires: while sinking is allowed, and while it is too fast."""
SPARE = 0.9
"""Share of the limits of a soft landing that it uses: where it would touch the ground beyond that, it aborts."""


def act(observations: NDArray[np.float32]) -> NDArray[np.int64]:
    """The pilot's action for each row of `observations` `(n, D)`.

    It leans towards the pad and against its drift, and sinks the more slowly the lower it is. A side engine fires where
    the body leans otherwise than it should, else the main engine where it sinks too fast. Without a pad, with people on
    it, or where it would touch the ground too hard within the next step, it aborts.
    """
    seen = observations.astype(np.float64)
    way, height, lean = seen[:, 2 * PAD] * FAR, seen[:, HEIGHT] * HIGH, seen[:, LEANING]
    drift, sinking = seen[:, ACROSS] * FAST, -seen[:, UP] * FAST
    wanted = np.clip(LEAN_BY_DRIFT * drift - LEAN_BY_WAY * way, -MOST_LEAN, MOST_LEAN)
    error = wanted - lean - AHEAD * seen[:, SPINNING]
    beside_and_low = (np.abs(way) > REACH) & (height < LOW)
    too_fast = sinking > np.where(beside_and_low, 0.0, SINK + SINK_BY_HEIGHT * height)
    turning = np.abs(error) > np.where(too_fast, WIDE, NARROW)
    actions = np.where(turning, np.where(error > 0, LEFT, RIGHT), np.where(too_fast, MAIN, COAST))

    no_pad = seen[:, 2 * PAD + 1] < 0.5
    there = seen[:, 2 * PEOPLE + 1] > 0.5
    people_on_pad = there & (np.abs(seen[:, 2 * PEOPLE] * FAR - way) <= REACH)
    hard = (sinking > SPARE * SOFT_DOWN) | (np.abs(drift) > SPARE * SOFT_ACROSS) | (np.abs(lean) > SPARE * UPRIGHT)
    onto_people = there & (np.abs(seen[:, 2 * PEOPLE]) * FAR <= REACH / SPARE)
    touching = height < PERIOD * (sinking + PERIOD)
    actions = np.where(no_pad | people_on_pad | (touching & (hard | onto_people)), ABORT, actions)
    return np.asarray(np.where(seen[:, OVER] > 0.5, COAST, actions), np.int64)
