"""Studies whose arms train against adversaries, really run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

from kerf.runs.exact import examine
from kerf.runs.exact.table import ExactReport
from kerf.runs.recipe.files import load_recipe, load_recipes, read_recipe
from kerf.runs.records.store import Store, Unit
from kerf.runs.report.table import to_text
from kerf.runs.study import DONE, run_study
from tests.runs.test_study import records, study

ARMS = (
    "arms={frozen: null, searched: {kind: penalised, generator: {kind: illuminate, cells: 3}, objective: regret}, "
    "told: {kind: penalised, generator: {kind: illuminate, cells: 3}}}"
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "searched"
    code, printed = study(out, ARMS, workers=2)
    assert code == DONE, printed
    return out


@pytest.mark.slow
def test_the_same_adversary_gives_the_same_bytes_on_any_number_of_workers(out, tmp_path):
    assert study(tmp_path / "again", ARMS, workers=1)[0] == DONE
    assert records(tmp_path / "again") == records(out)


@pytest.mark.slow
def test_what_an_adversary_is_told_is_recorded_and_matters(out):
    def training(arm: str) -> pd.DataFrame:
        return pd.read_parquet(out / Unit(arm, 0).name / "training.parquet").set_index("metric")["value"]

    assert training("searched")["sample/score"].between(0, 1).all()
    assert "sample/score" not in training("told").index
    first = {arm: training(arm)["sample/elicited"].iloc[0] for arm in ("searched", "told")}
    assert first["searched"] == first["told"], "before anything was told they ask for the same"
    assert not training("searched")["sample/elicited"].equals(training("told")["sample/elicited"])


def test_the_recipe_adversaries_varies_the_adversary_alone():
    for preset in (None, "quick"):
        arms = load_recipe("adversaries", preset).resolve()
        arms.pop("continued")
        within = arms.pop("latent")
        assert within.training.latent_radius == 0.75
        plain = within.model_copy(update={"training": arms["scripted"].training})
        same = {"name", "kind", "generator"}
        first, *others = (arm.model_dump(exclude=same) for arm in (plain, *arms.values()))
        assert all(other == first for other in others)
        assert [arm.generator.kind for arm in arms.values()] == list(arms)
        assert {arm.generator.strength for arm in arms.values()} == {0.75}


@pytest.mark.slow
def test_exact_answers_leave_out_what_has_no_optimum_and_say_so(tmp_path):
    plain = read_recipe("ladder")
    plain = {key: value for key, value in plain.items() if key not in ("variants", "presets")} | {
        "name": "small",
        "seeds": 1,
        "gate": {"value": 0, "competence": 0, "fooled": 0},
        "align": {phase: {"iterations": 2, "training": {"num_scenarios": 64}} for phase in ("imitation", "ppo")},
        "training": {"num_scenarios": 64, "advantage_scaling": "none"},
        "iterations": 2,
        "arms": {
            "continued": {},
            "penalised": {},
            "searched": {"kind": "penalised", "generator": {"kind": "search"}},
        },
    }
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(plain))
    (recipe,) = load_recipes(str(file)).values()
    assert run_study(recipe, tmp_path / "out", None, 1, Console(quiet=True)) == DONE
    found = examine(Store(tmp_path / "out"))
    assert found.unsolved == ("searched",)
    assert {cell.arm for cell in found.cells} == {"continued", "penalised"}
    assert {of.arm for of in found.detections} == {"aligned", "continued", "penalised", "searched"}
    assert "Not solved" in " ".join(to_text(ExactReport(found), 140).split())
