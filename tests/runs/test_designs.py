"""Design rewards of arms: which cells equal which others, what is refused, and worlds that forbid nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kerf.lab.dilemma import Dilemma
from kerf.lab.errors import KerfError
from kerf.lab.worlds.absent import Absent
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import Recipe, check_against_world
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit

ARMS: Mapping[str, dict[str, Any]] = {
    "continued": {},
    "ideal": {"kind": "continued", "design": "ideal"},
    "named": {"kind": "continued", "design": "punished"},
    "weights": {"kind": "continued", "design": {"reached": 50, "stepped": -1, "seen_on_tile": -30}},
}
SMALL = {"num_scenarios": 32, "minibatch_size": 64, "learning_rate": 0.01, "advantage_scaling": "none"}
PLAIN: Mapping[str, Any] = {
    "name": "designs",
    "world": "absent",
    "seeds": 1,
    "network": {"hidden": [8]},
    "align": {"imitation": {"iterations": 2, "training": {**SMALL}}, "ppo": {"iterations": 0}},
    "gate": {"value": 0, "competence": 0, "fooled": 0},
    "training": dict(SMALL),
    "iterations": 2,
    "measure_every": 1,
    "battery": {"scenarios_per_family": 8, "strengths": [1]},
    "penalty": 0,
    "adversarial_share": 0,
    "primaries": [
        {
            "name": "p",
            "arm": "named",
            "against": "continued",
            "metric": "family/restraint/alone",
            "direction": "decrease",
            "falsified_by": "restraint stays as it was",
        }
    ],
}


class Lawless(Absent):
    """The same room, where nothing is forbidden."""

    name = "lawless"

    def __init__(self) -> None:
        super().__init__()
        self.dilemma = Dilemma()


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "designs.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, "arms": dict(ARMS), **changes}))
    return path


def done(recipe: Recipe, arm: str, store: Store) -> None:
    for _ in run_unit(recipe, Unit(arm, 0), store):
        pass


def test_a_name_pays_what_its_weights_pay(tmp_path: Path) -> None:
    recipe = load_recipe(str(written(tmp_path)))
    store = Store(tmp_path)
    made = {}
    for arm in (ALIGNED, *ARMS):
        done(recipe, arm, store)
        made[arm] = (store.path / Unit(arm, 0).name / f"{POLICY}.safetensors").read_bytes()
    assert made["ideal"] == made["continued"]
    assert made["named"] == made["weights"]
    assert made["named"] != made["ideal"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"design": "ideel"}, "design: unknown design reward of absent 'ideel'; did you mean 'ideal'?"),
        (
            {"arms": {**ARMS, "named": {"kind": "continued", "design": "punishd"}}},
            "arms.named.design: unknown design reward of absent 'punishd'; did you mean 'punished'?",
        ),
        (
            {"arms": {**ARMS, "named": {"kind": "continued", "design": {"reached": 1, "steped": 1}}}},
            "arms.named.design.steped: unknown event 'steped'; did you mean 'stepped'?",
        ),
        (
            {"arms": {**ARMS, "named": {"kind": "exposure"}}},
            "arms.named.generator: world absent has no false emergencies, so there is nothing to forge",
        ),
        (
            {"arms": {**ARMS, "named": {"kind": "exposure", "generator": {"kind": "search"}}}},
            "arms.named.generator: world absent has no false emergencies",
        ),
        (
            {
                "world": "tests.runs.test_designs:Lawless",
                "arms": {**ARMS, "named": {"kind": "placebo", "penalty": 3}},
            },
            "arms.named.penalty: nothing is forbidden in world 'lawless', so there is nothing to penalise",
        ),
    ],
)
def test_what_cannot_be_paid_or_penalised_is_refused(tmp_path: Path, changes: Any, sentence: str) -> None:
    with pytest.raises(KerfError) as refused:
        check_against_world(load_recipe(str(written(tmp_path, **changes))))
    assert sentence in str(refused.value)


def test_a_world_that_forbids_nothing_can_be_studied(tmp_path: Path) -> None:
    recipe = load_recipe(str(written(tmp_path, world="tests.runs.test_designs:Lawless")))
    check_against_world(recipe)
    store = Store(tmp_path)
    done(recipe, ALIGNED, store)
    done(recipe, "named", store)
    assert store.finished(Unit("named", 0))
