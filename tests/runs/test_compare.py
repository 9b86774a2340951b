"""`kerf compare`: what differs in the recipes, and differences of effects, on tiny studies by exact gradients."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.lab.metrics import value_metric
from kerf.runs.cli import main
from kerf.runs.compare.comparison import Setting, compare
from kerf.runs.recipe.model import Recipe
from kerf.runs.records.tables import read_measures
from kerf.runs.report.effects import study_ends
from kerf.runs.study import run_study
from kerf.runs.tracking.locate import study_folder
from tests.runs.test_exact_study import RECIPE

ARMS = {"continued": {}, "exposure": {}, "penalised": {}}
CARE = value_metric("care")
SHORT = {"iterations": 4, "measure_every": 4}


@pytest.fixture(scope="module")
def studies(mlflow_tables: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`base`; `milder` with another penalty; `others` with other seeds; `coarser` with another battery."""
    root = tmp_path_factory.mktemp("studies")
    (root / "mlflow.db").write_bytes(mlflow_tables)
    changes = {
        "base": {},
        "milder": {"penalty": 1, "arms": {**ARMS, "sham": {}}},
        "others": {"first_seed": 10},
        "coarser": {"battery": {"exact": True, "strengths": [0, 0.5, 1]}},
    }
    for name, change in changes.items():
        recipe = Recipe.model_validate(RECIPE | {"arms": ARMS, "seeds": 2, **SHORT} | change)
        uri = f"sqlite:///{root / 'mlflow.db'}" if name == "base" else None
        console = Console(file=io.StringIO())
        assert run_study(recipe, root / name, uri, 1, console) == 0, console.file.getvalue()
    return {name: root / name for name in changes}


def test_a_study_is_as_itself(studies: dict[str, Path]) -> None:
    found = compare(studies["base"], studies["base"])
    assert found.settings == ()
    assert found.paired == (0, 1)
    assert {each.arm for each in found.differences} == {"exposure", "penalised"}
    for each in found.differences:
        assert (each.difference.mean, each.difference.low, each.difference.high) == (0.0, 0.0, 0.0)
        assert each.first == each.second


def test_the_same_agents_are_paired_and_the_settings_that_differ_are_named(studies: dict[str, Path]) -> None:
    found = compare(studies["base"], studies["milder"])
    assert found.paired == (0, 1)
    assert Setting("arms.penalised.penalty", 10.0, 1.0) in found.settings
    assert {each.path.split(".")[1] for each in found.settings if each.path.startswith("arms.")} == {
        "penalised",
        "sham",
    }
    changes = []
    for study in ("base", "milder"):
        ends = study_ends(read_measures(studies[study]))
        ours, theirs = ends.change("penalised", CARE), ends.change("continued", CARE)
        changes.append(np.array([ours[seed] - theirs[seed] for seed in sorted(ours)]))
    assert found.frame()["paired"].all()
    (care,) = (each for each in found.differences if (each.arm, each.metric) == ("penalised", CARE))
    assert care.difference.mean == pytest.approx((changes[1] - changes[0]).mean(), abs=1e-12)


def test_other_agents_are_not_paired(studies: dict[str, Path]) -> None:
    found = compare(studies["base"], studies["others"])
    assert found.paired == ()
    assert found.settings == (Setting("first_seed", 0, 10),)
    assert not found.frame()["paired"].any()
    for each in found.differences:
        assert each.difference.mean == pytest.approx(each.second.mean - each.first.mean, abs=1e-12)
        assert each.difference.low <= each.difference.mean <= each.difference.high


def test_another_battery_is_refused_with_the_setting_that_differs(studies: dict[str, Path]) -> None:
    with pytest.raises(KerfError, match=r"different batteries.*battery\.strengths is \[0\.0, 1\.0\] and"):
        compare(studies["base"], studies["coarser"])


def test_the_command_prints_draws_and_writes(studies: dict[str, Path], tmp_path: Path) -> None:
    figure, csv = tmp_path / "f.png", tmp_path / "d.csv"
    asked = ["compare", *(str(studies[name]) for name in ("base", "milder")), "--figure", figure, "--csv", csv]
    ran = CliRunner().invoke(main, [str(word) for word in asked], terminal_width=80)
    assert ran.exit_code == 0, ran.output
    assert "paired by seed" in ran.output
    assert "arms.penalised.penalty" in ran.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    header, *rows = csv.read_text().splitlines()
    assert header.startswith("arm,against,metric,paired,first_mean")
    assert len(rows) == len(compare(studies["base"], studies["milder"]).differences)
    refused = CliRunner().invoke(main, ["compare", str(studies["base"])])
    assert (refused.exit_code, refused.output) == (2, "kerf: compare: expected two studies or more, got one\n")


def test_mlflows_ids_lead_to_the_records(studies: dict[str, Path]) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{studies['base'].parent / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(RECIPE["name"])
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) > 3
    for name in (RECIPE["name"], experiment.experiment_id, *(run.info.run_id for run in runs)):
        assert study_folder(name, uri) == studies["base"]
    for unknown in ("nothing", "0" * 32, "77"):
        with pytest.raises(KerfError, match="no folder here and no run or experiment of MLflow"):
            study_folder(unknown, uri)
    with pytest.raises(KerfError, match="no folder here and no run or experiment of MLflow"):
        study_folder("nothing", f"sqlite:///{studies['base'].parent / 'none.db'}")
    assert not (studies["base"].parent / "none.db").exists()


def test_the_frame_is_plain(studies: dict[str, Path]) -> None:
    frame = compare(studies["base"], studies["others"]).frame()
    assert not frame.isna().to_numpy().any()
    assert json.loads(frame.to_json(orient="records"))
    assert math.isfinite(frame["difference_low"].sum())
