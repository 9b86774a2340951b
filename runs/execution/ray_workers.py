"""Workers that are Ray actors, on the nodes of the Ray that this process is connected to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import click
import ray
from ray.exceptions import RayError, RayTaskError

from kerf.runs.execution.worker import Fault, Task, UnitDoer, WorkerError, error_sentence, fault_of

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.records.store import Named


class _Worker:
    """The actor."""

    def __init__(self, task: Task) -> None:
        self._doer = UnitDoer(task)

    def ready(self) -> None:
        """Answers once it lives."""

    def run(self, unit: Named, alone: bool) -> Iterator[Progress]:
        yield from self._doer.run(unit, alone)


class RayWorker:
    """An actor, as its driver sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.awaited: Any = actor.ready.remote()
        """What it answers next: that it lives, or the stream of how far it is."""
        self._lives = False

    def begin(self, unit: Named, alone: bool) -> None:
        self.awaited = self._actor.run.options(num_returns="streaming").remote(unit, alone)

    def hear(self) -> Progress | None:
        try:
            if not self._lives:
                ray.get(self.awaited)
                self._lives = True
                return None
            progress: Progress = ray.get(next(self.awaited))
            return progress
        except StopIteration:
            return None
        except RayTaskError as error:
            details = click.unstyle(str(error))
            raise WorkerError(fault_of(error.cause), error_sentence(error.cause), details) from error
        except RayError as error:
            raise WorkerError(Fault.DIED, str(error).splitlines()[0]) from error

    def stop(self) -> None:
        """Its latest checkpoint is what is kept: an actor hears nothing while it does a unit."""

    def end(self) -> None:
        ray.kill(self._actor)


class RayCrew:
    """Actors of one logical CPU each, spread over all nodes.

    Args:
        task: What they are for.
    """

    why_late = "the cluster may be full"

    def __init__(self, task: Task) -> None:
        self._task = task
        # Its own learner's; remote learners ask for theirs themselves.
        local = [of.num_gpus_per_learner for of in task.recipe.trainings if of.num_learners == 0]
        self._actor = ray.remote(num_cpus=1, num_gpus=max(local, default=0), scheduling_strategy="SPREAD")(_Worker)

    def start(self) -> RayWorker:
        """Ask for an actor, which lives once there is a CPU for it."""
        return RayWorker(self._actor.remote(self._task))

    def wait(self, workers: Collection[RayWorker], timeout: float | None) -> RayWorker | None:
        """As `kerf.runs.execution.worker.Crew` says."""
        by_awaited = {worker.awaited: worker for worker in workers}
        answered, _ = ray.wait(list(by_awaited), num_returns=1, timeout=timeout)
        return by_awaited[answered[0]] if answered else None
