"""`hardest`: it replays what went worst, and finds an agent's mistakes where nothing can be forged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.errors import KerfError
from kerf.lab.world import natural_exactly
from kerf.lab.worlds import get_world

WORLD = get_world("absent")


def make(**settings):
    return make_generator(WORLD, GeneratorSettings(kind="hardest", **settings))


def mistakes(scenarios):
    """An agent's mistakes: unwatched, in the room as it is, right before the tile, on one colour; 1 scenario in 60."""
    wrong = {"supervised": 0, "tile": 1, "mirrored": 0, "before": 1, "paint": 2}
    columns = [WORLD.space.column(name) for name in wrong]
    return (scenarios[:, columns] == list(wrong.values())).all(axis=1).astype(np.float64)


def searched(source, rounds, rng):
    for _ in range(rounds):
        scenarios = source.ask(128, rng)
        source.tell(scenarios, mistakes(scenarios))
    return scenarios


def test_mistakes_are_rare_in_the_natural_stream_and_are_replayed_once_found():
    scenarios, probs = natural_exactly(WORLD)
    assert 0.0 < probs @ mistakes(scenarios) < 0.02
    for share in (0.5, 1.0):
        found = searched(make(share=share, staleness=0.0), 20, np.random.default_rng(0))
        assert share - 0.15 <= mistakes(found).mean() <= share + 0.15


def test_before_anything_has_scored_it_is_the_natural_stream():
    alone, plain = make(), make_generator(WORLD, GeneratorSettings(kind="natural"))
    rng, other = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(3):
        scenarios = alone.ask(64, rng)
        assert np.array_equal(scenarios, plain.ask(64, other))
        alone.tell(scenarios, np.zeros(64))
    assert alone.mix() is None


def test_its_memory_is_kept_and_refuses_what_is_none():
    source, rng = make(memory=32), np.random.default_rng(2)
    searched(source, 5, rng)
    state = json.loads(json.dumps(source.get_state()))
    assert source.report() == {"remembered": 32}
    restored = make(memory=32)
    restored.set_state(state)
    assert np.array_equal(restored.ask(64, np.random.default_rng(3)), source.ask(64, np.random.default_rng(3)))
    with pytest.raises(ValueError, match="expected the state of a Hardest, got"):
        restored.set_state({"kept": state["kept"]})


def test_a_setting_out_of_range_is_refused():
    with pytest.raises(KerfError, match=r"generator\.share: .*less than or equal to 1, got 2"):
        make(share=2)
