"""The filters of the documentation's page on MLflow, each executed on studies and a sweep with known answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kerf.runs.records.store import ALIGNED, Store, Unit, open_study
from kerf.runs.tracking.metrics import PARAMETERS
from kerf.runs.tracking.studies import sync
from kerf.runs.tracking.sweeps import sync_sweep
from tests.runs.tracking.test_studies import MANIFEST

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "mlflow.md"
ROW = re.compile(r"^\| ([^|`]+\?) \| `([^|]+)` \| `([^|]+)` \|$", re.MULTILINE)
FIRST, SECOND = f"toy@{'a' * 8}", f"toy@{'c' * 8}"

CARE = {ALIGNED: 0.97, "continued": 0.95, "penalised": 0.4}
"""Care at the end, in the first study; in the second, `penalised` keeps it."""

ANSWERS = {
    "Which arms keep care at 0.9 or more?": ["aligned", "aligned", "continued", "continued", "penalised"],
    "Which arms lose care for certain?": ["penalised"],
    "How does care fall with strength, in a sweep?": ["trial-0", "trial-1", "trial-2"],
    "What is the best trade-off so far, with little collateral?": ["trial-1", "trial-0"],
    "What changed in an arm between two studies?": ["penalised", "penalised"],
    "In which studies did a prediction hold?": [FIRST],
    "In which studies was help suppressed and not erased?": [SECOND],
    "In which studies do the penalised agents no longer want to save?": [FIRST],
    "How do the agents of an arm differ?": [f"penalised/seed-{seed}" for seed in (0, 0, 1, 1)],
}


def write_study(root: Path, recipe_hash: str, care: dict[str, float], outcome: str) -> None:
    """A study of two seeds whose agents have this care at the end."""
    arms = {arm: settings for arm, settings in MANIFEST["arms"].items() if arm in care}
    primary = {"name": "penalty-costs-care", "metric": "value/care", "arm": "penalised", "against": "continued"}
    manifest = {**MANIFEST, "recipe_hash": recipe_hash, "arms": arms, "primaries": [primary]}
    effect = care["penalised"] - care["continued"]
    interval = {"mean": effect, "low": effect - 0.1, "high": effect + 0.1}
    with open_study(root, manifest) as store:
        for unit in [Unit(arm, seed) for arm in care for seed in (0, 1)]:
            keys = {"arm": [unit.arm] * 4, "seed": [unit.seed] * 4, "iteration": [0, 0, 5, 5]}
            scores = [0.97, 0.9, care[unit.arm], 0.8]
            with store.unit(unit) as folder:
                measured = {"metric": ["value/care", "skill/door"] * 2, "score": scores, "num_scenarios": [8] * 4}
                folder.write_table("measures", {**keys, "env_steps": [0, 0, 500, 500], **measured})
        rows = {"arm": ["penalised"], "against": ["continued"], "metric": ["value/care"]}
        store.write_table("effects", {**rows, **{end: [value] for end, value in interval.items()}})
        store.write_json(
            "primaries", [{"primary": primary, "effect": {"interval": interval}, "verdict": {"outcome": outcome}}]
        )
        store.write_text("table.txt", "a table\n")


def write_analyses(root: Path, became: str, weight: float) -> None:
    """What became of care in `penalised`, and the weight of saving that the choices of its two agents reveal."""
    called = {"arm": "penalised", "call": became, "p_adjusted": {"saved": 0.01}, "effects": {"saved": {"mean": 0.3}}}
    store = Store(root)
    store.write_json("after", {"became": [called]})
    agents = pd.DataFrame({"arm": "penalised", "seed": [0, 1], "belief": "natural"})
    fits = agents.assign(explained=0.9, agrees_ideal=0.8, agrees_design=0.7, refusal="")
    store.write_table("revealed_fits", fits.to_dict("list"))
    store.write_table("revealed", agents.assign(event="rescued", weight=[weight - 0.5, weight + 0.5]).to_dict("list"))
    store.write_json("objectives", {"ideal": {"rescued": 10.0}})


def write_sweep(root: Path) -> None:
    """A sweep of three strengths: the stronger, the more robustness and the more collateral."""
    sweep: dict[str, Any] = {"arm": "penalised", "mode": "dose", "limit": None, "floors": []}
    sweep["over"] = [{"name": "strength", "path": "strength"}]
    with open_study(root, {**MANIFEST, "recipe_hash": "e" * 64, "sweep": sweep}) as store:
        rows = []
        for trial, strength in enumerate((0.0, 0.5, 1.0)):
            means = {"robustness": 0.6 * strength, "collateral": -0.08 * strength, "value/care": -0.5 * strength}
            for metric, mean in {**means, "family/care/locked": -0.1}.items():
                settings = {"trial": trial, "strength": strength, "held_out": False, "arm": f"penalised-{trial}"}
                rows.append({**settings, "metric": metric, "mean": mean, "low": mean - 0.1, "high": mean + 0.1})
            facts = {"arm": MANIFEST["arms"]["penalised"]}
            store.write_bytes(f"arms/penalised-{trial}.json", json.dumps({"facts": facts}).encode())
        store.write_table("trials", pd.DataFrame(rows).assign(num_seeds=2))
        store.write_table("changes", {"trial": [0]})
        store.write_json("findings", {})
        store.write_text("recipe.yaml", "name: toy\n")
        store.write_text("table.txt", "a table\n")


@pytest.fixture(scope="module")
def uri(mlflow_tables: bytes, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("asked")
    found = f"sqlite:///{root / 'mlflow.db'}"
    (root / "mlflow.db").write_bytes(mlflow_tables)
    write_study(root / "first", "a" * 64, CARE, "held")
    write_study(root / "second", "c" * 64, {**CARE, "penalised": 0.93}, "undecided")
    write_analyses(root / "first", "erased", 0.2)
    write_analyses(root / "second", "suppressed", 2.0)
    write_sweep(root / "sweep")
    assert sync(root / "first", found) == sync(root / "second", found) == 1 + 3 + 6
    assert sync_sweep(root / "sweep", found) == 1 + 3
    assert sync(root / "first", found) == sync(root / "second", found) == sync_sweep(root / "sweep", found) == 0
    return found


def test_the_page_has_these_questions() -> None:
    assert [question for question, _, _ in ROW.findall(PAGE.read_text())] == list(ANSWERS)


@pytest.mark.parametrize(("question", "text", "order"), ROW.findall(PAGE.read_text()))
def test_each_filter_answers_its_question(uri: str, question: str, text: str, order: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("toy").experiment_id
    runs = client.search_runs([experiment], text, order_by=[order])
    names = [run.info.run_name for run in runs]
    ties = "keep" in question  # the two studies have arms of equal care
    assert (sorted(names) if ties else names) == ANSWERS[question]
    if "fall" in question:
        care = [run.data.metrics["effect/value/care/mean"] for run in runs]
        assert care == pytest.approx([0.0, -0.25, -0.5])
        assert all(len(run.data.metrics) == 7 for run in runs), "robustness and collateral with intervals, and care"
    if "between" in question:
        assert {run.data.params["recipe_hash"] for run in runs} == {"a" * 64, "c" * 64}


def test_the_example_prints_a_dose_response(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    import mlflow

    (code,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    before = mlflow.get_tracking_uri()
    for word, here in (("sqlite:///out/mlflow.db", uri), ("turner", "toy")):
        assert word in code
        code = code.replace(word, here)
    try:
        exec(compile(code, str(PAGE), "exec"), {})
    finally:
        mlflow.set_tracking_uri(before)
    rows = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["0.0", "0.00"], ["0.5", "-0.25"], ["1.0", "-0.50"]]


def test_analyses_are_metrics_and_tags_of_the_study(uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("toy").experiment_id
    studies = {run.info.run_name: run for run in client.search_runs([experiment], "params.phase = 'study'")}
    for name, call, weight in ((FIRST, "erased", 0.2), (SECOND, "suppressed", 2.0)):
        tags, metrics = studies[name].data.tags, studies[name].data.metrics
        assert (tags["kerf.after.penalised"], tags["kerf.revealed.penalised"]) == (call, "read")
        found = {metric: value for metric, value in metrics.items() if metric.startswith(("after/", "revealed/"))}
        assert found == pytest.approx(
            {
                "after/saved/penalised": 0.3,
                "revealed/explained/penalised": 0.9,
                "revealed/agrees_ideal/penalised": 0.8,
                "revealed/agrees_paid/penalised": 0.7,
                "revealed/weight/rescued/penalised": weight,
            }
        )


def test_the_page_names_every_parameter() -> None:
    listed = PAGE.read_text().split("Every run has the parameters", 1)[1].split(";", 1)[0]
    assert set(re.findall(r"`(\w+)`", listed)) == set(PARAMETERS)


def test_a_sweeps_experiment_names_it_and_its_run_tells_what_it_found(uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("toy")
    note = experiment.tags["mlflow.note.content"]
    for row in (f"| {FIRST} | penalty-costs-care | -0.55 [-0.65, -0.45] | held |", "| dose@eeeeeeee | (a sweep) |"):
        assert row in note
    (sweep,) = client.search_runs([experiment.experiment_id], "params.phase = 'sweep'")
    assert "a table" in sweep.data.tags["mlflow.note.content"]
