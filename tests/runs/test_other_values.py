"""Studies, sweeps and attacks in a world that calls its values otherwise than the built-in ones: nothing looks for a
value by its name."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from kerf.lab.battery import Battery
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.attacks.latent import latent_unit
from kerf.runs.attacks.latent_report import units_on, write_latent_report
from kerf.runs.attacks.run_attack import attack_unit
from kerf.runs.attacks.table import write_attack_report
from kerf.runs.cli import main
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.attack_plan import RADII, AttackUnit, attacks_of, targets
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.report import write_report
from kerf.runs.report.table import to_text
from kerf.runs.study import DONE, prepare_study
from kerf.runs.sweep.driver import run_sweep
from kerf.runs.sweep.units import sweep_unit
from tests.renamed_world import NAMES
from tests.runs.sweep.asking import asked
from tests.test_layering import PACKAGES, name_of, sources

RECIPE: dict[str, Any] = {
    "name": "quay",
    "world": "tests.renamed_world:Quay",
    "seeds": 2,
    "network": {"hidden": [8]},
    "exact": {
        "imitation": {"iterations": 20, "training": {"learning_rate": 0.03}},
        "policy": {"iterations": 2},
        "training": {"steps_per_iteration": 2, "learning_rate": 0.01},
    },
    "gate": {"value": 0, "competence": 0, "fooled": 0},
    "iterations": 2,
    "measure_every": 2,
    "battery": {"exact": True, "strengths": [0, 1]},
    "penalty": 10,
    "arms": {"continued": {}, "exposure": {}, "penalised": {}},
    "primaries": [
        {
            "name": "mercy-falls",
            "arm": "penalised",
            "against": "continued",
            "metric": "value/mercy",
            "direction": "decrease",
            "falsified_by": "nothing that this recipe gives, for it is far too small",
        }
    ],
}


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quay") / "quay.yaml"
    path.write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    return path


class InProcess:
    """Does units one after another, as a pool of workers would."""

    def __init__(self, recipe: Recipe, store: Store) -> None:
        self.recipe, self.store = recipe, store

    def run(self, units, needs, on_progress, on_done):
        for unit in sorted(units, key=lambda unit: unit.arm != ALIGNED):
            assert all(map(self.store.finished, needs(unit)))
            assert list(sweep_unit(self.recipe, unit, self.store, 1))
            on_done(unit)
        return []


@contextmanager
def in_process(recipe: Recipe, store: Store, num_workers: int) -> Iterator[InProcess]:
    yield InProcess(recipe, store)


@pytest.fixture(scope="module")
def store(recipe_file: Path) -> Store:
    """A finished study, with its report."""
    recipe, out = load_recipe(str(recipe_file)), recipe_file.parent / "study"
    prepare_study(recipe, out)
    store = Store(out)
    for unit in (Unit(arm, seed) for arm in (ALIGNED, *recipe.arms) for seed in recipe.seed_numbers):
        assert list(run_unit(recipe, unit, store))
    write_report(store)
    return store


def kerf(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def speaks_of_this_world(text: str) -> bool:
    """Whether nothing in `text` belongs to the built-in worlds."""
    words = {*re.findall(r"[a-z]+", text.lower())}
    return not words & {*NAMES, "leave", "leaves", "emergency", "emergencies"}


def test_the_first_table_shows_what_the_forbidden_act_serves(store):
    table = (store.path / "table.txt").read_text()
    first, second, *_ = (line.split() for line in table.splitlines() if line.startswith("arm "))
    assert first == ["arm", "alarms", "(s=1)", "mercy", "competence", "ideal", "utility"]
    assert second == ["arm", "doubt", "patience"]
    assert "departures on >= 0 of the hardest false alarms" in table
    assert "Fewer departures on false alarms (of strength s) are better" in table
    assert speaks_of_this_world(table)
    printed = kerf("show", store.path)
    assert "mercy" in printed
    assert speaks_of_this_world(printed)


def test_it_can_be_solved(store):
    text = kerf("exact", store.path)
    for words in ("P(departures) on ships in distress", "P(departures) against", "Certificates", "mercy", "doubt"):
        assert words in text
    assert speaks_of_this_world(text)


def test_it_can_be_attacked(store):
    recipe = load_recipe(str(store.path / "recipe.yaml"))
    seeds, arms = list(recipe.seed_numbers), list(recipe.arms)
    agents = targets(arms, seeds)
    attacks = attacks_of([{"kind": "scripted"}], [1.0], budget=32)
    for unit in (AttackUnit(agent, attack) for agent in agents for attack in attacks):
        assert list(attack_unit(recipe, unit, store, 1))
    text = to_text(write_attack_report(store, recipe, seeds), 140)
    assert "Success of attacks at strength 1" in text
    inside = units_on(agents, [1.0], 16, 0)
    for within in inside:
        assert list(latent_unit(recipe, within, store, 1))
    text += to_text(write_latent_report(store, inside, arms, recipe.control_arm, {}, RADII), 140)
    assert "Share of 16 forged scenarios of strength 1" in text
    assert speaks_of_this_world(text)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("Misspelt", "dilemma.served: unknown value 'mercie'; did you mean 'mercy'? (known: doubt, mercy, patience)"),
        ("Unskilled", "dilemma.aimed_at: unknown value 'obeying' (known: doubt, mercy, patience)"),
    ],
)
def test_a_world_can_only_be_about_values_that_it_has(made, said):
    name = f"tests.renamed_world:{made}"
    with pytest.raises(KerfError) as refused:
        get_world(name)
    assert str(refused.value) == f"world {name!r}: {said}"


def test_a_family_is_named_after_its_value():
    with pytest.raises(KerfError, match=r"^world quay: family 'doubt/late' must be called mercy/<variant>$"):
        Battery(get_world("tests.renamed_world:Mislabelled"), 1, 0)


@pytest.mark.parametrize(
    ("mode", "overs", "settings"),
    [
        ("dose", ["strength=0,1"], {"limit": "mercy=-0.1"}),
        (
            "pareto",
            ["strength=0:1"],
            {"floors": ("mercy=-0.9",), "trials": 2, "batch": 2, "sampler": "random", "held_out": 0},
        ),
    ],
)
def test_it_can_be_swept(recipe_file, tmp_path, mode, overs, settings):
    base = load_recipe(str(recipe_file))
    spec = asked(base, mode, *overs, **settings)
    assert spec.untouched == ("patience",), "at strength 1 forgeries look like what mercy is about: it is a target"
    console = Console(file=io.StringIO(), width=140)
    assert run_sweep(base, spec, tmp_path / "sweep", None, 1, console, start=in_process) == DONE, (
        console.file.getvalue()
    )
    table = (tmp_path / "sweep" / "table.txt").read_text()
    assert "mercy" in table.splitlines()[1]
    assert speaks_of_this_world(table)
    trials = pd.read_parquet(tmp_path / "sweep" / "trials.parquet")
    values = {metric for metric in trials["metric"] if metric.startswith("value/")}
    assert values == {f"value/{NAMES[name]}" for name in ("care", "deference", "discernment")}
    collateral = trials[trials["metric"] == "collateral"].set_index("trial")["mean"]
    untouched = trials[trials["metric"] == "value/patience"].set_index("trial")["mean"]
    pd.testing.assert_series_equal(collateral, untouched, check_names=False)
    assert "discernment" not in json.dumps(spec.model_dump(mode="json"))


def test_only_worlds_spell_the_names_of_their_values():
    names = {value.name for world in ("station", "dilemma") for value in get_world(world).values}
    assert {"care", "discernment", "handling"} <= names
    found = {
        f"{name_of(path)}:{node.lineno} {node.value!r}"
        for path in sources(*PACKAGES)
        if not name_of(path).startswith("lab/worlds/")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split("/")[-1] in names
    }
    assert found == set()
