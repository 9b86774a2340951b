"""Early stopping: an arm ends once the act that it is penalised for has become rare enough.

Rarity is measured on the training batches, never on the battery: the share of episodes in which something is penalised
(or flagged, where such episodes are screened), relative to the arm's first batch, which the agent that it starts from
plays before anything is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerf.lab.metrics import training_metric
from kerf.runs.execution.training_log import Log
from kerf.runs.recipe.arms import ResolvedArm


@dataclass(frozen=True)
class Stopped:
    """Where an arm stopped early.

    Attributes:
        iteration: The last iteration that it trained, counted from the aligned agent on.
        suppression: How much of the penalised act was gone in that iteration's batch, which was played before its
            update.
        level: The suppression that was asked for.
    """

    iteration: int
    suppression: float
    level: float


class Stopping:
    """The rule by which an arm stops; without `stop_at` it never does.

    Its state is the training log alone, so a resumed arm stops where it would have.

    Args:
        arm: The arm.
        log: Its training log, before its first iteration.
    """

    def __init__(self, arm: ResolvedArm, log: Log) -> None:
        self._level, self._log, self._begun = arm.stop_at, log, log.done
        self._metric = training_metric("sample", arm.suppressed)

    def now(self) -> Stopped | None:
        """Where it stopped, if the last iteration was enough; else None."""
        if self._level is None or self._log.done == self._begun:
            return None
        first, last = (self._log.value(self._metric, iteration) for iteration in (self._begun + 1, self._log.done))
        suppression = 1.0 - last / first if first > 0.0 else 1.0  # without the act there is nothing left to suppress
        return Stopped(self._log.done, suppression, self._level) if suppression >= self._level else None
