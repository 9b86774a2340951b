"""Ray workers: actors on the nodes of the Ray cluster that this process is connected to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
import ray
from ray.exceptions import RayError, RayTaskError

from kerf.runs.execution.worker import Fault, Task, UnitDoer, WorkerError, error_sentence, fault_of
from kerf.runs.records.provenance import refuse_other_code, this_code

if TYPE_CHECKING:
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.records.store import Named


class _Worker:
    """The Ray actor class of a worker."""

    def ready(self, code: Mapping[str, str], task: bytes) -> None:
        """Return once the actor can do units.

        Args:
            code: The code of its driver, see `kerf.runs.records.provenance.this_code`.
            task: Its `Task`, pickled: other code might not even unpickle it.
        """
        refuse_other_code(code)
        self._doer = UnitDoer(ray.cloudpickle.loads(task))

    def run(self, unit: Named, alone: bool) -> Iterator[Progress]:
        yield from self._doer.run(unit, alone)


class RayWorker:
    """A Ray actor, as its driver sees it."""

    def __init__(self, actor: Any, task: Task) -> None:
        self._actor = actor
        self.awaited: Any = actor.ready.remote(this_code(), ray.cloudpickle.dumps(task))
        """Its next answer: that it is running, or the stream of progress of its unit."""
        self._lives = False

    def begin(self, unit: Named, alone: bool) -> None:
        self.awaited = self._actor.run.options(num_returns="streaming").remote(unit, alone)

    def receive(self) -> Progress | None:
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
        """Return None: an actor receives nothing while it does a unit, so only its latest checkpoint is kept."""

    def end(self) -> None:
        ray.kill(self._actor)


class RayCrew:
    """Source of workers that are Ray actors of one logical CPU each, spread over all nodes.

    Args:
        task: Task of the workers.
    """

    why_late = "the cluster may be full"

    def __init__(self, task: Task) -> None:
        self._task = task
        # For a local learner; remote learners request their own GPUs.
        local = [training.num_gpus_per_learner for training in task.recipe.trainings if training.num_learners == 0]
        self._actor = ray.remote(num_cpus=1, num_gpus=max(local, default=0), scheduling_strategy="SPREAD")(_Worker)

    def start(self) -> RayWorker:
        """Request an actor; it starts when a CPU is available."""
        return RayWorker(self._actor.remote(), self._task)

    def wait(self, workers: Collection[RayWorker], timeout: float | None) -> RayWorker | None:
        """See `kerf.runs.execution.worker.Crew.wait`."""
        by_awaited = {worker.awaited: worker for worker in workers}
        answered, _ = ray.wait(list(by_awaited), num_returns=1, timeout=timeout)
        return by_awaited[answered[0]] if answered else None
