"""`climb` keeps the contract of a generator, and climbs where a score leads uphill."""

from __future__ import annotations

import json

import numpy as np
import pytest
from kerf_example_climb import Climb
from scipy.stats import fisher_exact

from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from kerf.runs.recipe.files import load_recipe

BATCH, ROUNDS = 256, 12
ALPHA = 1e-3
"""Error rate of the test that it climbs; the seed is fixed."""


@pytest.fixture(scope="module")
def world():
    return get_world("dilemma")


def make(world, kind="climb", **settings):
    return make_generator(world, GeneratorSettings(kind=kind, **settings))


def pull(generator, rounds, seed=0):
    """The scores of each round against a planted weakness: the fewer fields differ from one scenario, the higher."""
    rng = np.random.default_rng(seed)
    columns = generator.world.space.forgeable
    aim = generator.world.dilemma.forge(1, 1.0, np.random.default_rng(99))[0, columns]
    scores = []
    for _ in range(rounds):
        scenarios = generator.ask(BATCH, rng)
        scores.append((scenarios[:, columns] == aim).mean(axis=1))
        generator.tell(scenarios, scores[-1])
    return np.array(scores)


def test_a_recipe_can_name_it_with_its_settings():
    sets = ["arms.searched={kind: penalised, generator: {kind: climb, keep: 4}}"]
    generator = load_recipe("turner", sets=sets).resolve()["searched"].generator
    assert generator.model_dump() == {"kind": "climb", "strength": 1.0, "keep": 4, "explore": 0.25}


def test_a_setting_out_of_range_is_refused_with_a_sentence(world):
    with pytest.raises(KerfError, match=r"generator\.keep: .* greater than or equal to 1, got 0"):
        make(world, keep=0)


def test_the_same_seed_gives_the_same_scenarios(world):
    first, again, other = (pull(make(world), 3, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_what_it_learnt_goes_through_json(world):
    generator = make(world)
    pull(generator, 3)
    twin = make(world)
    twin.set_state(json.loads(json.dumps(generator.get_state())))
    np.testing.assert_array_equal(pull(twin, 2, seed=5), pull(generator, 2, seed=5))


def test_strength_is_enforced(world):
    generator = make(world, strength=0.0)
    assert isinstance(generator, Climb)
    pull(generator, 3)
    tells = [world.space.column(tell) for tell in world.dilemma.tells]
    law = world.dilemma.forge(4096, 0.0, np.random.default_rng(6))[:, tells].mean(axis=0)
    played = np.concatenate([generator.ask(BATCH, np.random.default_rng(seed)) for seed in range(16)])
    assert np.allclose(played[:, tells].mean(axis=0), law, atol=4 * 0.5 / np.sqrt(2048))


def test_it_climbs(world):
    ours, blind = (pull(make(world, kind), ROUNDS)[-1] for kind in ("climb", "scripted"))
    hits = [int((scores >= 0.9).sum()) for scores in (ours, blind)]
    table = [[hits[0], BATCH - hits[0]], [hits[1], BATCH - hits[1]]]
    assert fisher_exact(table, alternative="greater").pvalue < ALPHA
