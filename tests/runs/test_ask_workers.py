"""Studies and attacks whose generators are asked on Ray workers: the records do not tell how many there were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ray._private.state import actors

from kerf.runs.recipe.attack_plan import attacks_of, whole_grid
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.model import recipe_hash
from kerf.runs.records.store import Store, Unit
from kerf.runs.study import DONE
from tests.runs.attacks.test_attacks import kerf
from tests.runs.test_study import records, study

NAMING_THE_RECIPE = {"study.json", "recipe.yaml", "report.html"}
"""Files that hold the recipe or its hash, in which the number of workers is written."""


def sets(ask_workers: int) -> tuple[str, ...]:
    """One arm whose iterations are asked for in three parts, and whose generator learns from all of them."""
    source = f"kind: search, population: 32, ask_workers: {ask_workers}"
    return (
        "arms={frozen: null, exposure: {generator: {kind: search}}, "
        f"penalised: {{generator: {{{source}}}, adversarial_share: 0.75}}}}",
        "world=tests.toy_world:Lever",
        "training.num_scenarios=320",
        "iterations=2",
    )


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory, one_ray: None) -> dict[int, Path]:
    """By how many workers are asked."""
    found = {}
    for number in (1, 2):
        found[number] = tmp_path_factory.mktemp("studies") / f"asked-{number}"
        code, printed = study(found[number], *sets(number), workers=2)
        assert code == DONE, printed
    return found


@pytest.mark.slow
def test_the_records_are_the_same_on_one_worker_and_on_two(studies):
    one, two = (
        {name: digest for name, digest in records(out).items() if name not in NAMING_THE_RECIPE}
        for out in studies.values()
    )
    assert one == two
    assert {name.split("/")[0] for name in one} >= {"aligned", "cells", "effects.parquet"}
    first, second = (
        (out / "report.html").read_text().replace(json.loads((out / "study.json").read_text())["recipe_hash"], "")
        for out in studies.values()
    )
    assert first == second


@pytest.mark.slow
def test_what_is_asked_as_a_whole_comes_out_otherwise_and_nothing_else_does(studies, tmp_path):
    assert study(tmp_path / "whole", *sets(0), workers=2)[0] == DONE
    for arm, same in (("exposure", True), ("continued", True), ("penalised", False)):
        whole, parts = (records(out / Unit(arm, 0).name) for out in (tmp_path / "whole", studies[2]))
        assert (whole["policy.safetensors"] == parts["policy.safetensors"]) == same, arm


@pytest.mark.slow
def test_no_worker_outlives_the_study(studies):
    assert Store(studies[2]).manifest()["arms"]["penalised"]["generator"]["ask_workers"] == 2
    askers = [actor for actor in actors().values() if actor["ActorClassName"] == "_Asker"]
    assert {actor["State"] for actor in askers} == {"DEAD"}


@pytest.mark.slow
def test_an_exported_policy_is_attacked_on_workers_too(one_ray, smoke_study, tmp_path):
    stem = smoke_study / Unit("penalised", 0).name / "policy"  # it names its world, which must be known by that name
    for name in ("policy.json", "policy.safetensors"):
        (tmp_path / name).write_bytes(stem.with_name(name).read_bytes())
    found = []
    for number in (1, 2):
        words = "--generator", "learned", "--set", f"ask_workers={number}", "--budget", 300, "--batch", 150
        out = tmp_path / f"asked-{number}"
        code, printed = kerf("attack", tmp_path, *words, "--no-mlflow", "--no-pictures", "--out", out)
        assert code == DONE, printed
        found.append(records(out))
    assert found[0] == found[1]
    (record,) = out.rglob("attack.json")
    assert json.loads(record.read_text())["proposed"] == 300


def test_their_number_names_no_other_attack_and_no_other_teacher():
    none, one, two = (attacks_of([{"kind": "search", "ask_workers": number}], [1.0])[0] for number in (0, 1, 2))
    assert none.label == "search"
    assert one.label == two.label != none.label
    assert one.stream(0) == two.stream(0) != none.stream(0)
    arms = (
        "arms={frozen: null, one: {kind: penalised, generator: {kind: search, ask_workers: 1}}, "
        "two: {kind: penalised, generator: {kind: search, ask_workers: 2}}}"
    )
    generators, _ = whole_grid(load_recipe("smoke", sets=[arms]).resolve())
    assert len([said for said in generators if said["kind"] == "search"]) == 2, "with and without workers"


def test_the_recipe_says_it_only_where_it_is_used():
    plain, zero, one = (
        load_recipe("smoke", sets=[f"arms.penalised.generator={{kind: search{said}}}"])
        for said in ("", ", ask_workers: 0", ", ask_workers: 1")
    )
    assert recipe_hash(plain) == recipe_hash(zero) != recipe_hash(one)
