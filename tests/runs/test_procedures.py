"""What is said of studies by procedure: adequate learning, specification, and certificates off the trajectories."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kerf.lab.errors import KerfError
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.worlds import get_world
from kerf.runs.exact.adequacy import main, plans, table
from kerf.runs.exact.trajectories import certified, certified_study
from kerf.runs.exact.trajectories import table as trajectories
from kerf.runs.records.store import Store


def cells(arm: str, regret: float, low: float, trained: float, seeds: int = 14) -> pd.DataFrame:
    rows = {"max_j": 2.0, "j": 2.0 - regret, "ideal": 4.0, "low": low, "trained": trained}
    return pd.DataFrame([{"arm": arm, "seed": seed, **rows} for seed in range(seeds)])


def test_the_two_parts_of_the_plan_are_judged_one_at_a_time() -> None:
    frame = pd.concat(
        [
            cells("both", 0.01, 4.0, 3.9),
            cells("unspecified", 0.01, -3.0, 1.0),
            cells("unlearnt", 0.3, 3.9, 3.0),
            cells("nothing", 0.01, -3.0, 3.9).assign(max_j=0.0, j=-0.01),
            cells("few", 0.0, 4.0, 4.0, seeds=13),
        ]
    )
    found = {plan.arm: (plan.learning.holds, plan.specified, plan.desirable.holds) for plan in plans(frame)}
    assert found == {
        "both": (True, True, True),
        "unspecified": (True, False, False),
        "unlearnt": (False, True, False),
        "nothing": (True, False, True),
        "few": (False, True, False),
    }
    assert "| `unspecified` | 14 of 14, 0.81 | yes | -3.00 | no | 0 of 14, 0.00 | no |" in table(plans(frame))


def test_a_study_without_exact_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KerfError, match="written by `kerf exact`"):
        main(tmp_path)


def test_seeds_are_certified_by_their_worst_scenario() -> None:
    world = get_world("drug")
    good, bad = ExpertPolicy(world), ConstantPolicy(world, "right")
    found = certified(world, {("good", 0): good, ("good", 1): good, ("mixed", 0): good, ("mixed", 1): bad}, 1)
    assert found == {"good": [(2, 2, 0.0)] * 2, "mixed": [(1, 2, 1.0)] * 2}
    assert "| `mixed` | 1 of 2 (at worst 1.00) | 1 of 2 (at worst 1.00) |" in trajectories(found)


def test_a_world_without_a_forbidden_act_or_an_enumeration_has_no_certificates(smoke_study: Path) -> None:
    with pytest.raises(KerfError, match="no forbidden act"):
        certified(get_world("shards"), {}, 1)
    with pytest.raises(KerfError, match="is not written out"):
        certified_study(Store(smoke_study), 0)
