"""Many attacks on the agents of a study, spread over workers; what is done already is not done again."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from rich.console import Console

from kerf.runs.console import say
from kerf.runs.recipe.attack_plan import AttackSettings, AttackUnit
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.atomic_io import DiskError
from kerf.runs.records.store import Named, Store, Unit

if TYPE_CHECKING:
    from kerf.runs.execution.worker import Work


MODULES = ("kerf.runs.attacks.run_attack", "kerf.runs.attacks.latent")
"""What attacks import, so that workers that are forked have it from the beginning."""


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
    """Make every attack on every target that was not made yet.

    Args:
        recipe: Of the study.
        store: Of the study, whose targets are finished.
        attacks: What to do to each.
        targets: Agents.
        workers: Attacks at a time; None: one a core.
        console: Where it is said how far they are.
        on_done: Called whenever one is published.
        pictures: Whether to draw the most telling episodes.

    Returns:
        Whether all was done; failures are printed.

    Raises:
        DiskError: if the disk does not let an attack be written.
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
    """Do those of `units` that are not done yet by `work`, which may need Ray; all else as in `attack_all`."""
    todo = [unit for unit in units if not store.finished(unit, verify=True)]
    if not todo:
        return True
    from kerf.runs.execution.local_ray import ray_for
    from kerf.runs.execution.pool import Pool

    num_workers = min(workers or os.cpu_count() or 1, len(todo))

    already = f" ({len(units) - len(todo)} are done already)" if len(todo) < len(units) else ""
    agents = len({unit.target for unit in todo})
    say(console, f"attacks: {len(todo)} on {agents} agent{'s' if agents > 1 else ''}, {num_workers} at a time{already}")
    left = Counter(unit.target for unit in todo)

    def published(unit: U) -> list[U]:
        on_done()
        left[unit.target] -= 1
        if not left[unit.target]:
            del left[unit.target]
            say(console, f"[{agents - len(left):>3}/{agents}] {unit.target.arm} seed {unit.target.seed}")
        return []

    def tell(why: str) -> None:
        say(console, f"warning: {why}")

    with ray_for(on_ray, num_workers), Pool(recipe, store.path, num_workers, work, tell, MODULES) as pool:
        failures = pool.run(todo, lambda unit: (), lambda progress: None, published)
    for failure in failures:
        if failure.disk:
            raise DiskError(f"{failure.unit.name}: {failure.why}")
        say(console, f"failed: {failure.unit.name}: {failure.why}")
        store.append_timing({"failed": failure.unit.name, "why": failure.why, "traceback": failure.traceback})
    return not failures
