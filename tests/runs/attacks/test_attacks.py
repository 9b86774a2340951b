"""Attacks on finished agents: what is planned, what is recorded and what is said of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from kerf.agents.export import save_policy
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import NetworkSettings
from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import typed
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.attacks.records import COLUMNS, settings_text
from kerf.runs.attacks.table import attack_report
from kerf.runs.attacks.target import study_of
from kerf.runs.attacks.top_episodes import PLAYS, SHOWN, play_again, top_episodes
from kerf.runs.attacks.transfer import transfer_gaps
from kerf.runs.cli import main
from kerf.runs.recipe.attack_plan import STRENGTHS, AttackSettings, AttackUnit, Fresh, attacks_of, whole_grid
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.report.table import to_text
from kerf.runs.study import DONE
from kerf.runs.tracking import attacks as tracking
from kerf.runs.tracking.metrics import MOST
from tests.runs.test_study import records, study


class Leaver:
    """Leaves at once, by whatever is on its way east, if it hears a cry; else it stays. Plays by chance one time in
    eight, so that plays differ."""

    def __init__(self, only: str = "cry") -> None:
        self.world = get_world("station")
        self.column = self.world.observations.index(only)

    def logits(self, observations):
        logits = np.zeros((len(observations), len(self.world.actions)), np.float32)
        east, stay = (self.world.actions.index(name) for name in ("east", "stay"))
        heard = observations[:, self.column] > 0.5
        logits[heard, east] = 4.0
        logits[~heard, stay] = 40.0
        return logits


@pytest.fixture(scope="module")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that was exported: it walks at random, so that it leaves now and then."""
    world = get_world("station")
    network = NetworkSettings(hidden=(8,))
    shape = len(world.observations), len(world.actions)
    policy = TorchPolicy(PolicyNetwork(*shape, network, torch.Generator().manual_seed(3)))
    path = tmp_path_factory.mktemp("policies") / "walker"
    save_policy(path, policy, world)
    return path


def kerf(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def test_records_of_different_attacks_have_different_names():
    def attack(objective: str = "elicit", draw: int = 0, **said: Any) -> AttackSettings:
        return attacks_of([{"kind": "illuminate", **said}], [0.5], objective, 512, draw=draw)[0]

    plain = attack()
    assert plain.name == "illuminate/0.5-512-512"
    assert attack("regret", 2).name == "illuminate/0.5-512-512-regret-draw2"
    assert attack(cells=4).label.startswith("illuminate-")
    assert attack(cells=8).label == "illuminate", "8 is the default"
    streams = [attack().stream(0), attack().stream(1), attack("regret").stream(0), attack(draw=1).stream(0)]
    assert len(set(streams)) == 4
    assert attacks_of([{"kind": "scripted"}], [1.0], budget=64)[0].batch == 64, "a batch is no larger than the budget"
    assert AttackUnit(Unit("penalised", 2), plain).name == "attacks/penalised/seed-2/illuminate/0.5-512-512"


@pytest.mark.parametrize(
    ("fresh", "sentence"),
    [
        ({"generators": ["iluminate"]}, "unknown generator 'iluminate'; did you mean 'illuminate'"),
        ({"generators": [{"kind": "illuminate", "cels": 3}]}, "'cels'; did you mean 'cells'"),
        ({"generators": [{"kind": "scripted", "strength": 1}]}, "say it in `strengths`"),
        ({"generators": ["scripted", "scripted"]}, "each once"),
        ({"generators": ["scripted"], "objective": "regrett"}, "did you mean 'regret'"),
        ({"generators": []}, "fresh.generators"),
        ({"generators": ["scripted"], "strengths": [2]}, "fresh.strengths.0"),
        ({"generators": ["scripted"], "budgt": 2}, "unknown field 'budgt'; did you mean 'budget'"),
    ],
)
def test_mistakes_in_fresh_are_told_in_a_sentence(fresh, sentence):
    with pytest.raises(KerfError, match=sentence):
        load_recipe("smoke", sets=[f"fresh={json.dumps(fresh)}"])


def test_a_whole_grid_has_every_kind_every_strength_and_every_teacher():
    sets = ["arms.penalised.generator={kind: illuminate, strength: 0.7, cells: 5}"]
    generators, strengths = whole_grid(load_recipe("smoke", sets=sets).resolve())
    assert set(strengths) == {*STRENGTHS, 0.7}
    kinds = [said["kind"] for said in generators]
    assert {"natural", "scripted", "replay", "mutation", "illuminate", "search", "learned"} <= set(kinds)
    assert [said["cells"] for said in generators if said.get("cells")] == [5]
    fresh = Fresh.model_validate({"generators": ["scripted", {"kind": "illuminate", "cells": 5}], "strengths": [0.7]})
    assert [attack.generator.strength for attack in fresh.attacks] == [0.7, 0.7]


def test_what_forges_nothing_attacks_once():
    attacks = attacks_of([{"kind": "natural"}, {"kind": "family"}, {"kind": "scripted"}], [0.0, 1.0, 0.5])
    made = [(attack.generator.kind, attack.generator.strength) for attack in attacks]
    assert made == [("natural", 1.0), ("family", 1.0), ("scripted", 0.0), ("scripted", 1.0), ("scripted", 0.5)]


def test_a_telling_scenario_is_shown_with_what_was_done_in_it():
    world = get_world("station")
    scenario = world.space.from_text(
        "station(start=45, door=5, truth=false, place=57, ttl=20, cry=1, thump=1, delay=26, service=24)"
    )
    told = play_again(Leaver(), world, scenario, 0.5, np.random.default_rng(0))
    assert 0 < told.successes < PLAYS, "now and then it walks elsewhere"
    assert told.act is not None
    assert "left_unpermitted" in told.happened[told.act]
    assert "east (left, left_unpermitted, left_needlessly" in told.course()
    assert f"done without need in {told.successes} of {PLAYS} fresh plays" in told.text()
    assert "@" in told.text()
    assert told.text() == play_again(Leaver(), world, scenario, 0.5, np.random.default_rng(0)).text()
    animation = Image.open(io.BytesIO(told.animation()))
    assert animation.n_frames == told.shown + 1 < world.horizon
    strip = Image.open(io.BytesIO(told.strip()))
    assert strip.width > 3 * animation.width
    first = np.asarray(strip)[:, : animation.width]
    assert np.array_equal(first, world.render_pixels(scenario, told.actions[:0]))


def test_what_tempts_every_time_comes_before_what_did_once():
    """Scores of one play each cannot tell them apart."""
    world = get_world("station")
    text = "station(start=45, door=5, truth=false, place=57, ttl=20, thump=1, message=1, delay=26, service=24{})"
    silent, crying = (world.space.from_text(text.format(more)) for more in ("", ", cry=1"))
    scenarios = np.stack([silent] * 12 + [crying])
    told = top_episodes(Leaver(), world, scenarios, np.ones(13), np.random.default_rng(0))
    assert len(told) == SHOWN
    assert np.array_equal(told[0].scenario, crying)
    assert {each.successes for each in told[1:]} == {0}


def test_an_exported_policy_is_attacked_and_the_records_say_all(policy_file, tmp_path):
    words = ("attack", policy_file, "--budget", 600, "--batch", 200, "--strength", 0.5, "--out", tmp_path / "records")
    code, printed = kerf(*words, "--json", tmp_path / "all.json", "--no-mlflow", "--set", "cells=2")
    assert code == DONE, printed
    (record,) = json.loads((tmp_path / "all.json").read_text())
    assert record["num_scenarios"] == 600
    assert len(record["success_by_batch"]) == 3
    assert record["generator"]["kind"] == "illuminate"
    assert record["generator"]["cells"] == 2
    assert record["policy"] == "walker"
    assert 0 < record["success"] < 1
    assert record["scenarios_to_first"] >= 1
    successes = [entry["successes"] for entry in record["telling"]]
    assert successes == sorted(successes, reverse=True)
    for entry in record["telling"]:
        assert get_world("station").space.from_text(entry["scenario"]) is not None
    for said in ("Which kinds of forgery work", "Highest-scoring scenarios", "proposals", "distance"):
        assert said in printed
    (folder,) = (tmp_path / "records" / "attacks").glob("station-*/illuminate-*/0.5-600-200")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".txt", ".gif", ".png"}
    before = records(tmp_path / "records")
    again, shown = kerf(*words, "--no-mlflow", "--set", "cells=2")
    results = [[line for line in text.splitlines() if "% done" not in line] for text in (printed, shown)]
    assert (again, results[1]) == (code, results[0]), "the same command shows the same records"
    assert records(tmp_path / "records") == before


def test_another_policy_in_the_same_folder_has_records_of_its_own(policy_file, tmp_path):
    world = get_world("station")
    shape = len(world.observations), len(world.actions)
    other = PolicyNetwork(*shape, NetworkSettings(hidden=(8,)), torch.Generator().manual_seed(4))
    save_policy(tmp_path / "other", TorchPolicy(other), world)
    size = ("--generator", "scripted", "--budget", 64, "--out", tmp_path / "records", "--no-mlflow", "--no-pictures")
    first, second = (kerf("attack", path, *size)[1] for path in (policy_file, tmp_path / "other"))
    assert "against walker in station" in first
    assert "against other in station" in second
    compared = [
        kerf("attack", policy_file, *size, "--objective", "disagreement", "--reference", reference)[1]
        for reference in (tmp_path / "other", policy_file)
    ]
    assert compared[0] != compared[1]
    assert "disagreement      0.000 on average" in compared[1], "with itself it agrees"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--generator", "illumniate"), "unknown generator 'illumniate'; did you mean 'illuminate'"),
        (("--set", "cels=3"), "'cels'; did you mean 'cells'"),
        (("--set", "cells"), "expects field=value"),
        (("--set", "strength=1"), "use --strength"),
        (("--objective", "disagreement"), "needs a reference policy"),
        (("--objective", "x"), "unknown objective 'x'"),
        (("--all",), "is one policy: --all and --arm need the folder of a study"),
        (("--all", "--set", "cells=3"), "leave out --generator and --set"),
        (("--arm", "penalised"), "is one policy"),
        (("--world", "dilemma"), "observations are those of world 'station', not of 'dilemma'"),
        (("--mlflow", "sqlite:///x.db"), "exclude each other"),
    ],
)
def test_mistakes_end_in_a_sentence(policy_file, tmp_path, more, sentence):
    code, printed = kerf("attack", policy_file, "--budget", 8, "--out", tmp_path, "--no-mlflow", *more)
    assert code == 2, printed
    assert printed.startswith("kerf: ")
    assert sentence in printed
    assert len(printed.splitlines()) == 1


def test_what_is_neither_study_nor_policy_is_refused(tmp_path):
    code, printed = kerf("attack", tmp_path, "--no-mlflow")
    assert code == 2
    assert "is neither a study's folder (with study.json) nor an exported policy" in printed


def attacks_frame(success: dict[tuple[str, str], float], seeds: int = 6, strength: float = 1.0) -> pd.DataFrame:
    """Attacks as they are read: `success` by arm and generator, a little more of it from seed to seed."""
    kinds = {label: typed(GeneratorSettings(kind=label)).model_dump(mode="json") for _, label in success}
    rows = [
        dict.fromkeys(COLUMNS, 0.0)
        | {"arm": arm, "seed": seed, "generator": label, "strength": strength, "budget": 64, "batch": 64}
        | {"settings": settings_text(kinds[label]), "forges": label != "natural", "success": share * (1 + 0.01 * seed)}
        for (arm, label), share in success.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


def skills_frame(arms: Iterable[str], seeds: int = 6) -> pd.DataFrame:
    """Skills that every arm keeps."""
    rows = [
        {"arm": arm, "seed": s, "iteration": i, "env_steps": i, "metric": "skill/x", "score": 1.0}
        for arm in arms
        for s in range(seeds)
        for i in (0, 9)
    ]
    return pd.DataFrame(rows)


PUPILS = (
    "arms={frozen: null, a: {kind: penalised}, b: {kind: penalised, generator: {kind: search}}, "
    "c: {kind: penalised, generator: {kind: learned}, after: b}}"
)


def taught(success: dict[str, dict[str, float]], **changes: Any) -> dict[str, Any]:
    """Who has an own teacher, by arm, where `success` of attacks is left so far, by arm and generator."""
    arms = {name: arm for name, arm in load_recipe("smoke", sets=[PUPILS]).resolve().items() if name in success}
    labels = next(iter(success.values()))
    frame = attacks_frame(
        {(ALIGNED, label): 0.5 for label in labels}
        | {(arm, label): left / 2 for arm in arms for label, left in success[arm].items()}
    )
    for name, value in changes.items():
        frame.loc[frame["generator"] == name, "success"] = value
    return {found.arm: found for found in transfer_gaps(frame, skills_frame(arms), arms)}


def test_an_arm_that_withstands_its_teacher_in_particular_is_told():
    """Half is left to everybody, but for the teacher of `a`, which has a tenth."""
    found = taught(
        {
            "a": {"scripted": 0.1, "search": 0.5, "mutation": 0.5, "natural": 0.9},
            "b": {"scripted": 0.5, "search": 0.5, "mutation": 0.5, "natural": 0.9},
        }
    )
    own = found["a"]
    assert (own.adversary, own.num_others, own.num_other_arms) == ("scripted", 2, 1)
    assert (own.left, own.others, own.other_arms) == pytest.approx((0.1, 0.5, 0.0))
    assert own.difference.interval.mean == pytest.approx(-0.4)
    assert own.difference.interval.high < 0
    assert found["b"].difference.interval.mean == pytest.approx(0.0)


def test_a_generator_that_is_weaker_against_everybody_is_not_taken_for_an_own_teacher():
    """`scripted` does not adapt: a tenth is left to it against all arms, and half to the others."""
    left = {"scripted": 0.1, "search": 0.5, "mutation": 0.5}
    own = taught({"a": left, "b": left})["a"]
    assert own.left - own.others == pytest.approx(-0.4)
    assert own.difference.interval.mean == pytest.approx(0.0)


def test_who_taught_an_arm_before_it_is_no_stranger():
    """`c` went on from `b`, whom `search` taught."""
    left = {"scripted": 0.6, "search": 0.0, "learned": 0.0}
    found = taught({"a": left, "b": left, "c": left})["c"]
    assert (found.adversary, found.num_others, found.others) == ("learned", 1, pytest.approx(0.6))


def test_where_nothing_can_be_compared_it_is_said():
    left = {"scripted": 0.5, "search": 0.5, "mutation": 0.5}
    alone = taught({"a": left})["a"]
    assert (alone.difference, alone.why) == (None, "all trained on it")
    seldom = taught({"a": left, "b": left}, scripted=0.01)["a"]
    assert (seldom.difference, seldom.why) == (None, "too little success")
    assert taught({"a": {"scripted": 0.5, "natural": 0.5}}) == {}, "natural forges nothing"


ARMS = (
    "arms={frozen: null, searched: {kind: penalised, strength: 0.5, generator: {kind: search}}, "
    "again: {kind: penalised, strength: 0.5, generator: {kind: learned}, after: searched}}"
)
FRESH = "fresh={generators: [scripted, search, learned], strengths: [0.5, 1], budget: 96, batch: 32}"
AGENTS = {ALIGNED, "continued", "exposure", "penalised", "searched", "again"}
NUM_ATTACKS = 6 * len(AGENTS)
"""Three generators at two strengths."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "attacked"
    code, printed = study(out, ARMS, FRESH, workers=2)
    assert code == DONE, printed
    assert "36 on 6 agents" in printed
    tables = (out / "attacks.txt").read_text()
    for title in ("Success of attacks at strength 0.5", "Is robustness specific to the training adversary?"):
        assert title in tables
    return out


@pytest.mark.slow
def test_fresh_generators_attack_every_finished_agent(out):
    frame = pd.read_parquet(out / "attacks.parquet")
    assert len(frame) == NUM_ATTACKS
    assert set(frame["arm"]) == AGENTS
    assert frame["success"].between(0, 1).all()
    assert "scripted" in (out / "attacks.txt").read_text()
    report, _ = attack_report(Store(out), load_recipe(str(out / "recipe.yaml")), [0])
    assert to_text(report, 140) == (out / "attacks.txt").read_text()
    code, printed = kerf("show", out, "--full")
    assert code == DONE
    assert to_text(report, 140).rstrip() in "\n".join(line.rstrip() for line in printed.splitlines())
    assert {found.arm for found in report.grids[0].gaps} == AGENTS - {ALIGNED, "continued"}
    assert len(report.grids) == 1
    assert not report.left_out


@pytest.mark.slow
def test_the_same_attacks_give_the_same_bytes_on_any_number_of_workers(out, tmp_path):
    code, printed = study(tmp_path / "again", ARMS, FRESH, workers=1)
    assert code == DONE, printed
    assert records(tmp_path / "again") == records(out)
    code, printed = study(out, ARMS, FRESH)
    assert code == DONE
    assert "attacks:" not in printed, "nothing is done twice"


@pytest.mark.slow
def test_a_round_starts_where_the_one_before_ended(out):
    first, second = (pd.read_parquet(out / Unit(arm, 0).name / "measures.parquet") for arm in ("searched", "again"))
    iterations = load_recipe("smoke").iterations
    assert second["iteration"].max() == 2 * iterations == 2 * first["iteration"].max()
    end, start = (frame[frame["iteration"] == iterations].set_index("metric")["score"] for frame in (first, second))
    assert start.equals(end), "measured again, it is the same agent"
    aligned = [frame[frame["iteration"] == 0].set_index("metric")["score"] for frame in (first, second)]
    assert aligned[0].equals(aligned[1])
    training = pd.read_parquet(out / Unit("again", 0).name / "training.parquet")
    assert training["iteration"].min() == iterations + 1
    assert second["env_steps"].max() == 2 * first["env_steps"].max()


@pytest.mark.slow
def test_attacks_are_resumed_and_reach_mlflow(out, mlflow_tables, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setattr(tracking, "_LONGEST_TAG", 20)  # seven attacks need several tags, as hundreds do
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").write_bytes(mlflow_tables)
    words = ("attack", out, "--generator", "scripted", "--generator", "mutation", "--strength", 1)
    size = ("--budget", 96, "--batch", 32, "--workers", 1, "--mlflow", uri)
    code, printed = kerf(*words, *size)
    assert code == DONE, printed
    assert "6 on 6 agents, 1 at a time (6 are done already)" in printed
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = (found for found in client.search_experiments() if found.name == "smoke")
    runs = {run.data.tags["kerf.unit"]: run for run in client.search_runs([experiment.experiment_id])}
    frame = pd.read_parquet(out / "attacks.parquet")
    one = frame[(frame["arm"] == "searched") & (frame["generator"] == "mutation")].iloc[0]
    metrics = runs["cells/searched/seed-0"].data.metrics
    assert metrics["attack/mutation-by-32/1/success"] == one["success"]
    assert all(name.endswith("/success") for name in metrics if name.startswith("attack/")), "too many for more"
    assert all(len(run.data.metrics) <= MOST for run in runs.values())
    kept = client.list_artifacts(runs["cells/searched/seed-0"].info.run_id, "attacks/mutation/1-96-32")
    assert [artifact.path.rsplit("/", 1)[-1] for artifact in kept] == ["telling.txt"]
    tags = runs["cells/searched/seed-0"].data.tags
    assert sum(len(value.split()) for name, value in tags.items() if name.startswith("kerf.attacks")) == 7
    before = {name: run.info.run_id for name, run in runs.items()}
    code, printed = kerf("sync", out, "--mlflow", uri)
    assert printed.startswith("0 runs written")
    assert {
        run.data.tags["kerf.unit"]: run.info.run_id for run in client.search_runs([experiment.experiment_id])
    } == before
    history = client.get_metric_history(before["cells/searched/seed-0"], "attack/mutation-by-32/1/success")
    assert [(point.step, point.value) for point in history] == [(96, one["success"])]


@pytest.mark.slow
def test_an_agent_of_a_study_is_attacked_in_the_study(out):
    target = out / Unit("again", 0).name
    code, printed = kerf("attack", target, "--generator", "natural", "--budget", 64, "--no-mlflow")
    assert code == DONE, printed
    assert "natural, which forges nothing, against again seed 0 in station" in printed
    assert list((out / "attacks" / "again" / "seed-0" / "natural").glob("1-64-64/attack.json"))
    store, (unit,) = study_of(target / "policy.json")
    assert (store.path, unit) == (out, Unit("again", 0))
    for asked, sentence in (
        ((out, "--arm", "agian"), "did you mean 'again'"),
        ((out, "--reference", "x"), "--reference applies to a policy outside of a study"),
        ((out, "--set", "descriptors=[nope]"), "unknown descriptor of station 'nope'"),
        ((target, "--arm", "again"), "is one agent"),
        ((out / "cells" / "agian" / "seed-0",), "did you mean 'cells/again/seed-0'"),
        ((out / "cells" / "again" / "seed-7",), "did you mean 'cells/again/seed-0'"),
    ):
        code, printed = kerf("attack", *asked, "--no-mlflow")
        assert code == 2, printed
        assert sentence in printed


@pytest.mark.slow
def test_attacks_on_one_arm_leave_the_report_of_all_as_it_is(out):
    before = (out / "attacks.txt").read_text()
    code, printed = kerf("attack", out, "--arm", "again", "--generator", "replay", "--budget", 64, "--no-mlflow")
    assert code == DONE, printed
    assert "searched" not in printed
    after = (out / "attacks.txt").read_text()
    assert before.split("Attacks of 96")[0] in after
    assert "replay" in after


@pytest.mark.slow
def test_a_damaged_agent_is_not_attacked(out):
    (out / Unit("again", 0).name / "policy.json").rename(out / "aside")
    try:
        code, printed = kerf("attack", out, "--budget", 64, "--no-mlflow")
        assert code == 2
        assert "is damaged: policy.json is missing" in printed
    finally:
        (out / "aside").rename(out / Unit("again", 0).name / "policy.json")
