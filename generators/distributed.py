"""Large populations asked for in parts, on Ray workers. The scenarios do not depend on the number of workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from kerf.generators.base import Generator, GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World
from kerf.lab.worlds import get_world, name_of

Pending = dict[str, NDArray[Any]]
Part = tuple[int, np.random.SeedSequence]
"""Number of scenarios of a part, and their seed."""

ROWS = 128
"""Default number of scenarios of a part."""


def parts(n: int, rows: int, rng: np.random.Generator) -> list[Part]:
    """`n` scenarios in parts of `rows`, the last one smaller, each with a seed of its own.

    The seeds are drawn from `rng`, so they depend on its state alone.
    """
    sizes = [min(rows, n - start) for start in range(0, n, rows)]
    seeds = np.random.SeedSequence(rng.integers(0, 2**32, 4).tolist()).spawn(len(sizes))
    return list(zip(sizes, seeds, strict=True))


def ask_part(generator: Generator, part: Part) -> tuple[Scenarios, Pending]:
    """The scenarios of one part, and `generator.pending` of them."""
    size, seed = part
    scenarios = generator.ask(size, np.random.default_rng(seed))
    return scenarios, generator.pending()


def concatenated(answers: Sequence[tuple[Scenarios, Pending]]) -> tuple[Scenarios, Pending]:
    """Parts, in their order, as one population.

    Arrays that some parts lack (of a source of a mixture that drew nothing there) are zeros in them.
    """
    like = {name: array[:0] for _, pending in answers for name, array in pending.items()}

    def column(name: str, scenarios: Scenarios, pending: Pending) -> NDArray[Any]:
        empty = np.zeros((len(scenarios), *like[name].shape[1:]), like[name].dtype)
        return pending.get(name, empty)

    return np.concatenate([scenarios for scenarios, _ in answers]), {
        name: np.concatenate([column(name, *answer) for answer in answers]) for name in like
    }


class _Asker:
    """An actor on a worker: restores a generator's state and asks it."""

    def __init__(self, world: str, settings: GeneratorSettings, adversarial_share: float) -> None:
        self._generator = make_generator(get_world(world), settings, adversarial_share)

    def ask(self, state: Mapping[str, Any], asked: Sequence[Part]) -> list[tuple[Scenarios, Pending]]:
        self._generator.set_state(state)
        return [ask_part(self._generator, part) for part in asked]


class Distributed(Generator):
    """A generator that is asked on workers and learns here.

    The workers reserve no CPU in Ray: the caller waits for them, and its env runners are idle meanwhile. They start
    with the first `ask`, so that copies made before that have none.

    Args:
        world: The world; one of `kerf.lab.worlds.get_world`, by which workers make it again.
        settings: Which generator, without `ask_workers`.
        adversarial_share: As in `kerf.generators.registry.make_generator`.
        num_workers: Ray actors; 0 asks all parts here.
        rows: Scenarios of a part. Unlike the number of workers, it changes the scenarios.

    Attributes:
        generator: The one that learns, whose state counts.

    Raises:
        KerfError: for a negative number of workers, `rows` below 1, or a world that was made without `get_world`.
    """

    def __init__(
        self,
        world: World,
        settings: GeneratorSettings,
        adversarial_share: float = 1.0,
        *,
        num_workers: int,
        rows: int = ROWS,
    ) -> None:
        if num_workers < 0 or rows < 1:
            raise KerfError(f"distributed: expected num_workers >= 0 and rows >= 1, got {num_workers} and {rows}")
        super().__init__(world)
        self.generator = make_generator(world, settings, adversarial_share)
        self._made = name_of(world), settings, adversarial_share  # now: the world of a copy has no name
        self._num_workers, self._rows = num_workers, rows
        self._here: _Asker | None = None
        self._workers: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_workers": []}  # a copy has workers of its own

    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        """As `Generator.ask`, in parts.

        Raises:
            ValueError: if `n` is below 1.
            KerfError: if there are to be workers and no Ray runs.
        """
        if n < 1:
            raise ValueError(f"ask needs n >= 1, got {n}")
        asked = parts(n, self._rows, rng)
        scenarios, pending = concatenated(self._answers(asked))
        self.generator.expect(scenarios, pending)
        return scenarios

    def tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        """As `Generator.tell`: learns from all parts at once."""
        self.generator.tell(scenarios, scores)

    def pending(self) -> dict[str, NDArray[Any]]:
        return self.generator.pending()

    def expect(self, scenarios: Scenarios, pending: Mapping[str, NDArray[Any]]) -> None:
        self.generator.expect(scenarios, pending)

    def report(self) -> dict[str, Any]:
        return self.generator.report()

    def get_state(self) -> dict[str, Any]:
        return self.generator.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state)

    def mix(self) -> Mix | None:
        return self.generator.mix()

    def close(self) -> None:
        """End the workers; the next `ask` would begin new ones."""
        for worker in self._workers:
            ray.kill(worker)
        self._workers = []

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        raise AssertionError("unreachable: `ask` asks in parts")

    def _answers(self, asked: list[Part]) -> list[tuple[Scenarios, Pending]]:
        state = self.generator.get_state()
        if not self._num_workers:
            self._here = self._here or _Asker(*self._made)
            return self._here.ask(state, asked)
        self._begin(min(self._num_workers, len(asked)))
        reference = ray.put(state)
        shares = np.array_split(np.arange(len(asked)), len(self._workers))
        waiting = [
            worker.ask.remote(reference, [asked[index] for index in share])
            for worker, share in zip(self._workers, shares, strict=True)
            if len(share)
        ]
        return [answer for answers in ray.get(waiting) for answer in answers]

    def _begin(self, num_workers: int) -> None:
        """Start workers until there are enough."""
        if not ray.is_initialized():
            raise KerfError(
                f"generator.ask_workers: {self._num_workers} workers need Ray, which does not run; call ray.init, "
                "or set it to 0"
            )
        # Workers keep no state between calls, so that another process can replace one at any time.
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD")(_Asker)
        self._workers += [actor.remote(*self._made) for _ in range(num_workers - len(self._workers))]
