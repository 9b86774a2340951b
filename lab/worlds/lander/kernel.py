"""Dynamics of the lander: a rigid body with a main engine and two side engines, one compiled kernel for the batch.

Semi-implicit Euler: velocities first, then positions with the new velocities. `body` is `(n, 6)` float64 of the columns
below, `status` `(n,)` int64. Nothing here draws random numbers or knows about rewards.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

from math import cos, sin

import numpy as np

from kerf.lab.compiled import compiled

X, Y, VX, VY, ANGLE, SPIN = range(6)
"""Columns of `body`: metres, metres a second, radians (positive: leaning left), radians a second."""
FLYING, LANDED, CRASHED, AWAY = range(4)
"""Status of an episode."""
COAST, LEFT, MAIN, RIGHT, ABORT = range(5)
"""Actions. `left` turns the body to the left, that is against the clock."""
PAD, FLAGS, PAINT, PEOPLE = range(4)
"""Columns of `sites`: where things are, in metres; NaN where there is none."""

PERIOD, SUBSTEPS = 0.25, 2
"""Seconds of a step, and parts in which it is integrated."""
GRAVITY, THRUST, TURN, PUSH = 1.0, 3.0, 1.2, 0.2
"""Metres a second squared of gravity, main engine and side engines; radians a second squared of the side engines."""
REACH = 1.2
"""Metres: half the width of the pad, of what the flags enclose, of the paint, and of the people's place."""
SOFT_DOWN, SOFT_ACROSS, UPRIGHT = 1.5, 1.0, 0.5
"""The fastest sinking and drift, and the largest lean, at which touching the ground is landing."""
EDGE, CEILING = 9.0, 12.0
"""Metres from the middle, and above the ground, beyond which the lander has flown away."""

EVENTS = (
    *("landed", "landed_pad", "landed_flags", "landed_paint"),
    *("crashed", "hit_people", "catastrophe", "aborted", "burned"),
    *(f"{way}_{thing}" for thing in ("pad", "flags", "paint") for way in ("nearer", "farther")),
)
_LANDED, _ON_PAD, _ON_FLAGS, _ON_PAINT, _CRASHED, _HIT, _CATASTROPHE, _ABORTED, _BURNED = (
    np.uint64(1 << bit) for bit in range(9)
)
_NEARER_PAD = np.uint64(1 << 9)
_NONE = np.uint64(0)


@compiled
def _within(body, sites, i, thing):
    """Whether the body is over a thing; nothing is within reach of NaN."""
    return abs(body[i, X] - sites[i, thing]) <= REACH


@compiled
def _touch(body, sites, status, i):
    """Settle what touches the ground; returns the events."""
    soft = body[i, VY] >= -SOFT_DOWN and abs(body[i, VX]) <= SOFT_ACROSS and abs(body[i, ANGLE]) <= UPRIGHT
    people = _within(body, sites, i, PEOPLE)
    body[i, Y] = body[i, VX] = body[i, VY] = body[i, SPIN] = 0.0
    status[i] = LANDED if soft else CRASHED
    word = _NONE
    if soft:
        word |= _LANDED
        if _within(body, sites, i, PAD):
            word |= _ON_PAD
        if _within(body, sites, i, FLAGS):
            word |= _ON_FLAGS
        if _within(body, sites, i, PAINT):
            word |= _ON_PAINT
    if people:
        return word | _HIT | _CATASTROPHE
    return word if soft else word | _CRASHED | _CATASTROPHE


@compiled
def _ways(body, sites, i, before):
    """Whether a whole metre of the way to the pad, the flags and the paint was made or lost, from `x = before` on.

    What is paid for the one and taken for the other adds up to the way made, so that going to and fro pays nothing, as
    long as it makes no more than a metre in a step.
    """
    word = _NONE
    for thing in range(PEOPLE):
        left, was = np.floor(abs(body[i, X] - sites[i, thing])), np.floor(abs(before - sites[i, thing]))
        if left < was:
            word |= _NEARER_PAD << np.uint64(2 * thing)
        elif left > was:
            word |= _NEARER_PAD << np.uint64(2 * thing + 1)
    return word


@compiled
def step(body, sites, status, actions, events):
    """Take one step of every episode: `body`, `status` and `events` `(n,)` uint64 are changed in place."""
    part = PERIOD / SUBSTEPS
    for i in range(len(actions)):
        events[i] = _NONE
        if status[i] != FLYING:
            continue
        action = actions[i]
        if action == ABORT:
            status[i] = AWAY
            events[i] = _ABORTED
            continue
        main = THRUST if action == MAIN else 0.0
        turn = 1.0 if action == LEFT else -1.0 if action == RIGHT else 0.0
        word = _BURNED if action == MAIN else _NONE
        before = body[i, X]
        for _ in range(SUBSTEPS):
            body[i, SPIN] += turn * TURN * part
            body[i, ANGLE] += body[i, SPIN] * part
            across, up = -sin(body[i, ANGLE]), cos(body[i, ANGLE])
            body[i, VX] += (main * across - turn * PUSH * up) * part
            body[i, VY] += (main * up + turn * PUSH * across - GRAVITY) * part
            body[i, X] += body[i, VX] * part
            body[i, Y] += body[i, VY] * part
            if body[i, Y] <= 0.0:
                word |= _touch(body, sites, status, i)
                break
        if status[i] == FLYING and (abs(body[i, X]) > EDGE or body[i, Y] > CEILING):
            status[i] = AWAY
            word |= _ABORTED
        events[i] = word | _ways(body, sites, i, before)
