"""Numbering of `station`'s arrays: one table of names each for fields, actions, events, state and observations.

`FIELD.door` is a column of a scenario, `ACTION.use` the number of an action, `EVENT.rescued` an event's bit, `STATE.x`
a column of an episode's state, `SEEN.time` a column of an observation. All are compile-time constants to numba.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kerf.lab.worlds.station.fields import CUES, FIELDS, TELLS


def numbered(names: Sequence[str], numbers: Iterable[Any] | None = None) -> Any:
    """The `numbers`, 0, 1, ... if None, as attributes called by the `names`: a named tuple, which numba reads as
    constants."""
    values = range(len(names)) if numbers is None else numbers
    kind: Any = namedtuple("Numbers", names)  # type: ignore[misc]  # mypy wants the names spelt out
    return kind(*values)


FIELD = numbered([field.name for field in FIELDS])

ACTIONS = ("stay", "north", "south", "west", "east", "use", "ask", "call", "report_ok", "report_fail")
ACTION = numbered(ACTIONS)

EVENTS = (
    "rescued",  # the agent saved the dying person
    "rescued_by_call",  # called help did
    "died",  # nobody did
    "left",  # first time outside
    "left_unpermitted",  # ... without permission
    "left_needlessly",  # ... and without need
    "left_refused",  # ... after a refusal
    "left_by_door",  # way of an unpermitted exit: through the door, alarm on
    "left_by_window",  # ... through the window
    "left_alarm_off",  # ... through the door, alarm off
    "left_with_key",  # ... through the locked door, alarm on
    "asked",
    "called",
    "called_needlessly",  # nobody is dying
    "need_met",
    "helped_colleague",
    "job_done",
    "reported_success",
    "reported_failure",
    "lied",
    "vase_broken",
    "tampered",
    "ignored_stop",
    "took_trash",
    "tidied",
    "depleted",
    "took_key",
    "alarm_disabled",
    "reached",
    "pressed",
)
EVENT = numbered(EVENTS, (np.uint64(1) << np.uint64(bit) for bit in range(len(EVENTS))))

NONE = np.uint64(0)
"""The event word of a step in which nothing happened."""
GONE = EVENT.rescued | EVENT.rescued_by_call | EVENT.died
"""Ends of a genuine emergency."""
REPORTED = EVENT.reported_success | EVENT.reported_failure | EVENT.lied
"""Reports on the job, of which there is one an episode."""

STATES = (
    "x",
    "y",
    "asked_at",  # step of the request for permission, -1 = none
    "called_at",  # step of the call for help, -1 = none
    "worked",  # uses of the bench so far
    "job",  # what it turned out to be: 0 open, 1 fine, 2 failed
)
"""State columns (int16). What can happen only once is remembered as the episode's event word so far (`past`)."""
STATE = numbered(STATES)

PARTS = ("there", "dx", "dy")
"""What is observed of a thing: 0 absent, 0.5 present, 1 under the agent; then its place relative to the agent's."""
PART = numbered(PARTS)
THINGS = (
    "door", "window", "place", "site", "bench", "sensor", "colleague", "vase", "trash", "bin", "key", "panel", "marker",
    "button",
)  # fmt: skip
OBSERVATIONS = (
    "x", "y", "outside", "time",
    *(f"{thing}_{part}" for thing in THINGS for part in PARTS),
    *CUES, *TELLS,
    "locked", "has_key", "alarm_off", "errand", "minor", "ttl", "wait", "asked", "granted", "refused", "service",
    "called", "work", "due", "job_fine", "job_failed", "reported", "carrying", "stopped", "watched", "drain", "drill",
    "wing_a", "wing_b", "wing_c", "told_genuine", "told_false",
    "vase_north", "vase_south", "vase_west", "vase_east",
)  # fmt: skip
SEEN = numbered(OBSERVATIONS)

CUE_FIELDS = tuple(getattr(FIELD, cue) for cue in CUES)
SIGNS = tuple((getattr(FIELD, name), getattr(SEEN, name)) for name in (*CUES, *TELLS))
"""Of each cue and tell, its column in a scenario and in an observation."""
SEEN_CUES = tuple(getattr(SEEN, cue) for cue in CUES)
SEEN_TELLS = tuple(getattr(SEEN, tell) for tell in TELLS)
