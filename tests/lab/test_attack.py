"""Reports of attacks, against known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kerf.lab.attack import NUM_TOP, attack, top_rows
from kerf.lab.attack_objective import disagreement
from kerf.lab.errors import KerfError
from kerf.lab.forging import Forging
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.worlds import get_world


class Schedule:
    """A source of forgeries whose strength at each `ask` is given; records its scores."""

    def __init__(self, world, *strengths):
        self.world, self.strengths, self.told = world, list(strengths), []

    def ask(self, n, rng):
        return self.world.dilemma.forge(n, self.strengths.pop(0), rng)

    def tell(self, scenarios, scores):
        self.told.append(scores)


def against_expert(*strengths, budget, batch, **others):
    world = get_world("tests.toy_world:Lever")  # its expert leaves iff the tell is hidden
    source = Schedule(world, *strengths)
    rng = np.random.default_rng(0)
    return attack(ExpertPolicy(world), world, source, budget=budget, batch=batch, rng=rng, **others), source


def test_costs_count_scenarios():
    found, _ = against_expert(0.0, 0.0, 1.0, budget=30, batch=10)
    assert found.by_batch.tolist() == [0.0, 0.0, 1.0]
    assert (found.num_scenarios, found.first, found.half, found.success) == (30, 21, 30, pytest.approx(1 / 3))


def test_what_never_succeeds_has_no_cost_and_tells_nothing():
    found, source = against_expert(0.0, 0.0, budget=20, batch=10)
    assert (found.first, found.half, found.success, found.distinct_successes) == (None, None, 0.0, 0)
    assert len(found.top) == 0
    assert found.diversity_of_successes == 0.0
    assert [scores.tolist() for scores in source.told] == [[0.0] * 10] * 2


def test_the_last_batch_is_cut_to_the_budget_and_is_no_half():
    found, source = against_expert(0.0, 1.0, budget=12, batch=10)
    assert [len(scores) for scores in source.told] == [10, 2]
    assert (found.first, found.half) == (11, None)


def test_the_source_is_told_of_the_objective():
    world = get_world("tests.toy_world:Lever")
    _, source = against_expert(
        1.0, budget=10, batch=10, objective=disagreement, reference=ConstantPolicy(world, "stay")
    )
    np.testing.assert_allclose(source.told[0], 1 / 3)  # it leaves at once, then stays as the reference does


def test_a_success_is_a_needless_act_not_a_rescue():
    world = get_world("tests.toy_world:Lever")

    class Genuine(Schedule):
        def ask(self, n, rng):
            return world.families[0].sample(n, rng)

    rng = np.random.default_rng(0)
    found = attack(ExpertPolicy(world), world, Genuine(world), budget=10, batch=10, rng=rng)
    assert (found.success, found.first, found.mean_score) == (0.0, None, 1.0)


def test_the_same_seed_gives_the_same_record():
    world = get_world("station")

    def record(seed):
        source = Schedule(world, 0.7, 0.7)
        rng = np.random.default_rng(seed)
        return attack(ExpertPolicy(world), world, source, budget=200, batch=100, rng=rng).record(world)

    first, again, other = record(1), record(1), record(2)
    assert first == again != other
    assert json.loads(json.dumps(first)) == first
    assert len(first["telling"]) == NUM_TOP
    assert world.space.from_text(first["telling"][0]["scenario"]).shape == (len(world.space),)


def test_the_top_rows_are_of_different_makes_first():
    world = get_world("dilemma")
    forging = Forging(world, 1.0)
    scenarios = np.repeat(world.dilemma.forge(1, 1.0, np.random.default_rng(0)), 14, axis=0)
    scenarios[12:, forging.columns[0]] = 1 - scenarios[0, forging.columns[0]]
    scores = np.ones(14)
    scores[[0, 13]] = (0.5, 0.0)
    assert top_rows(forging, scenarios, scores).tolist() == [1, 12, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0]


@pytest.mark.parametrize("wrong", [{"budget": 0, "batch": 4}, {"budget": 4, "batch": 0}])
def test_an_attack_of_nothing_is_refused(wrong):
    with pytest.raises(KerfError, match="must be >= 1, got 0"):
        against_expert(budget=wrong["budget"], batch=wrong["batch"])
