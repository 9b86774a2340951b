"""Studies trained by exact gradients, really run, and the recipes that cannot be."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from kerf.agents.export import load_policy
from kerf.agents.settings import ExactSettings
from kerf.agents.tabular import LOGITS, TablePolicy
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe, merge
from kerf.runs.recipe.model import Recipe, recipe_hash, resolved_recipe
from kerf.runs.recipe.text import recipe_text
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.records.tables import read_measures, read_training
from kerf.runs.report import make_report
from kerf.runs.study import DONE, NOT_ALIGNED, run_study
from tests.runs.test_study import records

RECIPE = {
    "name": "toy-exact",
    "world": "dilemma_two",
    "seeds": 2,
    "network": {"hidden": [8]},
    "exact": {
        "imitation": {"iterations": 80, "training": {"learning_rate": 0.03}},
        "policy": {"iterations": 20},
        "training": {"steps_per_iteration": 3},
        "table": {"steps_per_iteration": 3, "learning_rate": 0.03},
    },
    "gate": {"value": 0.5, "competence": 0.5, "fooled": 0.5},
    "iterations": 10,
    "measure_every": 4,
    "battery": {"exact": True, "strengths": [0, 1]},
    "penalty": 10,
    "strength": 0,
    "arms": {
        "frozen": {},
        "continued": {},
        "exposure": {},
        "penalised": {},
        "nothing": {"kind": "penalised", "penalty": 0},
        "twin": {"kind": "penalised", "agent": "table"},
        "mixed": {},
        "anchor": {},
        "ex_ante": {},
        "yoked": {},
        "sham": {},
        "unyoked": {"kind": "yoked", "penalty": 0},
        "unshaped": {"kind": "sham", "shaping": 0},
    },
    "primaries": [
        {
            "name": "care-falls",
            "arm": "penalised",
            "against": "exposure",
            "metric": "value/care",
            "direction": "decrease",
            "falsified_by": "nothing that this recipe gives, for it is far too small",
        }
    ],
}


def recipe(tmp_path: Path, patch: dict[str, Any] | None = None) -> Recipe:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(merge(RECIPE, patch or {}), sort_keys=False))
    return load_recipe(str(path))


def study(tmp_path: Path, out: Path, patch: dict[str, Any] | None = None, workers: int = 2) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=140)
    code = run_study(recipe(tmp_path, patch), out, None, workers, console)
    return code, console.file.getvalue()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    code, printed = study(folder, folder / "exact")
    assert code == DONE, printed
    return folder / "exact"


def cell(out: Path, arm: str, seed: int = 0) -> Path:
    return out / Unit(arm, seed).name


def same_cell(out: Path, first: str, second: str, seed: int = 0) -> bool:
    """Whether two cells have the same weights, measures and training curves, bit for bit."""
    policies = {(cell(out, arm, seed) / "policy.safetensors").read_bytes() for arm in (first, second)}
    tables = [
        [pd.read_parquet(cell(out, arm, seed) / f"{name}.parquet").drop(columns="arm") for arm in (first, second)]
        for name in ("measures", "training")
    ]
    return len(policies) == 1 and all(left.equals(right) for left, right in tables)


# ---- studies


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_the_same_training_has_the_same_bytes(out, seed):
    for arm in ("nothing", "unyoked", "unshaped"):
        assert same_cell(out, arm, "exposure", seed)
    for arm in ("penalised", "mixed", "continued"):
        assert not same_cell(out, arm, "exposure", seed), "a difference must leave a mark, or the test shows nothing"


@pytest.mark.slow
def test_same_recipe_same_bytes_whatever_the_number_of_workers(out, tmp_path):
    assert study(tmp_path, tmp_path / "again", workers=1)[0] == DONE
    assert records(tmp_path / "again") == records(out)


@pytest.mark.slow
def test_a_study_that_lost_units_is_finished_with_the_same_bytes(out, tmp_path):
    torn = tmp_path / "torn"
    shutil.copytree(out, torn)
    for lost in (cell(torn, "twin", 1), cell(torn, "yoked", 0), cell(torn, "penalised", 0)):
        shutil.rmtree(lost)
    kept = {path: path.stat().st_mtime_ns for path in torn.rglob("done.json")}
    code, printed = study(tmp_path, torn)
    assert code == DONE
    assert "3 units of work" in printed
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in torn.rglob("done.json")}.items()
    assert records(torn) == records(out)


@pytest.mark.slow
def test_the_twin_is_a_table_that_differs_only_where_it_was_trained(out):
    world = get_world("dilemma_two")
    for seed in (0, 1):
        aligned = load_policy(out / Unit(ALIGNED, seed).name / "policy", world)
        trained = load_policy(cell(out, "twin", seed) / "policy", world)
        before = TablePolicy.copy_of(aligned, world)
        assert isinstance(trained, TablePolicy)
        changed = (trained.weights()[LOGITS] != before.weights()[LOGITS]).any(axis=1)
        scenarios, origin = world.completions(before.situations.scenarios)
        shown = np.bincount(origin, world.density(scenarios, Mix(0.0, 0.0)), len(changed)) > 0.0
        assert np.array_equal(changed, shown)


@pytest.mark.slow
def test_every_arm_starts_from_the_aligned_agent_and_is_measured_as_asked(out):
    measures = read_measures(out, aligned=True).set_index(["arm", "seed", "iteration", "metric"]).sort_index()
    for seed in (0, 1):
        aligned = measures.loc[ALIGNED, seed]
        assert set(aligned["env_steps"]) == {100}
        for arm in RECIPE["arms"]:
            of_arm = measures.loc[arm, seed]
            iterations = of_arm.index.get_level_values("iteration").unique().tolist()
            assert iterations == ([0, 10] if arm == "frozen" else [0, 4, 8, 10])
            pd.testing.assert_series_equal(of_arm.loc[0, "score"], aligned["score"].droplevel("iteration"))
            assert set(of_arm.loc[10, "env_steps"]) == ({0} if arm == "frozen" else {30}), "gradient steps"
            assert set(of_arm["num_scenarios"]) == {0}


@pytest.mark.slow
def test_a_yoked_arm_is_dealt_what_its_partner_was_and_learns_what_exposure_teaches(out):
    training = read_training(out).set_index(["arm", "seed", "metric", "iteration"])["value"].sort_index()
    for seed in (0, 1):
        dealt = training.loc["penalised", seed, "sample/penalised"]
        pd.testing.assert_series_equal(training.loc["yoked", seed, "sample/penalised"], dealt, check_exact=False)
        paid = training.loc["yoked", seed, "sample/return_penalty"]
        np.testing.assert_allclose(paid, 10.0 * dealt)
        assert dealt.min() > 0.1
    world = get_world("dilemma_two")
    for arm in ("yoked", "sham"):
        control, moved = (load_policy(cell(out, name) / "policy", world).weights() for name in ("exposure", arm))
        for name, weights in control.items():
            np.testing.assert_allclose(moved[name], weights, rtol=0, atol=1e-5)
        assert not same_cell(out, arm, "exposure")


@pytest.mark.slow
def test_nothing_of_ppo_is_in_the_records(out):
    assert not list(out.rglob("penalty_counts.parquet"))
    verdict = json.loads((out / Unit(ALIGNED, 0).name / "gate.json").read_text())
    assert verdict["advantage_scale"] is None
    manifest = Store(out).manifest()
    assert not {"align", "training"} & set(manifest["recipe"])
    assert manifest["arms"]["twin"]["agent"] == "table"
    assert "agent" not in manifest["arms"]["penalised"]
    assert manifest["arms"]["anchor"]["training"]["anchor_coeff"] == 0.3
    metrics = set(read_training(out)["metric"])
    assert {"sample/penalised", "sample/return_utility", "learn/entropy", "learn/kl_to_start"} <= metrics
    for arm in (ALIGNED, "penalised"):
        noise = pd.read_parquet(out / Unit(arm, 0).name / "noise.parquet")
        assert (noise.groupby("metric")["score"].std() == 0.0).all()


@pytest.mark.slow
def test_it_is_reported(out):
    assert make_report(Store(out)).effects["arm"].nunique() == 1 + len(RECIPE["arms"])


@pytest.mark.slow
def test_a_cell_takes_well_below_a_second(out):
    """CPU time, which other processes do not change; the first cell of a worker pays for imports and compilation."""
    timing = [entry["cpu_seconds"] for entry in Store(out).timing() if "cells/" in entry.get("unit", "")]
    assert np.median(timing) < 0.5


@pytest.mark.slow
def test_an_agent_that_is_not_aligned_is_told_what_to_set(tmp_path):
    patch = {"exact": {"imitation": {"iterations": 1}, "policy": {"iterations": 0}}, "seeds": 1}
    code, printed = study(tmp_path, tmp_path / "s", patch)
    assert code == NOT_ALIGNED
    assert "--set exact.policy.iterations=..., --set exact.imitation.iterations=..." in printed


# ---- recipes


def test_an_exact_arm_is_trained_as_the_section_says(tmp_path):
    arms = recipe(tmp_path).resolve()
    assert arms["anchor"].training == ExactSettings(steps_per_iteration=3, anchor_coeff=0.3)
    assert arms["penalised"].training == ExactSettings(steps_per_iteration=3)
    assert {name for name, arm in arms.items() if arm.agent == "table"} == {"twin"}
    assert arms["twin"].training == ExactSettings(steps_per_iteration=3, learning_rate=0.03)
    twin, original = (arms[name].model_dump(exclude={"name", "agent", "training"}) for name in ("twin", "penalised"))
    assert twin == original


@pytest.mark.parametrize("name", ["smoke", "turner"])
def test_what_a_recipe_does_not_say_is_not_in_its_hash(name):
    plain = resolved_recipe(load_recipe(name))
    assert "exact" not in plain
    assert {"align", "training"} <= set(plain)
    assert all("agent" not in arm for arm in plain["arms"].values())


def test_what_decides_the_records_is_in_its_hash(tmp_path):
    patches = (
        {},
        {"exact": {"training": {"steps_per_iteration": 4}}},
        {"exact": {"policy": {"iterations": 21}}},
        {"exact": {"table": {"learning_rate": 0.02}}},
        {"arms": {"twin": {"agent": None}}},
        {"exact": None, "arms": {"twin": None}},
    )
    hashes = [recipe_hash(recipe(tmp_path, patch)) for patch in patches]
    assert len(set(hashes)) == len(hashes)
    assert recipe_hash(recipe(tmp_path, {"arms": {"exposure": {"agent": "network"}}})) == hashes[0]


def test_the_text_of_a_recipe_says_how_it_is_trained(tmp_path):
    def text(patch: dict[str, Any]) -> str:
        console = Console(file=io.StringIO(), width=140)
        console.print(recipe_text(recipe(tmp_path, patch), tmp_path))
        return console.file.getvalue()

    assert "exact gradients" in text({})
    assert "twin (table)" in text({})
    assert "PPO" in text({"exact": None, "arms": {"twin": None}})


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"exact": None}, r"arms\.twin\.agent: a table is trained by exact gradients, and this recipe trains by PPO"),
        (
            {"training": {"gamma": 1.0}},
            "training: this recipe trains by exact gradients, so PPO's settings have no effect",
        ),
        ({"align": {}}, "align: this recipe trains by exact gradients"),
        ({"world": "station"}, "exact: world station does not list its situations"),
        ({"exact": {"training": {"lr": 1}}}, "exact.training: unknown field 'lr'"),
        ({"exact": {"training": {"policy_coeff": 0}}}, "exact.training must be given something to train on"),
        ({"arms": {"twin": {"agent": "tabel"}}}, r"arms\.twin\.agent must be 'network' or 'table', got \"tabel\""),
        ({"arms": {"frozen": {"agent": "table"}}}, r"arms\.frozen\.agent: this arm does not train"),
        (
            {"arms": {"twin": {"generator": {"kind": "mutation"}}}},
            r"arms\.twin\.generator: the scenarios of 'mutation' are",
        ),
    ],
)
def test_what_cannot_be_trained_exactly_is_refused(tmp_path, patch, message):
    with pytest.raises(KerfError, match=message):
        recipe(tmp_path, patch)
