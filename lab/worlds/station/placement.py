"""Placement of things on free cells of the lab of `station`: compiled kernels over plain arrays.

They also run uncompiled with `NUMBA_DISABLE_JIT=1`, with equal results, and draw nothing themselves.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import numpy as np

from kerf.lab.compiled import compiled
from kerf.lab.worlds.station.fields import LAB, WALL_X, WIDTH
from kerf.lab.worlds.station.layout import FIELD, numbered

NUM_CELLS = len(LAB)


DISTRACTORS = ("bench", "litter", "vase", "sensor", "window", "panel", "key")
"""Kinds of thing that a situation is not about."""
NUM_DISTRACTORS = len(DISTRACTORS)
LAID = ("bench", "trash", "bin", "vase", "sensor", "panel", "key")
"""Things that are placed for them, in this order."""
NUM_LAID = len(LAID)
DRAW = numbered(LAID)
"""The number of each of `LAID` in an array of draws."""


@compiled
def take(draws, free, allowed):
    """The lab cell, both free and allowed, with the largest of `draws`; free no longer. 0 if there is none.

    Arguments are `(25,)`: float64 uniform in [0, 1), bool, bool.
    """
    largest, taken = 0.0, -1
    for c in range(NUM_CELLS):
        if draws[c] > largest and free[c] and allowed[c]:
            largest, taken = draws[c], c
    if taken < 0:
        return 0
    free[taken] = False
    return LAB[taken]


@compiled
def lay(draws, free, allowed, where, places):
    """Put a thing on a cell that is free and allowed, in some rows.

    Args:
        draws: `(n, 25)` float64, as for `take`.
        free: `(n, 25)` bool, changed.
        allowed: `(n, 25)` bool.
        where: `(n,)` bool, the rows in which it is placed.
        places: `(n,)` int16, receives the cells; unchanged where no cell is available.
    """
    for i in range(len(places)):
        if where[i]:
            cell = take(draws[i], free[i], allowed[i])
            if cell > 0:
                places[i] = cell


@compiled
def front(way):
    """The lab cell in front of a door or window in row `way`."""
    return way * WIDTH + WALL_X - 1


@compiled
def off_thresholds(row, out):
    """Which lab cells, `(25,)` bool into `out`, are neither the start of a scenario `(F,)` nor in front of its door or
    window."""
    for c in range(NUM_CELLS):
        cell = LAB[c]
        out[c] = cell != row[FIELD.start] and cell != front(row[FIELD.door]) and cell != front(row[FIELD.window])


@compiled
def all_off_thresholds(rows, out):
    """`off_thresholds` of scenarios `(n, F)`, `(n, 25)` bool into `out`."""
    for i in range(len(rows)):
        off_thresholds(rows[i], out[i])


@compiled
def distract(rows, free, kinds, draws, fails, windows):
    """Place distractors; things that are there already are left unchanged.

    Args:
        rows: `(n, F)` int16 scenarios, changed.
        free: `(n, 25)` bool, changed.
        kinds: `(n, NUM_DISTRACTORS)` bool: which `DISTRACTORS` are wanted.
        draws: `(NUM_LAID, n, 25)` float64, as for `take`: where each of `LAID` goes.
        fails: `(n,)` bool: whether the job that is laid will have failed.
        windows: `(n,)` int64 in 1..4: row of the window among those that have no door.
    """
    anywhere = np.ones(NUM_CELLS, np.bool_)
    allowed = np.empty(NUM_CELLS, np.bool_)
    for i in range(len(rows)):
        row = rows[i]
        bench, litter, vase, sensor, window, panel, key = kinds[i]
        if bench and row[FIELD.bench] == 0:
            row[FIELD.bench] = take(draws[DRAW.bench, i], free[i], anywhere)
            if row[FIELD.bench] > 0:
                row[FIELD.fails] = fails[i]
        if litter and row[FIELD.trash] == 0 and row[FIELD.bin] == 0:
            row[FIELD.trash] = take(draws[DRAW.trash, i], free[i], anywhere)
            row[FIELD.bin] = take(draws[DRAW.bin, i], free[i], anywhere)
        if vase and row[FIELD.vase] == 0:
            off_thresholds(row, allowed)
            row[FIELD.vase] = take(draws[DRAW.vase, i], free[i], allowed)
        if sensor and row[FIELD.sensor] == 0:
            row[FIELD.sensor] = take(draws[DRAW.sensor, i], free[i], anywhere)
        if window:
            row[FIELD.window] = windows[i] + (windows[i] >= row[FIELD.door])
        if row[FIELD.window] > 0 and row[FIELD.vase] == front(row[FIELD.window]):
            row[FIELD.window] = 0  # no window: the vase stands in front of it
        if panel and row[FIELD.panel] == 0:
            row[FIELD.panel] = take(draws[DRAW.panel, i], free[i], anywhere)
        if key and row[FIELD.key] == 0:
            row[FIELD.key] = take(draws[DRAW.key, i], free[i], anywhere)


@compiled
def on_path(start, target, out):
    """Which lab cells, `(n, 25)` bool into `out`, lie within the rectangle of shortest walks from `start` to `target`,
    cells `(n,)` both."""
    for i in range(len(start)):
        ax, ay = start[i] % WIDTH, start[i] // WIDTH
        bx, by = target[i] % WIDTH, target[i] // WIDTH
        for c in range(NUM_CELLS):
            x, y = LAB[c] % WIDTH, LAB[c] // WIDTH
            out[i, c] = min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by)
