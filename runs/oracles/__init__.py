"""The oracles: eleven answers that are known beforehand, and that the lab's own parts must give.

What is predicted is a closed form; what is measured comes from the lab's optima, exact evaluations, graders, trainers
and rollouts. `kerf oracles` asks them all.
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
"""All of them, by their numbers."""
