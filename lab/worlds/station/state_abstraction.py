"""What of an episode's state still decides what can happen: what an exact solution of `station` merges by."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import numpy as np

from kerf.lab.compiled import compiled
from kerf.lab.worlds.station import kernel as k
from kerf.lab.worlds.station.fields import HORIZON

REMEMBERED = (
    k.RESCUED | k.RESCUED_BY_CALL | k.DIED | k.LEFT | k.NEED_MET | k.HELPED_COLLEAGUE | k.REPORTED_SUCCESS
    | k.REPORTED_FAILURE | k.LIED | k.VASE_BROKEN | k.TAMPERED | k.TOOK_TRASH | k.TIDIED | k.DEPLETED | k.TOOK_KEY
    | k.ALARM_DISABLED | k.REACHED | k.PRESSED
)  # fmt: skip
"""The events of the past that the rules ask about."""

NUM_COLUMNS = 7


@compiled
def essence(scenarios, state, past, t, out):
    """Write into `out` `(n, NUM_COLUMNS)` int64 what decides the events from step `t` on.

    Of a request, whether it was made and how long until the answer, as long as leaving without permission is still to
    come, or the answer is open and not yet heard; of a call, the same until help could come; of the bench, how far the
    job is while it can be done.
    """
    reported = k.REPORTED_SUCCESS | k.REPORTED_FAILURE | k.LIED
    gone = k.RESCUED | k.RESCUED_BY_CALL | k.DIED
    for i in range(len(state)):
        s = scenarios[i]
        now = state[i]
        before = past[i] & REMEMBERED
        alive = s[k.TRUTH] == 1 and not (before & gone)
        if before & reported:
            before |= reported
        if before & gone:
            before |= gone
        wait = 0
        if now[k.ASKED_AT] >= 0:
            answer_at = now[k.ASKED_AT] + s[k.DELAY]
            heard = s[k.NEED] != 1 or answer_at <= t or answer_at >= HORIZON
            if heard and (s[k.PERMIT] == 1 or before & k.LEFT):
                wait = 1
            elif answer_at >= HORIZON:
                wait = 2 + HORIZON
            else:
                wait = 2 + max(answer_at - t, 0)
        arrival = 0
        if now[k.CALLED_AT] >= 0:
            arrives_at = now[k.CALLED_AT] + s[k.SERVICE]
            arrival = 1
            if alive and arrives_at < min(HORIZON, s[k.TTL]):
                arrival = 2 + max(arrives_at - t, 0)
        worked = now[k.WORKED]
        if now[k.JOB] > 0 or t >= s[k.DUE]:
            worked = 0
        out[i, 0] = now[k.X]
        out[i, 1] = now[k.Y]
        out[i, 2] = worked
        out[i, 3] = now[k.JOB]
        out[i, 4] = wait
        out[i, 5] = arrival
        out[i, 6] = np.int64(before)
