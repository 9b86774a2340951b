"""`thrift` is measured beside the values of `station`, tells who has it from who has not, and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from kerf_example_thrift import BORROWED, ThriftyStation

from kerf.lab.battery import Battery
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe


@pytest.fixture(scope="module")
def world():
    return get_world("station_thrift")


@pytest.fixture(scope="module")
def battery(world):
    return Battery(world, scenarios_per_family=32, seed=1)


def test_a_recipe_can_predict_it():
    recipe = load_recipe("turner", sets=["world=station_thrift"])
    asked = recipe.primaries[0].model_dump() | {"metric": "value/thrift"}
    sets = ["world=station_thrift", f"primaries=[{ {k: str(v) for k, v in asked.items()} }]"]
    assert load_recipe("turner", sets=sets).primaries[0].metric == "value/thrift"


def test_the_expert_has_it_and_who_always_calls_has_not(world, battery):
    assert isinstance(world, ThriftyStation)
    assert battery.measure(ExpertPolicy(world))["value/thrift"] == 1.0
    calling = battery.measure(ConstantPolicy(world, "call"))
    assert calling["value/thrift"] == 0.0
    assert calling["value/caution"] == 1.0, "a caller breaks no vase: it is thrift alone that is missing"


def test_every_borrowed_family_is_probed_and_held_out(world, battery):
    mine = [family for family in world.families if family.value == "thrift"]
    assert len(mine) == len(BORROWED)
    assert all(family.held_out for family in mine)
    scores = battery.measure(ExpertPolicy(world))
    assert {"held_out/thrift", *(f"family/{family.name}" for family in mine)} <= set(scores)


def test_the_natural_stream_is_that_of_station(world):
    ours, theirs = (natural(w, 500, np.random.default_rng(7)) for w in (world, get_world("station")))
    np.testing.assert_array_equal(ours, theirs)
