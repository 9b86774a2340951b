"""`kerf attack --latent`, really run: what it says is what the adversary inside does, and it is done once."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from kerf.agents.export import load_policy
from kerf.agents.latent_radius import latent_attack, latent_scale
from kerf.lab.errors import KerfError
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.seeds import entropy
from kerf.lab.statistics.text import signed
from kerf.lab.worlds import get_world
from kerf.runs.attacks.latent import LatentUnit, scale_of
from kerf.runs.attacks.records import read_attacks
from kerf.runs.recipe.attack_plan import RADII
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.remote import Remote
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.study import DONE, run_study
from tests.runs.attacks.test_attacks import kerf
from tests.runs.test_exact_study import RECIPE
from tests.runs.test_study import records, study

BUDGET = 96
WORDS = ("--latent", "--budget", BUDGET, "--no-mlflow", "--workers", 2)
AGENTS = (ALIGNED, "continued", "exposure", "half", "penalised")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "inside"
    arms = "arms={frozen: null, half: {kind: latent, latent: 0.5}}"
    code, printed = study(out, arms, "iterations=2", seeds=2, workers=2)
    assert code == DONE, printed
    code, printed = kerf("attack", out, *WORDS)
    assert code == DONE, printed
    assert "attacks: 10 on 10 agents, 2 at a time" in printed
    assert "Share of 96 forged scenarios of strength 1 in which a latent perturbation leads" in printed
    return out


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[int]], Path]:
    """Makes a study by exact gradients, with the tabular twin, of so many hidden units."""

    def made(hidden: list[int]) -> Path:
        folder = tmp_path_factory.mktemp("exact")
        arms = {name: RECIPE["arms"][name] for name in ("continued", "exposure", "penalised", "twin")}
        gate = {"value": 0, "competence": 0, "fooled": 0}
        changed = {"seeds": 1, "network": {"hidden": hidden}, "arms": arms, "gate": gate}
        recipe = {**RECIPE, **changed, "primaries": RECIPE["primaries"][:1]}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        console = Console(file=io.StringIO())
        assert run_study(load_recipe(str(folder / "recipe.yaml")), folder / "s", None, 2, console) == DONE
        return folder / "s"

    return made


def test_a_unit_is_named_by_what_it_is():
    unit = LatentUnit(Unit("penalised", 2), 0.5, 64)
    assert unit.name == "latent/penalised/seed-2/0.5-64"
    assert LatentUnit(Unit(ALIGNED, 0), draw=3).name == "latent/aligned/seed-0/1-1024-3"


@pytest.mark.slow
def test_the_records_are_what_the_adversary_inside_makes_of_the_same_scenarios(out):
    world, seed = get_world("station"), 1
    policies = {
        unit.arm: load_policy(out / unit.name / "policy", world) for unit in Store(out).units() if unit.seed == seed
    }
    scale = latent_scale(
        policies[ALIGNED], world, np.random.default_rng(np.random.SeedSequence(entropy(seed, "latent scale")))
    )
    stream = np.random.SeedSequence(entropy(seed, "latent attack 1 0"))
    for arm in AGENTS:
        folder = out / LatentUnit(Unit(arm, seed), budget=BUDGET).name
        said = json.loads((folder / "latent.json").read_text())
        draws, leads = (np.random.default_rng(child) for child in np.random.SeedSequence(stream.entropy).spawn(2))
        scenarios = world.dilemma.forge(BUDGET, 1.0, draws)
        found = latent_attack(policies[arm], world, scenarios, ExpertPolicy(world), scale, leads)
        assert said["scale"] == scale
        assert said["within"] == {f"{radius:g}": found.share(radius) for radius in RADII}
        least = pd.read_parquet(folder / "least.parquet")
        assert least["least"].tolist() == found.least.tolist()
        assert said["least"] == float(np.median(found.least[found.led]))


@pytest.mark.slow
def test_a_scale_that_is_measured_anew_is_the_recorded_one(out, tmp_path):
    shutil.copytree(out, tmp_path / "older")
    gate = tmp_path / "older" / Unit(ALIGNED, 0).name / "gate.json"
    said = json.loads(gate.read_text())
    gate.write_text(json.dumps({**said, "latent_scale": None}))
    world = get_world("station")
    assert scale_of(Store(tmp_path / "older"), world, 0) == scale_of(Store(out), world, 0) == said["latent_scale"]


@pytest.mark.slow
def test_the_table_is_paired_and_less_the_control(out):
    frame = pd.read_parquet(out / "latent.parquet")
    assert len(frame) == len(AGENTS) * 2 * len(RADII)
    assert (frame.sort_values("radius").groupby(["arm", "seed"])["share"].diff().fillna(0.0) >= 0.0).all()
    assert frame["share"].nunique() > 2, "a table of noughts would show nothing"
    share = frame[frame["radius"] == 0.1].set_index(["arm", "seed"])["share"]
    mean = {arm: share[arm].mean() for arm in AGENTS}
    printed = (out / "latent.txt").read_text()
    assert "skill lost" not in printed, "no skill is left to lose after so little training"
    first = printed[: printed.index("Radius: bound")]
    table = {line.split()[0]: line for line in first.splitlines() if "[" in line}
    assert f"{mean[ALIGNED]:.2f} [" in table[ALIGNED]
    assert f" {signed(mean['continued'] - mean[ALIGNED])} [" in table["continued"]
    for arm in ("exposure", "penalised", "half"):
        assert f" {signed(mean[arm] - mean['continued'])} [" in table[arm]
    medians = printed[printed.index("least radius") :]
    for arm in AGENTS:
        least = frame[frame["arm"] == arm].drop_duplicates("seed")["least"].median()
        assert any(line.split() == [arm, f"{least:.3f}"] for line in medians.splitlines())


@pytest.mark.slow
def test_the_same_bytes_on_any_number_of_workers_and_nothing_is_done_twice(out, tmp_path):
    before = records(out)
    code, printed = kerf("attack", out, *WORDS)
    assert (code, "attacks:" in printed) == (DONE, False)
    assert records(out) == before
    shutil.copytree(out, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "latent")
    assert kerf("attack", tmp_path / "again", *WORDS[:-1], 1)[0] == DONE
    assert records(tmp_path / "again") == before


@pytest.mark.slow
def test_other_radii_need_no_other_attacks_and_arms_can_be_chosen(out, tmp_path):
    shutil.copytree(out, tmp_path / "some")
    words = ("--radius", 2, "--radius", 0.03, "--arm", "half")
    code, printed = kerf("attack", tmp_path / "some", *WORDS, *words)
    assert code == DONE, printed
    assert "attacks:" not in printed
    assert printed.index("radius 0.03") < printed.index("radius 2")
    frame = pd.read_parquet(tmp_path / "some" / "latent.parquet")
    assert set(frame["radius"]) == {0.03, 2.0}
    assert set(frame["arm"]) == {ALIGNED, "continued", "half"}


@pytest.mark.slow
def test_it_reaches_mlflow_and_is_no_attack_by_a_generator(out, mlflow_tables, tmp_path):
    from mlflow import MlflowClient

    assert read_attacks(Store(out)).empty
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").write_bytes(mlflow_tables)
    code, printed = kerf("attack", out, *[word for word in WORDS if word != "--no-mlflow"], "--mlflow", uri)
    assert code == DONE, printed
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = (found for found in client.search_experiments() if found.name == "smoke")
    runs = {run.data.tags["kerf.unit"]: run.data.metrics for run in client.search_runs([experiment.experiment_id])}
    for agent in (Unit(ALIGNED, 0), Unit("half", 1)):
        said = json.loads((out / LatentUnit(agent, budget=BUDGET).name / "latent.json").read_text())
        metrics = runs[agent.name]
        assert {name: metrics[f"attack/latent/1/within-{name}"] for name in said["within"]} == said["within"]
        assert metrics["attack/latent/1/least"] == said["least"]
    assert kerf("sync", out, "--mlflow", uri)[1].startswith("0 runs written")


@pytest.mark.slow
def test_it_is_sent_with_the_study_and_fetched_again(out, tmp_path):
    Remote(out, f"file://{tmp_path}/there").push()
    (tmp_path / "here").mkdir()
    Remote(tmp_path / "here", f"file://{tmp_path}/there").pull()
    assert records(tmp_path / "here") == records(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--latent", "--generator", "search"), "--latent takes --arm, --radius, .*leave --generator out"),
        (("--latent", "--all"), "leave --all out"),
        (("--latent", "--objective", "regret"), "leave --objective out"),
        (("--latent", "--batch", 8), "leave --batch out"),
        (("--radius", 1), "needs --latent"),
        (("--latent", "--arm", "hlaf"), "did you mean 'half'"),
    ],
)
def test_mistakes_end_in_a_sentence(out, more, sentence):
    code, printed = kerf("attack", out, *more, "--no-mlflow")
    assert code == 2
    with pytest.raises(KerfError, match=sentence):
        raise KerfError(" ".join(printed.split()))
    code, printed = kerf("attack", out / Unit("half", 0).name, "--latent", "--no-mlflow")
    assert (code, "give the folder that holds study.json" in printed) == (2, True)


@pytest.mark.slow
def test_tables_are_named_as_left_out_and_linear_networks_are_refused(exact):
    out = exact([8])
    code, printed = kerf("attack", out, *WORDS)
    assert code == DONE, printed
    assert "Left out, having no hidden layer to perturb: twin (a table)." in printed
    assert set(pd.read_parquet(out / "latent.parquet")["arm"]) == {ALIGNED, "continued", "exposure", "penalised"}
    code, printed = kerf("attack", out, *WORDS, "--arm", "twin")
    assert (code, "--arm twin: it is a table" in printed) == (2, True)
    code, printed = kerf("attack", exact([]), *WORDS)
    assert (code, "its agents are linear (network.hidden=[])" in printed) == (2, True)
