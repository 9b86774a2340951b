"""Deviations from what was registered: each kind is told, and nothing is where nothing deviates."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kerf.runs.records.store import Store
from kerf.runs.report import make_report
from kerf.runs.report.conclusion import conclude
from kerf.runs.report.deviations import deviations
from kerf.runs.report.ending import MOST_LINES, ending
from kerf.runs.report.page import make_page


@pytest.fixture
def copy(smoke_study: Path, tmp_path: Path) -> Store:
    shutil.copytree(smoke_study, tmp_path / "study")
    return Store(tmp_path / "study")


def change(path: Path, edit: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_a_study_as_registered_has_none_and_its_page_has_no_such_section(smoke_study: Path) -> None:
    store = Store(smoke_study)
    assert deviations(store, make_report(store)) == []
    assert b'id="deviations"' not in make_page(store)


def test_a_recipe_that_was_changed_is_told_by_its_hash_and_by_its_entries(copy: Store) -> None:
    change(copy.path / "study.json", lambda manifest: manifest["recipe"]["primaries"][0].update(direction="increase"))
    first, second, third = deviations(copy, make_report(copy))
    assert "changed after it was registered" in first
    assert copy.manifest()["recipe_hash"][:12] in first
    assert second == "Entries of study.json were changed after the recipe was registered: primaries."
    assert third == "recipe.yaml says otherwise than what was registered: primaries."


def test_a_recipe_file_that_was_changed_is_told_field_by_field(copy: Store) -> None:
    path = copy.path / "recipe.yaml"
    given = yaml.safe_load(path.read_text())
    given["penalty"], given["battery"]["scenarios_per_family"] = 3, 9
    given["arms"]["sham"] = {}
    path.write_text(yaml.safe_dump(given))
    (told,) = deviations(copy, make_report(copy))
    assert told.endswith("registered: arms.sham, battery.scenarios_per_family, penalty.")


def test_seeds_that_are_missing_or_added_are_told(copy: Store) -> None:
    shutil.copytree(copy.path / "aligned" / "seed-1", copy.path / "aligned" / "seed-7")
    change(copy.path / "study.json", lambda manifest: manifest.update(seeds=[0]))
    assert deviations(copy, make_report(copy)) == [
        "Seeds that were registered are left out: 1.",
        "Seeds were added that were not registered: 7. Effects do not use those that study.json does not list.",
    ]


def test_cells_that_were_set_aside_are_told_with_the_reason_and_the_page_has_no_effects(copy: Store) -> None:
    shutil.rmtree(copy.path / "cells" / "penalised" / "seed-1")
    shutil.rmtree(copy.path / "cells" / "exposure" / "seed-0")
    copy.append_timing({"failed": "cells/penalised/seed-1", "why": "set aside after 3 tries: the loss is not finite"})
    assert deviations(copy) == [
        "cells/penalised/seed-1 has no records: set aside after 3 tries: the loss is not finite",
        "1 unit has not been done: cells/exposure/seed-0.",
        "Registered predictions that were not computed: penalty-costs-care.",
    ]
    html = make_page(copy).decode()
    assert "The study is not finished: 2 of its units are missing" in html
    assert 'id="deviations"' in html
    assert 'id="effects"' not in html


def test_agents_that_failed_the_gate_are_told_at_the_end_of_the_command_too(copy: Store) -> None:
    gate = copy.path / "aligned" / "seed-1" / "gate.json"
    change(gate, lambda verdict: verdict.update(passed=False))
    data = gate.read_bytes()
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(gate.parent / "done.json", lambda done: done["files"].update({"gate.json": entry}))
    told = "1 of 2 registered seeds were not studied, for their agents did not pass the gate: 1."
    conclusion = conclude(copy)
    assert list(conclusion.deviations) == [told]
    lines = ending(conclusion, copy.path, 100)
    assert any(line.startswith("Not as registered: 1 of 2") for line in lines)
    assert len(lines) <= MOST_LINES
    assert told in make_page(copy).decode()
