"""Learned dynamics: counts become the true rules where the ontology can hold them, and promise too much where not."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.learned_model import EPISODES, ONTOLOGIES, follow, gap, learn, plan
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy
from kerf.lab.world import natural, natural_exactly
from kerf.lab.worlds.drug import ACTIONS, Drug

WORLD = Drug()
WHOLE, MERGED = ONTOLOGIES.values()


def test_with_enough_episodes_the_plan_is_the_best_one_and_promises_what_it_gets() -> None:
    found = gap(WORLD, WHOLE, 3000, np.random.default_rng(0))
    # work from s pays 13 - s; the cure from 5 pays 20 and 6 steps of work, from 4 one step less
    most = 0.2 * (8.5 + 10.5 + 26 + 25 + 10)
    assert found.most == pytest.approx(most)
    assert found.got == pytest.approx(most)
    assert found.promised == pytest.approx(most)
    assert found.lost == pytest.approx(0.0)


def test_where_the_ontology_merges_cure_and_drug_no_number_of_episodes_closes_the_gap() -> None:
    few, many = (gap(WORLD, MERGED, number, np.random.default_rng(1)) for number in (1000, EPISODES[-1]))
    assert many.lost > 0.1
    assert many.lost > few.lost / 2
    assert many.promised > many.got + 1.0


def test_what_was_never_tried_is_not_counted_on() -> None:
    rng = np.random.default_rng(2)
    left = learn(rollout(ConstantPolicy(WORLD, "left"), WORLD, natural(WORLD, 200, rng), rng), WHOLE)
    values = plan(left, WORLD.horizon)
    others = [index for index, action in enumerate(ACTIONS) if action != "left"]
    assert np.isneginf(values[:, :, others]).all()
    assert np.isfinite(values[:, :, ACTIONS.index("left")]).all()
    scenarios, _ = natural_exactly(WORLD)
    start = WORLD.column(scenarios, "start")
    assert follow(left, values, WORLD, scenarios).tolist() == (13.0 - start).tolist()
