"""Trainers: which one a recipe gets, and what every one of them owes to those who call it."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kerf.agents.export import load_network, load_policy
from kerf.agents.settings import ExactSettings, TrainingSettings
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.execution.measurements import Measurements, make_battery
from kerf.runs.execution.trainer import Aligned, TrainingRun
from kerf.runs.execution.trainers import module_of, trainer_of
from kerf.runs.execution.training_log import Log
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit
from tests.runs.execution.test_forked_workers import TOY
from tests.runs.test_exact_study import RECIPE as EXACT
from tests.runs.test_study import records

WAYS = ("ppo", "exact")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def recipe_of(write: Callable[[dict[str, Any]], str]) -> Callable[[str], Recipe]:
    """A tiny recipe of each way of training, with a control arm called `continued`."""

    def make(way: str) -> Recipe:
        if way == "ppo":
            return load_recipe(write(TOY))
        arms = {"frozen": {}, "continued": {}, "twin": {"kind": "penalised", "agent": "table"}}
        (primary,) = EXACT["primaries"]
        primaries = [primary | {"arm": "twin", "against": "continued"}]
        return Recipe.model_validate(EXACT | {"arms": arms, "primaries": primaries})

    return make


def align(recipe: Recipe, folder: Path) -> Aligned:
    unit = Unit(ALIGNED, 0)
    log = Log(unit, recipe.align_iterations)
    training: Generator[Any, None, Aligned] = trainer_of(recipe).align(
        TrainingRun(unit, Store(folder), log, Measurements(make_battery(recipe), log))
    )
    while True:
        try:
            next(training)
        except StopIteration as end:
            assert log.done == recipe.align_iterations
            return end.value


@pytest.mark.parametrize("way", WAYS)
def test_a_trainer_aligns_the_same_agent_each_time(
    way: str, recipe_of: Callable[[str], Recipe], tmp_path: Path
) -> None:
    recipe = recipe_of(way)
    assert import_module(module_of(recipe)).make_trainer(recipe).keeps_checkpoints == (way == "ppo")
    first, again = (align(recipe, tmp_path) for _ in range(2))
    assert first.scales == again.scales
    assert (first.scales.advantage is not None) == (way == "ppo")
    for name, weights in first.policy.weights().items():
        assert np.array_equal(weights, again.policy.weights()[name])


def test_an_arm_is_asked_for_settings_of_the_way_that_it_is_trained_by(recipe_of: Callable[[str], Recipe]) -> None:
    for way, mine, other in (("ppo", TrainingSettings, ExactSettings), ("exact", ExactSettings, TrainingSettings)):
        arm = recipe_of(way).resolve()["continued"]
        assert arm.trained_by(mine) is arm.training
        with pytest.raises(TypeError, match=f"not {other.__name__}"):
            arm.trained_by(other)


def test_a_network_is_loaded_where_there_is_one_and_a_table_is_refused(
    recipe_of: Callable[[str], Recipe], tmp_path: Path
) -> None:
    recipe, store = recipe_of("exact"), Store(tmp_path)
    world = get_world(recipe.world)
    for unit in (Unit(ALIGNED, 0), Unit("twin", 0)):
        assert list(run_unit(recipe, unit, store))
    assert load_network(tmp_path / Unit(ALIGNED, 0).name / POLICY, world).kind == "network"
    table = tmp_path / Unit("twin", 0).name / POLICY
    assert load_policy(table, world).kind == "table"
    with pytest.raises(KerfError, match="expected a network, got a table"):
        load_network(table, world)


@pytest.mark.parametrize("way", WAYS)
def test_records_do_not_depend_on_how_many_threads_the_caller_gave_torch(way, recipe_of, tmp_path) -> None:
    recipe = load_recipe("smoke") if way == "ppo" else recipe_of(way)  # whose weights' first draw threads would share
    written = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for unit in (Unit(ALIGNED, 0), Unit("continued", 0)):
                for _ in run_unit(recipe, unit, Store(tmp_path / str(threads))):
                    pass
            assert torch.get_num_threads() == threads
            written.append(records(tmp_path / str(threads)))
    finally:
        torch.set_num_threads(before)
    assert written[0] == written[1]


def test_all_that_publish_a_unit_give_torch_one_thread() -> None:
    publishing = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "runs").rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"with .*\bstore\.unit\(", line)
    ]
    assert len(publishing) >= 4
    assert [line for line in publishing if "one_thread()" not in line] == []
