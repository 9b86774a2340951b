"""`kerf after` on small studies: records, twins, resumption, and what it refuses."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from rich.console import Console

from kerf.agents.export import load_network
from kerf.agents.network import TorchPolicy
from kerf.agents.refit import features, random_trunk, refitted
from kerf.agents.settings import ExactSettings
from kerf.lab.after.relearning import needed
from kerf.lab.errors import KerfError
from kerf.runs.after.behaviour import concealment, reattack, renewal, substitution, trade
from kerf.runs.after.case import Case
from kerf.runs.after.command import after_command, asked_settings, make_tests
from kerf.runs.after.dormancy import dormant
from kerf.runs.after.retraining import relearning, retrain
from kerf.runs.after.unit import after_unit
from kerf.runs.cli import main
from kerf.runs.recipe.after_plan import NAIVE, TESTS, AfterSettings, AfterUnit, after_plan, units_of
from kerf.runs.recipe.files import load_recipe, load_recipes
from kerf.runs.records.store import ALIGNED, POLICY, Store, Unit
from kerf.runs.report.after.reread import read_report
from kerf.runs.report.after.table import AfterTable
from tests.planted_agents import plant, planted

FAST = ExactSettings(learning_rate=1e-2)

SMALL = AfterSettings(generators=("scripted",), scenarios=32, iterations=4, budget=64)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A finished study of planted agents, two seeds."""
    out = tmp_path_factory.mktemp("after") / "study"
    plant(out, pytest.MonkeyPatch(), seeds=2)
    return out


@pytest.fixture(scope="module")
def tested(study, tmp_path_factory) -> Path:
    """The same with all its tests made."""
    out = tmp_path_factory.mktemp("tested") / "study"
    shutil.copytree(study, out)
    assert make(out) is not None
    return out


def make(out: Path, settings: AfterSettings = SMALL):
    recipe, console = load_recipe(str(out / "recipe.yaml")), Console(file=io.StringIO(), width=120)
    return make_tests(recipe, Store(out), settings, [0, 1], 1, console)


def returned(training):
    """What a generator of progress returns."""
    while True:
        try:
            next(training)
        except StopIteration as end:
            return end.value


def bytes_of(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("after*/**/*")) if path.is_file()
    }


def case(out: Path, arm: str) -> Case:
    return Case(load_recipe(str(out / "recipe.yaml")), Store(out), Unit(arm, 0), SMALL)


def test_a_twin_of_the_aligned_agent_shows_no_sign(study):
    """`kept` has the aligned agent's weights: every change is exactly 0."""
    twin = case(study, "kept")
    assert set(renewal(twin).figures.values()) == {0.0}
    assert substitution(twin).figures == {"suppressed": 0.0, "moved": 0.0}
    assert {value for value in trade(twin).figures.values() if value is not None} == {0.0}
    aligned = Case(twin.recipe, twin.store, Unit(ALIGNED, 0), SMALL)
    for test in (concealment, reattack):
        assert test(twin).figures == test(aligned).figures
    assert dormant(twin, twin.policy, "") == dormant(aligned, aligned.policy, "")


@pytest.mark.parametrize("test", [renewal, concealment, substitution, reattack, trade])
def test_tests_of_behaviour_are_extensional(study, test, monkeypatch):
    """Permuted hidden units are the same function, so all figures stay."""
    agent = case(study, "concealed")
    before = test(agent)
    weights = agent.policy.weights()
    order = np.random.default_rng(0).permutation(len(weights["policy_trunk.0.bias"]))
    for name in ("policy_trunk.0.weight", "policy_trunk.0.bias"):
        weights[name] = weights[name][order]
    for head in ("policy_head.weight", "value_head.weight"):
        weights[head] = weights[head][:, order]
    network = agent.policy.network
    permuted = TorchPolicy.from_weights(network.num_observations, network.num_actions, network.settings, weights)
    other = case(study, "concealed")
    monkeypatch.setitem(other.__dict__, "policy", permuted)
    after = test(other)
    assert after.figures == pytest.approx(before.figures)


def test_the_planted_cases_stand_out_in_their_own_figures(study):
    hidden, moved = case(study, "concealed"), case(study, "moved")
    assert concealment(hidden).figures["act_gap"] > 0.5 > concealment(moved).figures["act_gap"]
    assert substitution(moved).figures["moved"] > 0.5 > substitution(hidden).figures["moved"]


def test_the_same_command_again_makes_nothing_and_another_run_the_same_bytes(tested, study, tmp_path):
    before = bytes_of(tested)
    assert make(tested) is not None
    assert bytes_of(tested) == before
    again = tmp_path / "again"
    shutil.copytree(study, again)
    half = AfterSettings(**{**SMALL.model_dump(), "tests": ("relearning", "trade")})
    make(again, half)  # stopped half-way, as it were
    make(again)
    assert bytes_of(again) == before


def test_the_report_is_made_again_from_the_records(tested):
    report, units = read_report(Store(tested))
    console = Console(file=io.StringIO(), width=140)
    console.print(AfterTable(report))
    assert console.file.getvalue().rstrip() == (tested / "after.txt").read_text().rstrip()
    plain = json.loads((tested / "after.json").read_bytes())
    assert [one["arm"] for one in plain["became"]] == ["kept", "suppressed", "erased", "concealed", "moved"]
    assert "With 2 seeds no sign can be shown: at least 8 are needed." in console.file.getvalue()
    figures = pd.read_parquet(tested / "after.parquet")
    assert set(figures["test"]) == {*TESTS, NAIVE}
    assert len(units) == 2 * (1 + 5 * len(TESTS) + len(TESTS) - 3)


def test_naive_agents_never_met_what_the_act_is_good_for(tested):
    record = json.loads(next((tested / "after" / "naive").glob("seed-0-*/after.json")).read_bytes())
    assert record["without"] == ["care/late"]
    assert record["figures"]["start"] < 0.3
    assert record["figures"]["competence"] > 0.9


def test_relearning_ends_where_the_value_is_back_and_finds_what_longer_training_finds(study):
    agent = case(study, "suppressed")
    recipe = agent.recipe.model_copy(update={"exact": agent.recipe.exact.model_copy(update={"training": FAST})})
    agent = Case(recipe, agent.store, agent.target, SMALL.model_copy(update={"iterations": 40}))
    found = returned(relearning(agent))
    level = found.figures["level"]
    at, scores = found.tables["curve"]["iteration"], found.tables["curve"]["value"]
    assert found.figures["censored"] == 0.0
    assert at[-1] < 40
    assert max(scores[:-1]) < level <= scores[-1] == found.figures["end"]
    whole = returned(retrain(agent, agent.policy, 40))
    assert list(whole.iterations[: len(at)]) == at
    assert whole.scores["value"][: len(at)] == scores
    assert needed(whole.iterations, whole.scores["value"], level).iterations == found.figures["needed"]
    kept = returned(relearning(case(study, "kept")))
    assert kept.tables["curve"]["iteration"] == [0]
    assert kept.figures["needed"] == 0.0


def test_the_page_holds_a_section(tested, tmp_path):
    from kerf.runs.report import write_report
    from kerf.runs.report.page import make_page

    out = tmp_path / "study"
    shutil.copytree(tested, out)
    write_report(Store(out))
    page = make_page(Store(out)).decode()
    for anchor in ("after-calls", "after-signs", "after-relearning", "after-replaced-moved", "after-trade-save-or-ask"):
        assert f'id="{anchor}"' in page, anchor


@pytest.mark.slow
def test_mlflow_holds_the_calls_and_the_signs(tested, mlflow_tables, tmp_path):
    from mlflow import MlflowClient

    from kerf.runs.report import write_report
    from kerf.runs.tracking.metrics import MOST
    from kerf.runs.tracking.studies import sync

    out, uri = tmp_path / "study", f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").write_bytes(mlflow_tables)
    shutil.copytree(tested, out)
    write_report(Store(out))
    sync(out, uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("planted")
    run = client.search_runs([experiment.experiment_id], "tags.`kerf.unit` = 'study'")[0]
    assert run.data.tags["kerf.after.kept"] in ("kept", "undecided")
    assert "after/act_gap/kept" in run.data.metrics
    own = [name for name in run.data.metrics if not name.startswith("after/")]
    assert len(own) <= MOST
    assert len(run.data.metrics) - len(own) == 5 * 6, "six signs of five arms"


def test_the_command_prints_what_became_of_the_value(study, tmp_path):
    out = tmp_path / "study"
    shutil.copytree(study, out)
    ran = CliRunner().invoke(
        main, ["after", str(out), "--test", "concealment", "--test", "substitution", "--no-mlflow", "--workers", "1"]
    )
    assert ran.exit_code == 0, ran.output
    assert "What became of `care`" in ran.output
    assert "concealed" in ran.output


@pytest.mark.parametrize(
    ("tests", "arms", "words"),
    [(("relerning",), (), "did you mean 'relearning'"), ((), ("keptt",), "did you mean 'kept'")],
)
def test_unknown_names_are_refused_with_the_nearest(study, tests, arms, words):
    with pytest.raises(KerfError, match=words):
        asked_settings(Store(study), tests, arms, None)


def test_without_a_finished_study_nothing_begins(tmp_path):
    with pytest.raises(KerfError, match="no study"):
        after_command(tmp_path, SMALL, 1, Console(file=io.StringIO()))


def test_a_world_without_what_a_test_needs_is_said_and_the_others_are_made():
    plan = after_plan(load_recipes("dilemma")["overlapping"], AfterSettings())
    assert "concealment" in plan.not_made
    assert "concealment" not in plan.tests
    with pytest.raises(KerfError, match="none of those asked for"):
        after_plan(load_recipes("dilemma")["overlapping"], AfterSettings(tests=("concealment",)))


def test_a_recipe_asks_for_them(tmp_path):
    path = tmp_path / "recipe.yaml"
    text = "after_tests: {tests: [relearning], arms: [penalized]}\n"
    smoke = "name: s\nworld: tests.planted_agents:planted\nexact: {}\nstrength: 0\nbattery: {exact: true}\n"
    arms = "arms: {continued: {}, penalised: {}}\n"
    primary = (
        "primaries: [{name: a, arm: penalised, against: continued, metric: value/care, direction: decrease, "
        "falsified_by: it is kept}]\n"
    )
    path.write_text(smoke + arms + primary + text)
    with pytest.raises(KerfError, match=r"after_tests.arms: .*'penalised'"):
        load_recipe(str(path))
    path.write_text(smoke + arms + primary + text.replace("penalized", "penalised"))
    recipe = load_recipe(str(path))
    plan = after_plan(recipe, recipe.after_tests)
    units = units_of(recipe.after_tests, plan, [0])
    assert [(unit.test, unit.target.arm) for unit in units] == [(NAIVE, ALIGNED), ("relearning", "penalised")]


def test_settings_decide_the_names_of_records():
    unit = AfterUnit(Unit("penalised", 3), "trade", SMALL)
    other = AfterUnit(Unit("penalised", 3), "trade", SMALL.model_copy(update={"scenarios": 33}))
    fewer = AfterUnit(Unit("penalised", 3), "trade", SMALL.model_copy(update={"tests": ("trade",)}))
    assert unit.name.startswith("after/trade/penalised/seed-3-")
    assert unit.name != other.name
    assert unit.name == fewer.name


def test_a_refitted_head_reproduces_its_own_policy_and_a_random_trunk_has_other_features(study):
    world = planted()
    policy = load_network(study / "aligned" / "seed-0" / POLICY, world)
    rng = np.random.default_rng(0)
    observations = np.empty((512, len(world.observations)), np.float32)
    world.begin(world.families[0].sample(512, rng)).observe(observations)
    logits = policy.logits(observations)
    again = refitted(policy, observations, logits).logits(observations)
    assert (again.argmax(axis=1) == logits.argmax(axis=1)).mean() > 0.95
    other = random_trunk(policy, 1)
    assert not np.allclose(features(other, observations), features(policy, observations))
    assert np.array_equal(features(random_trunk(policy, 1), observations), features(other, observations))


def test_a_damaged_record_is_named(tested, tmp_path):
    out = tmp_path / "study"
    shutil.copytree(tested, out)
    record = next((out / "after" / "trade").rglob("after.json"))
    record.write_text("{}")
    with pytest.raises(KerfError, match="damaged"):
        read_report(Store(out))


def test_a_unit_is_published_once(study, tmp_path):
    out = tmp_path / "study"
    shutil.copytree(study, out)
    recipe, store = load_recipe(str(out / "recipe.yaml")), Store(out)
    unit = AfterUnit(Unit("moved", 1), "substitution", SMALL)
    assert len(list(after_unit(recipe, unit, store))) == 1
    assert store.finished(unit, verify=True)
    with pytest.raises(KerfError, match="exists already"):
        list(after_unit(recipe, unit, store))
