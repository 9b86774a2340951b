"""Buffer of played scenarios: what it keeps, and which are played again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from kerf.generators.memory import Memory, pick

ALPHA = 1e-3


def memory(num_slots=4, priority="score", temperature=1.0, staleness=0.0):
    return Memory(num_slots, priority, temperature, staleness)


def learn(of, keys, scores):
    kept = of.learn(np.array(keys, np.uint64), np.array(scores, np.float64))
    return dict(zip(kept.slots.tolist(), kept.rows.tolist(), strict=True))


def remembered(of):
    filled = np.flatnonzero(of.plays)
    return {int(of.keys[slot]): (int(of.plays[slot]), float(of.total[slot])) for slot in filled}


def test_plays_of_one_scenario_add_up_over_batches_and_within_one():
    of = memory()
    learn(of, [7, 7, 9], [1, 0, 1])
    assert remembered(of) == {7: (2, 1.0), 9: (1, 1.0)}
    assert learn(of, [9, 7], [0, 1]) == {}  # they are there already
    assert remembered(of) == {7: (3, 2.0), 9: (2, 1.0)}


def test_the_best_take_the_places_of_the_worst():
    of = memory(num_slots=3)
    learn(of, [1, 2, 3], [0.5, 0.0, 0.2])
    kept = learn(of, [4, 5, 6], [0.1, 0.3, 0.6])
    assert remembered(of) == {1: (1, 0.5), 5: (1, 0.3), 6: (1, 0.6)}
    assert sorted(kept.values()) == [1, 2]
    assert learn(of, [8], [0.3]) == {}  # equal is not better


def test_more_than_there_is_room_for_comes_down_to_the_best():
    of = memory(num_slots=2)
    kept = learn(of, [1, 2, 3, 4, 5], [0.1, 0.9, 0.3, 0.8, 0.2])
    assert remembered(of) == {2: (1, 0.9), 4: (1, 0.8)}
    assert sorted(kept.values()) == [1, 3]


@pytest.mark.parametrize(("temperature", "weights"), [(1.0, (1, 1 / 2, 1 / 3)), (0.5, (1, 1 / 4, 1 / 9))])
def test_picks_go_by_rank_and_equals_share_what_their_ranks_have(temperature, weights):
    of = memory(temperature=temperature)
    learn(of, [1, 2, 3], [0.9, 0.9, 0.1])
    n, total = 20_000, sum(weights)
    counts = np.bincount(of.keys[of.pick(n, np.random.default_rng(0))].astype(int), minlength=4)
    shared = (weights[0] + weights[1]) / 2
    for key, weight in ((1, shared), (2, shared), (3, weights[2])):
        assert binomtest(int(counts[key]), n, weight / total).pvalue > ALPHA


def test_one_success_outweighs_a_thousand_failures():
    of = memory(num_slots=1024, temperature=0.3)
    learn(of, range(1024), np.eye(1024)[5])
    counts = np.bincount(of.keys[of.pick(1000, np.random.default_rng(0))].astype(int))
    assert counts[5] > 800


def test_staleness_brings_back_what_was_not_played():
    of = memory(staleness=0.5, temperature=1e-2)
    learn(of, [1, 2], [0.9, 0.1])
    for _ in range(3):
        learn(of, [1], [0.9])
    counts = np.bincount(of.keys[of.pick(20_000, np.random.default_rng(0))].astype(int), minlength=3)
    assert binomtest(int(counts[2]), 20_000, 0.5).pvalue > ALPHA


def test_learnability_prefers_what_goes_well_half_of_the_time():
    of = memory(priority="learnability", temperature=1e-2)
    learn(of, [1] * 10 + [2] * 10 + [3] * 10, [1] * 10 + [0, 1] * 5 + [0] * 10)
    assert set(of.keys[of.pick(50, np.random.default_rng(0))].tolist()) == {2}


def test_it_is_promising_once_something_scored():
    of = memory()
    learn(of, [1, 2], [0, 0])
    assert not of.promising
    learn(of, [1], [0.2])
    assert of.promising


def test_a_restored_memory_goes_on_as_the_original():
    rng = np.random.default_rng(0)
    original, restored = memory(num_slots=16, staleness=0.3), memory(num_slots=16, staleness=0.3)
    for _ in range(5):
        original.learn(rng.integers(0, 60, 12).astype(np.uint64) << np.uint64(58), rng.random(12))
    restored.set_state(json.loads(json.dumps(original.get_state())))
    for of in (original, restored):
        learn(of, range(8), np.linspace(0, 1, 8))
    assert original.get_state() == restored.get_state()
    assert np.array_equal(*(of.pick(32, np.random.default_rng(1)) for of in (original, restored)))
    with pytest.raises(ValueError, match="expected a memory"):
        restored.set_state({"clock": 1})


def test_picking_never_takes_what_has_no_chance():
    chances = np.array([0.0, 0.2, 0.0, 0.8, 0.0])
    drawn = pick(chances, 10_000, np.random.default_rng(0))
    assert set(drawn.tolist()) == {1, 3}
    assert binomtest(int((drawn == 1).sum()), 10_000, 0.2).pvalue > ALPHA
