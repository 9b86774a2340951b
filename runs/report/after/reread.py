"""The report of finished after-tests, made again from the records."""

from __future__ import annotations

import json

from kerf.runs.recipe.after_plan import RECORD, AfterPlan, AfterSettings, AfterUnit, units_of
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Store
from kerf.runs.report.after.judged import AfterReport, judge_after


def read_report(store: Store) -> tuple[AfterReport, list[AfterUnit]]:
    """Return the report of the tests that `after.json` names, and their units.

    Raises:
        KerfError: if records are missing or damaged.
    """
    plain = json.loads(store.read_bytes(f"{RECORD}.json"))
    settings = AfterSettings.model_validate(plain["settings"])
    plan = AfterPlan(tuple(plain["tests"]), tuple(plain["arms"]), plain["control"], plain["not_made"])
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    units = units_of(settings, plan, plain["seeds"])
    return judge_after(store, recipe, units, plan, settings), units
