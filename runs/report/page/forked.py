"""Making of the page in a worker of the study, so that its driver needs neither torch nor the time to import it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kerf.lab.errors import KerfError
from kerf.runs.execution.forked_workers import will_fork
from kerf.runs.execution.pool import Pool
from kerf.runs.execution.training_log import Progress
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import Store
from kerf.runs.report.page import write_page
from kerf.runs.report.table import Report

MODULES = ("kerf.runs.report.page", "kerf.runs.report.replay")
"""Modules that the worker imports."""


@dataclass(frozen=True)
class _Page:
    """The page as a unit of work; it has no folder of its own."""

    name: str = "page"


def make_page_of(recipe: Recipe, store: Store, report: Report | None, tell: Callable[[str], None]) -> None:
    """Write the page of a finished study, in a forked worker where there are any.

    Args:
        recipe: The study's recipe.
        store: Its store.
        report: Its report, if it was made already.
        tell: Callback for warnings, each a sentence.

    Raises:
        KerfError: if the page cannot be made.
    """
    if not will_fork() or store.address is not None:
        write_page(store, report)
        return
    with Pool(recipe, store.path, 1, _write, tell, MODULES) as pool:
        failures = pool.run([_Page()], lambda unit: (), lambda progress: None, lambda unit: ())
    for failure in failures:
        raise KerfError(failure.why)


def _write(recipe: Recipe, unit: _Page, store: Store, num_threads: int) -> Iterator[Progress]:
    write_page(store)
    return iter(())
