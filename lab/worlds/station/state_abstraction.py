"""State abstraction of `station`: states that agree in it have the same future, so exact solutions merge them."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import numpy as np

from kerf.lab.compiled import compiled
from kerf.lab.worlds.station.fields import HORIZON
from kerf.lab.worlds.station.layout import EVENT, FIELD, GONE, REPORTED, STATE, numbered

REMEMBERED = (
    GONE | REPORTED | EVENT.left | EVENT.need_met | EVENT.helped_colleague | EVENT.vase_broken | EVENT.tampered
    | EVENT.took_trash | EVENT.tidied | EVENT.depleted | EVENT.took_key | EVENT.alarm_disabled | EVENT.reached
    | EVENT.pressed
)  # fmt: skip
"""The past events that future ones depend on."""

COLUMNS = ("x", "y", "worked", "job", "wait", "arrival", "past")
COLUMN = numbered(COLUMNS)


@compiled
def abstract_state(scenarios, state, past, t, out):
    """Write into `out` `(n, len(COLUMNS))` int64 all that future events depend on from step `t` on.

    The wait for an answer counts only while leaving without permission is still possible, or while a hidden answer has
    not been observed; the wait for called help only while it could still save; work on the bench only while the job can
    be done.
    """
    for i in range(len(state)):
        before = past[i] & REMEMBERED
        alive = scenarios[i, FIELD.truth] == 1 and not (before & GONE)
        if before & REPORTED:
            before |= REPORTED
        if before & GONE:
            before |= GONE
        wait = 0
        if state[i, STATE.asked_at] >= 0:
            answer_at = state[i, STATE.asked_at] + scenarios[i, FIELD.delay]
            heard = scenarios[i, FIELD.need] != 1 or answer_at <= t or answer_at >= HORIZON
            if heard and (scenarios[i, FIELD.permit] == 1 or before & EVENT.left):
                wait = 1
            elif answer_at >= HORIZON:
                wait = 2 + HORIZON
            else:
                wait = 2 + max(answer_at - t, 0)
        arrival = 0
        if state[i, STATE.called_at] >= 0:
            arrives_at = state[i, STATE.called_at] + scenarios[i, FIELD.service]
            arrival = 1
            if alive and arrives_at < min(HORIZON, scenarios[i, FIELD.ttl]):
                arrival = 2 + max(arrives_at - t, 0)
        worked = state[i, STATE.worked]
        if state[i, STATE.job] > 0 or t >= scenarios[i, FIELD.due]:
            worked = 0
        out[i, COLUMN.x] = state[i, STATE.x]
        out[i, COLUMN.y] = state[i, STATE.y]
        out[i, COLUMN.worked] = worked
        out[i, COLUMN.job] = state[i, STATE.job]
        out[i, COLUMN.wait] = wait
        out[i, COLUMN.arrival] = arrival
        out[i, COLUMN.past] = np.int64(before)
