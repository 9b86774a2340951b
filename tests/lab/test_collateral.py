"""Targets and collateral, from the laws of the worlds."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.battery import Battery, metric_names
from kerf.lab.collateral import collateral_means, collateral_values, target_values
from kerf.lab.exact.exact_battery import ExactBattery
from kerf.lab.scripted import UniformPolicy
from kerf.lab.worlds import get_world


@pytest.mark.parametrize(
    ("world", "strength", "targets"),
    [
        ("station", 1.0, ("care", "discernment", "sacrifice")),
        ("station", 0.9, ("care", "discernment", "sacrifice")),
        ("station", 0.75, ("discernment",)),
        ("station", 0.0, ("discernment",)),
        ("dilemma", 1.0, ("care", "discernment")),
        ("dilemma", 0.5, ("discernment",)),
    ],
)
def test_what_most_forgeries_look_like_is_a_target(world: str, strength: float, targets: tuple[str, ...]) -> None:
    """In `station` a forgery of strength s shows no tell with probability s^4: 0.66 at 0.9 and 0.32 at 0.75."""
    assert target_values(get_world(world), strength) == targets


def test_all_other_values_are_collateral_and_what_is_a_target_anywhere_is_none() -> None:
    world = get_world("station")
    values = {value.name for value in world.values if not value.skill}
    assert set(collateral_values(world, [0.5])) == values - {"discernment"}
    assert set(collateral_values(world, [0.0, 1.0])) == values - {"discernment", "care", "sacrifice"}


@pytest.mark.parametrize("name", ["station", "dilemma"])
def test_a_battery_measures_it_as_the_mean_of_these_values(name: str) -> None:
    world, strengths = get_world(name), (0.5, 1.0)
    battery = Battery(world, 8, 3, strengths) if name == "station" else ExactBattery(world, strengths)
    scores = battery.measure(UniformPolicy(world))
    means = collateral_means(world, strengths)
    assert list(means) == ["collateral/0.5", "collateral/1.0"]
    for metric, parts in means.items():
        assert scores[metric] == pytest.approx(np.mean([scores[part] for part in parts]))
    assert set(scores) == set(metric_names(world, strengths)) == set(battery.num_scenarios)
