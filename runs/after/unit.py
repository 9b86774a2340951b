"""One after-test of one agent, with its records.

after.json     the figures of the test and facts about it
*.parquet      its tables: learning curves, choices, what replaced what
policy.*       weights of a naive agent
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping

from kerf.agents.export import save_policy
from kerf.lab.torch_threads import one_thread
from kerf.runs.after.behaviour import concealment, reattack, renewal, substitution, trade
from kerf.runs.after.case import Case, Found
from kerf.runs.after.dormancy import dormancy, dormant
from kerf.runs.after.retraining import naive, rebound, relearning
from kerf.runs.execution.training_log import Progress
from kerf.runs.recipe.after_plan import NAIVE, RECORD, AfterUnit
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.folder import Folder
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

PLAYS: Mapping[str, Callable[[Case], Found]] = {
    "renewal": renewal,
    "concealment": concealment,
    "substitution": substitution,
    "reattack": reattack,
    "dormancy": dormancy,
    "trade": trade,
}
"""Tests that train nothing, by name."""

TRAINS: Mapping[str, Callable[[Case], Generator[Progress, None, Found]]] = {
    "relearning": relearning,
    "rebound": rebound,
}
"""Tests that train, by name."""


def after_unit(recipe: Recipe, unit: AfterUnit, store: Store, num_threads: int = 1) -> Iterator[Progress]:
    """Make a test, or a naive agent, and publish its records."""
    began = time.monotonic()
    store.fetch((unit.target, Unit(ALIGNED, unit.target.seed)))
    case = Case(recipe, store, unit.target, unit.settings, num_threads)
    with one_thread(), store.unit(unit) as folder:
        if unit.test == NAIVE:
            found, policy = yield from naive(case)
            figures = dict(found.figures)
            if not recipe.network.memory:  # else nothing dormant can be read, and `after_plan` says so
                figures |= dormant(case, policy, "")
            save_policy(folder.path / POLICY, policy, case.world, {"seed": unit.target.seed})
            found = Found(figures, found.facts, found.tables)
        elif unit.test in TRAINS:
            found = yield from TRAINS[unit.test](case)
        else:
            found = PLAYS[unit.test](case)
        _write(folder, unit, case, found)
    yield Progress(unit.target, 1, 1, 0, time.monotonic() - began)


def _write(folder: Folder, unit: AfterUnit, case: Case, found: Found) -> None:
    facts = {
        "arm": NAIVE if unit.test == NAIVE else unit.target.arm,
        "seed": unit.target.seed,
        "test": unit.test,
        "world": case.world.name,
        "strength": case.strength,
        "settings": unit.settings.model_dump(mode="json", exclude={"tests", "arms"}),
    }
    folder.write_json(RECORD, {**facts, **found.facts, "figures": dict(found.figures)})
    for name, columns in found.tables.items():
        folder.write_table(name, dict(columns))
