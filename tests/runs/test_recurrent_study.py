"""A study of agents with a memory: commands that play it do so, and those that cannot say why."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from rich.console import Console
from scipy.special import softmax

from kerf.agents.export import load_policy
from kerf.agents.recurrent import RecurrentPolicy
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.worlds import get_world
from kerf.runs.cli import main
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import Unit
from kerf.runs.study import DONE, run_study
from kerf.runs.tracking.models import memory_columns
from kerf.runs.tracking.served_policy import ServedPolicy
from tests.sharing import Shared

MEMORY = 6
SMALL = [f"network.memory={MEMORY}", "network.hidden=[8]"]


@pytest.fixture(scope="module")
def study(shared: Shared) -> Path:
    """`smoke`, whose agents remember."""

    def make(out: Path) -> None:
        console = Console(file=io.StringIO(), width=140)
        assert run_study(load_recipe("smoke", sets=SMALL), out, None, 1, console) == DONE, console.file.getvalue()

    return shared.make("smoke with a memory", make)


def copy_of(study: Path, folder: Path) -> Path:
    return Path(shutil.copytree(study, folder / "study"))


def said(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code not in (0, None), done.output
    assert "Traceback" not in done.output
    return " ".join(done.output.split())


def test_its_agents_remember_and_what_plays_them_needs_no_more(study: Path, tmp_path: Path) -> None:
    policy = load_policy(study / Unit("penalised", 1).name / "policy", get_world("station"))
    assert isinstance(policy, RecurrentPolicy)
    copied = copy_of(study, tmp_path)
    assert "behaviour changed by" in said("replay", copied)
    assert "uniform" in said("attack", copied, "--generator", "uniform", "--budget", 8, "--workers", 1, "--no-mlflow")
    said("attack", copied, "--latent", "--budget", 8, "--workers", 1, "--no-mlflow")
    said("report", copied)


def test_after_tests_leave_out_what_reads_a_trunk(study: Path, tmp_path: Path) -> None:
    copied = copy_of(study, tmp_path)
    words = ("--arm", "penalised", "--test", "trade", "--test", "dormancy", "--workers", 1, "--no-mlflow")
    printed = " ".join(said("after", copied, *words).split())
    assert "Not made: dormancy, since agents have a memory" in printed


def test_what_enumerates_decisions_says_that_a_memory_is_in_the_way(
    study: Path, shared: Shared, tmp_path: Path
) -> None:
    copied = copy_of(study, tmp_path)
    assert "an agent with a memory (network.memory)" in refused("revealed", copied, "--arm", "penalised", "--no-mlflow")


def test_recipes_that_cannot_have_a_memory_are_refused_before_anything_is_trained() -> None:
    with pytest.raises(KerfError, match=r"arms\.frozen\.training\.algorithm: cannot be had with a memory"):
        load_recipe("smoke", sets=[*SMALL, "training.algorithm=dqn"])
    with pytest.raises(KerfError, match=r"arms\.penalised\.penalty_units: cannot be had with a memory"):
        load_recipe("smoke", sets=[*SMALL, "arms.penalised.penalty_units=0.5"])
    with pytest.raises(KerfError, match=r"network\.memory must be 0 with `exact`"):
        load_recipe("threshold-exact", sets=["network.memory=4"])


def test_a_served_policy_is_given_its_memory_and_gives_it_back(study: Path, tmp_path: Path) -> None:
    world, folder = get_world("station"), study / Unit("penalised", 1).name
    policy = load_policy(folder / "policy", world)
    played = rollout(policy, world, world.space.sample(3, np.random.default_rng(0)), np.random.default_rng(1))
    served, names = ServedPolicy(), memory_columns(MEMORY)
    served.load_context(SimpleNamespace(artifacts={"policy": str(folder)}))
    memory = pd.DataFrame(np.zeros((3, MEMORY)), columns=names)
    for seen, logits in zip(played.observations, played.logits, strict=True):
        answer = served.predict(None, pd.concat([pd.DataFrame(seen, columns=list(world.observations)), memory], axis=1))
        memory = answer[names]
        expected = softmax(logits.astype(np.float64), axis=1)
        np.testing.assert_allclose(answer[list(world.actions)].to_numpy(), expected, atol=1e-6)
    card = json.loads((folder / "policy.json").read_text())
    assert card["recurrent"]["memory"] == MEMORY
