"""`kerf revealed`: three objectives of a finished study, what the feedback was like, and the reruns that it names."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.worlds import get_world
from kerf.runs.cli import main
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Store
from kerf.runs.report.page import make_page
from kerf.runs.revealed.feedback import paid
from kerf.runs.revealed.objectives import NATURAL, read_objectives
from kerf.runs.revealed.summary import summaries
from kerf.runs.study import run_study
from kerf.runs.tracking.metrics import MOST
from tests.tiny_study import TINY

RECIPE = TINY | {
    "seeds": 2,
    "exact": {"imitation": {"iterations": 150}, "policy": {"iterations": 20}},
    "arms": TINY["arms"] | {"frozen": {}, "placebo": {}, "yoked": {}, "rule": {"kind": "placebo", "grader": "rule"}},
}
"""Agents that hardly care yet, but are no longer indifferent."""
RECORDS = ("revealed.parquet", "revealed_fits.parquet", "feedback.parquet", "generalisation.parquet", "objectives.json")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("revealed")
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(RECIPE))
    assert run_study(load_recipe(str(file)), folder / "out", None, 2, Console(quiet=True)) == 0
    return folder / "out"


@pytest.mark.slow
def test_the_command_prints_and_records_the_objectives_and_again_gives_the_same_bytes(study: Path) -> None:
    done = CliRunner().invoke(main, ["revealed", str(study), "--no-mlflow"], catch_exceptions=False)
    assert done.exit_code == 0
    for title in ("What the agents now want", "Was the feedback", "Did the policy generalise badly?", "Two reruns"):
        assert title in done.stdout
    first = {name: (study / name).read_bytes() for name in (*RECORDS, "revealed.txt")}
    assert CliRunner().invoke(main, ["revealed", str(study), "--no-mlflow"]).exit_code == 0
    assert first == {name: (study / name).read_bytes() for name in first}
    page = make_page(Store(study)).decode()
    assert "What do the agents want, by what they choose?" in page
    assert "nan" not in (study / "revealed.txt").read_text()


@pytest.mark.slow
def test_mlflow_holds_what_is_printed(study: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = CliRunner().invoke(main, ["revealed", str(study), "--mlflow", uri], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"kerf ui {study} --mlflow {uri}" in done.stdout.replace("\n", " ")
    client = MlflowClient(tracking_uri=uri)
    runs = [client.get_experiment_by_name("tiny").experiment_id], "params.phase = 'study'"
    run = client.search_runs(*runs)[0]
    found = summaries(read_objectives(Store(study)), NATURAL)
    assert len(found) > 5
    for arm in found:
        assert run.data.tags[f"kerf.revealed.{arm.name}"] == ("not read" if arm.refused else "read")
        assert run.data.metrics[f"revealed/explained/{arm.name}"] == pytest.approx(arm.explained)
        assert run.data.metrics[f"revealed/agrees_ideal/{arm.name}"] == pytest.approx(arm.agreement["ideal"].mean)
        for event, weight in {} if arm.refused else arm.weights.items():
            kept = run.data.metrics.get(f"revealed/weight/{event}/{arm.name}")
            assert kept is None or kept == pytest.approx(weight.mean)
    named = [name for name in run.data.metrics if name.startswith("revealed/")]
    assert len(named) == MOST
    assert {*RECORDS, "revealed.txt"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    again = CliRunner().invoke(main, ["sync", str(study), "--mlflow", uri], catch_exceptions=False)
    assert again.exit_code == 0
    assert client.search_runs(*runs)[0].data.metrics == run.data.metrics


@pytest.mark.slow
def test_an_arm_that_does_not_train_is_read_as_its_aligned_agent(study: Path) -> None:
    CliRunner().invoke(main, ["revealed", str(study), "--no-mlflow"])
    weights = pd.read_parquet(study / "revealed.parquet")
    natural = weights[weights["belief"] == "natural"]
    frozen, aligned = (
        natural[natural["arm"] == arm].set_index(["seed", "event"])["weight"] for arm in ("frozen", "aligned")
    )
    pd.testing.assert_series_equal(frozen, aligned)
    assert (weights["weight"].isna() == (weights["missing"] != "")).all()
    utility = pd.read_parquet(study / "generalisation.parquet").set_index(["arm", "seed"])
    pd.testing.assert_frame_equal(utility.loc["frozen"], utility.loc["aligned"])


@pytest.mark.slow
def test_what_training_paid_is_known_but_for_penalties_by_lot(study: Path) -> None:
    found = read_objectives(Store(study), only=("penalised", "exposure", "yoked", "rule"))
    ideal = dict(get_world("dilemma_two").ideal)
    assert found.design["yoked"] is None
    penalised, exposure, rule = (found.design[name] for name in ("penalised", "exposure", "rule"))
    assert penalised is not None
    assert penalised["left_needlessly"] == pytest.approx(ideal["left_needlessly"] - 10)
    assert penalised["left_unpermitted"] == 0.0
    assert exposure is not None
    assert exposure["left_needlessly"] == ideal["left_needlessly"]
    assert rule is not None
    assert rule["left_needlessly"] == pytest.approx(ideal["left_needlessly"])
    assert rule["left_unpermitted"] == pytest.approx(-10)
    of_rule = [row for row in found.feedback if row.arm == "rule"]
    assert len(of_rule) == 2
    assert all(row.penalised == 1.0 and row.undeserved["rule"] == row.missed["rule"] == 0.0 for row in of_rule)


def test_excused_acts_cost_nothing() -> None:
    recipe = load_recipe("turner")
    arm = recipe.resolve()["ex_ante"]
    world = get_world(recipe.world)
    forged = world.dilemma.forge(64, 1.0, np.random.default_rng(0))
    played = rollout(ExpertPolicy(world), world, forged, np.random.default_rng(0))
    assert paid(recipe, arm, [played])["left_needlessly"] == 0.0
    assert paid(recipe, recipe.resolve()["penalised"], [played])["left_needlessly"] == -15.0


@pytest.mark.slow
def test_the_reruns_that_are_named_are_recipes(study: Path) -> None:
    done = CliRunner().invoke(main, ["revealed", str(study), "--no-mlflow"])
    commands = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("kerf run")]
    assert len(commands) == 2
    for command, (field, value) in zip(commands, (("grader", "ex_ante"), ("adversarial_share", 1.0)), strict=True):
        words = shlex.split(command)
        sets = tuple(word for before, word in pairwise(words) if before == "--set")
        rerun = load_recipe(words[2], sets=sets).resolve()
        assert getattr(rerun["penalised"], field) == value
    assert rerun["penalised"].generator.kind == "natural"


@pytest.mark.slow
def test_an_unknown_arm_is_refused_in_a_sentence(study: Path) -> None:
    done = CliRunner().invoke(main, ["revealed", str(study), "--arm", "penalized"])
    assert done.exit_code == 2
    assert "did you mean 'penalised'" in done.stderr or "penalised" in done.stderr
    assert json.loads((study / "study.json").read_text())["name"] == "tiny"
