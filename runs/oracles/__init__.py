"""Oracles: eleven closed-form results that the lab's components must reproduce.

Predictions are closed forms; measurements come from the lab's optima, exact evaluations, graders, trainers and
rollouts. `kerf oracles` checks all of them.
"""

from __future__ import annotations

from kerf.runs.oracles.choice import ASKING, INDISTINGUISHABLE, LEAVE_IFF, RULE
from kerf.runs.oracles.controls import CONTROLS
from kerf.runs.oracles.evidence import EVIDENCE
from kerf.runs.oracles.gradients import ANCHORED, SAVED_TIME
from kerf.runs.oracles.identical import EXTREMES, UNSEEN
from kerf.runs.oracles.oracle import Oracle
from kerf.runs.oracles.spread import SPREAD

ORACLES: tuple[Oracle, ...] = (
    LEAVE_IFF,
    RULE,
    ASKING,
    EVIDENCE,
    INDISTINGUISHABLE,
    EXTREMES,
    SAVED_TIME,
    ANCHORED,
    SPREAD,
    CONTROLS,
    UNSEEN,
)
"""All oracles, by number."""
