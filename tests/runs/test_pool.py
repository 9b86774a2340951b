"""What the pool says of units that could not be done."""

from __future__ import annotations

import pytest

from runs.pool import Pool, local_ray
from runs.recipe_file import load_recipe
from runs.store import ALIGNED, Unit


@pytest.mark.slow
def test_an_error_has_a_sentence_and_a_plain_traceback_and_the_others_are_done_without_it(tmp_path):
    units = [Unit(ALIGNED, 0), Unit(ALIGNED, 1), Unit("frozen", 0)]
    for unit in units[:2]:
        (tmp_path / unit.name).mkdir(parents=True)  # in the way: a unit is never overwritten
    with local_ray(1):
        failures = Pool(load_recipe("smoke"), tmp_path, 1).run(
            units,
            lambda unit: [] if unit.arm == ALIGNED else [Unit(ALIGNED, unit.seed)],
            lambda progress: None,
            lambda unit: [],
        )
    assert [failure.unit for failure in failures] == units
    for failure in failures[:2]:
        assert failure.why == f"{tmp_path / failure.unit.name} exists already: finished units are never overwritten"
        assert failure.traceback.splitlines()[-1].endswith(failure.why)
        assert "store.py" in failure.traceback
        assert "\x1b" not in failure.traceback
        assert not failure.disk
    assert failures[2].why == "it needs aligned/seed-0, which is missing"
