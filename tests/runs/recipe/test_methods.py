"""Learning algorithms in recipes: what they cannot do is refused, and a recipe that names none hashes as before."""

from __future__ import annotations

import json

import pytest

from kerf.lab.errors import KerfError
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe, load_recipes
from kerf.runs.recipe.model import resolved_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from tests.runs.execution.test_forked_workers import TOY


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        (["training.algorithm=dqm"], "unknown algorithm 'dqm'"),
        (["training.algorithm=dqn", "arms.penalised.anchor=0.3"], "arms.penalised: DQN has no anchor_coeff"),
        (["training.algorithm=appo", "arms.penalised.latent=1"], "arms.penalised: APPO has no latent_radius"),
        (["training.algorithm=dqn", "training.num_env_runners=2"], "DQN has no num_env_runners"),
        (["align.ppo.training.algorithm=dqn"], "align.ppo.training.algorithm"),
    ],
)
def test_what_an_algorithm_cannot_do_is_refused_before_training(sets: list[str], sentence: str) -> None:
    with pytest.raises(KerfError) as refused:
        load_recipe("smoke", sets=sets)
    assert sentence in str(refused.value)


def test_a_recipe_that_names_no_algorithm_is_described_as_before() -> None:
    plain = json.dumps(resolved_recipe(load_recipe("smoke")))
    assert not any(name in plain for name in ("algorithm", "optimiser", "dqn", "appo"))
    assert '"algorithm": "dqn"' in json.dumps(resolved_recipe(load_recipe("smoke", sets=["training.algorithm=dqn"])))


def test_every_variant_of_the_recipe_of_methods_asks_the_same() -> None:
    loaded = load_recipes("robust-to-method")
    assert {recipe.training.algorithm for recipe in loaded.values()} == {"ppo", "dqn", "appo"}
    assert {recipe.training.optimiser for recipe in loaded.values()} == {"adam", "sgd"}
    assert {bool(recipe.network.memory) for recipe in loaded.values()} == {True, False}
    assert loaded["ppo-reward-alone"].align.imitation.iterations == 0
    assert len({recipe.primaries for recipe in loaded.values()}) == 1
    assert all((recipe.penalty, recipe.adversarial_share) == (10.0, 0.25) for recipe in loaded.values())


@pytest.mark.parametrize("algorithm", ["dqn", "appo"])
def test_a_study_runs_by_other_algorithms(algorithm: str, write, tmp_path) -> None:  # type: ignore[no-untyped-def]
    sets = [f"training.algorithm={algorithm}", "training.num_scenarios=16"]
    recipe = load_recipe(write(TOY | {"arms": {"penalised": {}, "yoked": {}}, "seeds": 1}), sets=sets)
    store = Store(tmp_path / "study")
    for arm in (ALIGNED, "penalised", "yoked"):
        for _ in run_unit(recipe, Unit(arm, 0), store):
            pass
    training = store.path / Unit("penalised", 0).name / "training.parquet"
    assert training.exists()
    assert store.read_json(Unit(ALIGNED, 0), "gate")["advantage_scale"] is None
