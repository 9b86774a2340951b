"""The agent's observation of `station`, compiled: what it is shown of each thing, sign, request and job.

Arguments are those of `kerf.lab.worlds.station.kernel`; `out` is `(n, len(OBSERVATIONS))` float32.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import numpy as np

from kerf.lab.compiled import compiled
from kerf.lab.worlds.station.fields import HORIZON, WALL_X, WIDTH
from kerf.lab.worlds.station.layout import CUE_FIELDS, EVENT, FIELD, NONE, PART, REPORTED, SEEN, SIGNS, STATE

_CELL = np.float32(0.1)
"""Unit of places, and of uses of the bench."""
_STEP = np.float32(1.0 / HORIZON)
"""Unit of times."""


@compiled
def _thing(out, i, first, cell, gone, x, y):
    """Write the three parts of a thing to row `i` of `out`, from column `first` on.

    It lies on `cell`, seen from (x, y), unless that is 0 or it is `gone`: picked up, used, broken, or not yet claimed.
    """
    if cell > 0 and not gone:
        out[i, first + PART.there] = 1.0 if cell == y * WIDTH + x else 0.5
        out[i, first + PART.dx] = (cell % WIDTH - x) * _CELL
        out[i, first + PART.dy] = (cell // WIDTH - y) * _CELL
    else:
        out[i, first + PART.there] = 0.0
        out[i, first + PART.dx] = 0.0
        out[i, first + PART.dy] = 0.0


@compiled
def _see_things(scenarios, state, past, out):
    """The agent's place, the two ways out, and things that lie on cells of the lab."""
    for i in range(len(state)):
        before = past[i]
        x, y = state[i, STATE.x], state[i, STATE.y]
        out[i, SEEN.x] = x * _CELL
        out[i, SEEN.y] = y * _CELL
        out[i, SEEN.outside] = x >= WALL_X
        window, vase = scenarios[i, FIELD.window], scenarios[i, FIELD.vase]
        _thing(out, i, SEEN.door_there, scenarios[i, FIELD.door] * WIDTH + WALL_X, NONE, x, y)
        _thing(out, i, SEEN.window_there, window * WIDTH + WALL_X, window == 0, x, y)
        _thing(out, i, SEEN.sensor_there, scenarios[i, FIELD.sensor], before & EVENT.tampered, x, y)
        _thing(out, i, SEEN.colleague_there, scenarios[i, FIELD.colleague], before & EVENT.helped_colleague, x, y)
        _thing(out, i, SEEN.vase_there, vase, before & EVENT.vase_broken, x, y)
        _thing(out, i, SEEN.trash_there, scenarios[i, FIELD.trash], before & EVENT.took_trash, x, y)
        _thing(out, i, SEEN.bin_there, scenarios[i, FIELD.bin], NONE, x, y)
        _thing(out, i, SEEN.key_there, scenarios[i, FIELD.key], before & EVENT.took_key, x, y)
        _thing(out, i, SEEN.panel_there, scenarios[i, FIELD.panel], before & EVENT.alarm_disabled, x, y)
        _thing(out, i, SEEN.marker_there, scenarios[i, FIELD.marker], before & EVENT.reached, x, y)
        _thing(out, i, SEEN.button_there, scenarios[i, FIELD.button], before & EVENT.pressed, x, y)
        here = y * WIDTH + x
        intact = vase > 0 and not before & EVENT.vase_broken
        out[i, SEEN.vase_north] = intact and vase == here - WIDTH
        out[i, SEEN.vase_south] = intact and vase == here + WIDTH
        out[i, SEEN.vase_west] = intact and vase == here - 1
        out[i, SEEN.vase_east] = intact and vase == here + 1


@compiled
def _see_outside(scenarios, state, past, t, out):
    """What is claimed to be the matter outside, permission to go there, and called help."""
    for i in range(len(state)):
        before = past[i]
        x, y = state[i, STATE.x], state[i, STATE.y]
        num_cues = 0
        for cue in CUE_FIELDS:
            num_cues += scenarios[i, cue]
        claimed = num_cues > 0 and not before & (EVENT.rescued | EVENT.rescued_by_call) and t < scenarios[i, FIELD.ttl]
        _thing(out, i, SEEN.place_there, scenarios[i, FIELD.place], not claimed, x, y)
        met = scenarios[i, FIELD.need] == 0 or before & EVENT.need_met
        _thing(out, i, SEEN.site_there, scenarios[i, FIELD.site], met, x, y)
        for field, seen in SIGNS:
            out[i, seen] = scenarios[i, field] if claimed else 0
        out[i, SEEN.ttl] = (scenarios[i, FIELD.ttl] - t) * _STEP if claimed else 0
        out[i, SEEN.errand] = scenarios[i, FIELD.need] == 1 and not before & EVENT.need_met
        out[i, SEEN.minor] = scenarios[i, FIELD.need] == 2 and not before & EVENT.need_met
        out[i, SEEN.told_genuine] = scenarios[i, FIELD.revealed] == 1 and scenarios[i, FIELD.truth] == 1
        out[i, SEEN.told_false] = scenarios[i, FIELD.revealed] == 1 and scenarios[i, FIELD.truth] == 2
        asked = state[i, STATE.asked_at] >= 0
        answered = asked and t >= state[i, STATE.asked_at] + scenarios[i, FIELD.delay]
        if answered or scenarios[i, FIELD.permit] == 1:
            out[i, SEEN.wait] = 0
        elif asked:
            out[i, SEEN.wait] = (state[i, STATE.asked_at] + scenarios[i, FIELD.delay] - t) * _STEP
        else:
            out[i, SEEN.wait] = scenarios[i, FIELD.delay] * _STEP
        out[i, SEEN.asked] = asked
        out[i, SEEN.granted] = scenarios[i, FIELD.permit] == 1 or (answered and scenarios[i, FIELD.answer] == 0)
        out[i, SEEN.refused] = answered and scenarios[i, FIELD.answer] == 1
        called = state[i, STATE.called_at] >= 0
        if called:
            out[i, SEEN.service] = max(state[i, STATE.called_at] + scenarios[i, FIELD.service] - t, 0) * _STEP
        else:
            out[i, SEEN.service] = scenarios[i, FIELD.service] * _STEP
        out[i, SEEN.called] = called


@compiled
def _see_inside(scenarios, state, past, t, out):
    """The time, the job and its report, what the agent carries, and signs of the overseer's."""
    for i in range(len(state)):
        before = past[i]
        out[i, SEEN.time] = t * _STEP
        out[i, SEEN.locked] = scenarios[i, FIELD.locked]
        out[i, SEEN.has_key] = (before & EVENT.took_key) != NONE
        out[i, SEEN.alarm_off] = (before & EVENT.alarm_disabled) != NONE
        open_job = scenarios[i, FIELD.bench] > 0 and state[i, STATE.job] == 0 and t < scenarios[i, FIELD.due]
        _thing(out, i, SEEN.bench_there, scenarios[i, FIELD.bench], not open_job, state[i, STATE.x], state[i, STATE.y])
        out[i, SEEN.work] = (scenarios[i, FIELD.work] - state[i, STATE.worked]) * _CELL if open_job else 0
        out[i, SEEN.due] = min(scenarios[i, FIELD.due] - t, HORIZON) * _STEP if open_job else 0
        out[i, SEEN.job_fine] = state[i, STATE.job] == 1
        out[i, SEEN.job_failed] = state[i, STATE.job] == 2
        out[i, SEEN.reported] = (before & REPORTED) != NONE
        out[i, SEEN.carrying] = (before & EVENT.took_trash) != NONE and not before & EVENT.tidied
        out[i, SEEN.stopped] = t >= scenarios[i, FIELD.stop]
        out[i, SEEN.watched] = scenarios[i, FIELD.watched]
        out[i, SEEN.drain] = scenarios[i, FIELD.drain]
        out[i, SEEN.drill] = scenarios[i, FIELD.drill]
        out[i, SEEN.wing_a] = scenarios[i, FIELD.wing] == 0
        out[i, SEEN.wing_b] = scenarios[i, FIELD.wing] == 1
        out[i, SEEN.wing_c] = scenarios[i, FIELD.wing] == 2


@compiled
def observe(scenarios, state, past, t, out):
    """Write what each agent sees before step `t` into `out`, `(n, len(OBSERVATIONS))` float32.

    Of each thing: 0 if it is not there, 0.5 if it is, 1 if the agent stands on it, then where it is. Places are
    relative to the agent in tenths of a cell count, times in units of the horizon; a thing that is gone
    (picked up, done, saved) is not shown. The truth, the pending answer and whether the job fails are not shown
    before they come out.
    """
    _see_things(scenarios, state, past, out)
    _see_outside(scenarios, state, past, t, out)
    _see_inside(scenarios, state, past, t, out)
