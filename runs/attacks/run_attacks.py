"""Scheduler of many attacks on the agents of a study: spreads them over workers and skips finished ones."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from rich.console import Console

from kerf.runs.execution.progress import title
from kerf.runs.execution.scheduler import Plan, Scheduler, start_workers
from kerf.runs.recipe.attack_plan import AttackSettings, AttackUnit
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Named, Store, Unit
from kerf.runs.terminal.console import say
from kerf.runs.terminal.pace import EVERY, time_left

if TYPE_CHECKING:
    from kerf.runs.execution.pool import Runner
    from kerf.runs.execution.training_log import Progress
    from kerf.runs.execution.worker import Work

MODULES = ("kerf.runs.attacks.run_attack", "kerf.runs.attacks.latent")
"""Modules that attacks import, loaded before workers are forked."""


class OnAgent(Named, Protocol):
    """An attack on one agent: a unit of work."""

    @property
    def target(self) -> Unit:
        """The agent."""


U = TypeVar("U", bound=OnAgent)


def attack_all(
    recipe: Recipe,
    store: Store,
    attacks: Sequence[AttackSettings],
    targets: Sequence[Unit],
    workers: int | None,
    console: Console,
    on_done: Callable[[], None] = lambda: None,
    pictures: bool = False,
) -> bool:
    """Make every attack on every target, except those that are finished.

    Args:
        recipe: Recipe of the study.
        store: Store of the study, whose targets are finished.
        attacks: Attacks to make on each target.
        targets: Agents.
        workers: Number of parallel attacks; None: one per core, as memory allows.
        console: Console for progress.
        on_done: Called after each attack is published.
        pictures: Whether to draw the top episodes.

    Returns:
        Whether every attack succeeded; failures are printed.

    Raises:
        DiskError: if an attack cannot be written to disk.
    """
    from kerf.runs.attacks.run_attack import attack_unit

    units = [AttackUnit(target, attack) for target in targets for attack in attacks]
    work = functools.partial(attack_unit, pictures=pictures)
    on_ray = any(attack.generator.ask_workers for attack in attacks)
    return do_all(recipe, store, units, work, workers, console, on_done, on_ray)


def do_all(
    recipe: Recipe,
    store: Store,
    units: Sequence[U],
    work: Work[U],
    workers: int | None,
    console: Console,
    on_done: Callable[[], None] = lambda: None,
    on_ray: bool = False,
) -> bool:
    """Do the unfinished ones of `units` by `work`, which may need Ray; otherwise as `attack_all`."""

    def tell(why: str) -> None:
        say(console, f"warning: {why}")

    def start(num_workers: int) -> AbstractContextManager[Runner[U]]:
        return start_workers(recipe, store, num_workers, work, tell, MODULES, on_ray=on_ray)

    with Scheduler(store, workers, console, start, _announcement, compiles=recipe.exact is None) as scheduler:
        return scheduler.do(units, lambda todo: AgentCount(console, todo), on_published=lambda unit: on_done())


def _announcement(plan: Plan[Any]) -> str:
    agents = len({unit.target for unit in plan.todo})
    on = f"{agents} agent{'s' if agents > 1 else ''}, {plan.workers} at a time"
    return f"attacks: {len(plan.todo)} on {on}{plan.already}"


class AgentCount:
    """Progress listener that prints a line when all attacks on an agent are finished, and at least every `EVERY`
    seconds in which an attack is, or goes on; it says how long the rest will take.

    Args:
        console: Console to print to.
        todo: Units to do.
        clock: Seconds, as `time.monotonic` gives them.
    """

    def __init__(self, console: Console, todo: Sequence[OnAgent], clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._left = console, Counter(unit.target for unit in todo)
        self._agents, self._attacks, self._done = len(self._left), len(todo), 0
        self._clock = clock
        self._began = self._said = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to clean up."""

    def progress(self, progress: Progress) -> None:
        """Print how far a running attack is, where nothing was printed for `EVERY` seconds."""
        now = self._clock()
        if now - self._said < EVERY or not 0 < progress.iteration < progress.iterations:
            return
        share = progress.iteration / progress.iterations
        done = f"{title(progress.unit)}: {progress.note}, {share:.0%} of {progress.iterations:,} scenarios"
        left = time_left(share, progress.seconds)
        say(self._console, f"{done}{f', {left}' if left and self._attacks == 1 else ''}")
        self._said = now

    def dropped(self, units: Sequence[OnAgent]) -> None:
        """Attacks are never dropped."""

    def finished(self, unit: OnAgent) -> None:
        """Count a published attack on its agent."""
        target, now = unit.target, self._clock()
        if not self._done:
            self._began = now  # loading is over
        self._done += 1
        self._left[target] -= 1
        left = time_left((self._done - 1) / max(1, self._attacks - 1), now - self._began)
        if not self._left[target]:
            del self._left[target]
            place = f"[{self._agents - len(self._left):>3}/{self._agents}]"
            say(self._console, f"{place} {title(target):<24}  {left}".rstrip())
        elif now - self._said < EVERY:
            return
        else:
            say(self._console, f"{self._done:,} of {self._attacks:,} attacks{f', {left}' if left else ''}")
        self._said = now
