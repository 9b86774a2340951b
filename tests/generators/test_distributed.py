"""A population that is asked for in parts is the same on any number of workers, and its scores are merged."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import ray

from kerf.generators.base import GeneratorSettings
from kerf.generators.distributed import Distributed, concatenated, parts
from kerf.generators.registry import known_generators, make_generator, typed
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world

ROWS = 96
LEVER = "tests.toy_world:Lever"


def make(kind, num_workers, world="station", adversarial_share=1.0):
    settings = GeneratorSettings(kind=kind, strength=0.7)
    return Distributed(get_world(world), settings, adversarial_share, num_workers=num_workers, rows=ROWS)


def go_on(source, rounds, seed):
    """Scenarios of some rounds with random scores; 250 rows are two full parts and a smaller one."""
    rng, asked = np.random.default_rng(seed), []
    for _ in range(rounds):
        scenarios = source.ask(250, rng)
        source.tell(scenarios, np.floor(rng.random(250) * 1.2))
        asked.append(scenarios)
    return np.concatenate(asked)


def test_workers_need_a_ray():
    assert not ray.is_initialized()
    source = make_generator(get_world(LEVER), GeneratorSettings(kind="replay", ask_workers=2))
    with pytest.raises(KerfError, match=r"generator\.ask_workers: 2 workers need Ray, which does not run"):
        source.ask(4, np.random.default_rng(0))


def test_the_setting_is_said_only_where_there_are_workers_and_their_number_tells_nobody_apart():
    none, one, many = (typed(GeneratorSettings(kind="search", ask_workers=number)) for number in (0, 1, 7))
    assert "ask_workers" not in none.model_dump()
    assert many.model_dump()["ask_workers"] == 7
    assert none.identity() != one.identity() == many.identity()
    with pytest.raises(KerfError, match=r"generator\.ask_workers: .*got -1"):
        typed(GeneratorSettings.model_construct(kind="search", strength=1.0, ask_workers=-1))


def test_a_fixed_mix_stays_one():
    for kind, share in (("scripted", 0.75), ("natural", 1.0), ("search", 1.0)):
        parted, whole = (
            make_generator(get_world(LEVER), GeneratorSettings(kind=kind, ask_workers=number), share)
            for number in (2, 0)
        )
        assert parted.mix() == whole.mix()


@pytest.mark.slow
def test_it_takes_no_cpu_and_its_copies_have_workers_of_their_own(one_ray):
    before = ray.available_resources().get("CPU")
    source = make("search", 2, world=LEVER)
    copied = copy.deepcopy(source)
    assert np.array_equal(go_on(source, 1, seed=1), go_on(copied, 1, seed=1))
    assert len(source._workers) == len(copied._workers) == 2
    assert len(copy.deepcopy(source)._workers) == 0
    assert ray.available_resources().get("CPU") == before
    for each in (source, copied):
        each.close()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "adversarial_share"), [("search", 1.0), ("learned", 1.0), ("illuminate", 0.75)])
def test_the_number_of_workers_changes_nothing(one_ray, kind, adversarial_share):
    sources = [make(kind, num_workers, LEVER, adversarial_share) for num_workers in (0, 1, 2)]
    try:
        played = [go_on(source, 3, seed=1) for source in sources]
        assert np.array_equal(played[0], played[1])
        assert np.array_equal(played[0], played[2])
        states = {json.dumps(source.get_state()) for source in sources}
        assert len(states) == 1
    finally:
        for source in sources:
            source.close()


@pytest.mark.slow
def test_a_worker_that_died_is_replaced(one_ray):
    source, alone = make("illuminate", 2, LEVER), make("illuminate", 0, LEVER)
    try:
        go_on(source, 1, seed=1), go_on(alone, 1, seed=1)
        ray.kill(source._workers[0], no_restart=False)
        assert np.array_equal(go_on(source, 2, seed=2), go_on(alone, 2, seed=2))
    finally:
        source.close()


@pytest.mark.parametrize("kind", sorted(known_generators()))
def test_all_parts_are_told_of_and_a_restored_source_goes_on(kind):
    original, restored = make(kind, 0), make(kind, 0)
    go_on(original, 2, seed=1)
    restored.set_state(json.loads(json.dumps(original.get_state())))
    assert np.array_equal(go_on(original, 2, seed=2), go_on(restored, 2, seed=2))
    if "proposed" in original.report():
        assert original.report()["proposed"] == 4 * 250


def test_one_part_is_what_the_generator_gives_by_itself():
    rng = np.random.default_rng(3)
    (part,) = parts(64, ROWS, np.random.default_rng(3))
    alone = make_generator(get_world("station"), GeneratorSettings(kind="mutation", strength=0.7))
    assert np.array_equal(make("mutation", 0).ask(64, rng), alone.ask(64, np.random.default_rng(part[1])))


def test_parts_are_drawn_apart_and_follow_the_state_of_the_generator():
    first, again = np.random.default_rng(0), np.random.default_rng(0)
    sizes = [size for size, _ in parts(250, ROWS, first)]
    assert sizes == [96, 96, 58]
    later = [np.random.default_rng(seed).random() for _, seed in parts(250, ROWS, first)]
    assert len(set(later)) == 3
    again.bit_generator.state = first.bit_generator.state
    after, same = (np.random.default_rng(parts(9, 9, rng)[0][1]).random() for rng in (first, again))
    assert after == same
    assert after not in later


def test_what_a_part_lacks_is_zeros():
    rows = get_world(LEVER).space.blank(2)
    ones = np.ones((2, 3))
    scenarios, pending = concatenated([(rows, {"a": ones}), (rows, {"a": 2 * ones, "b": ones[:, 0]})])
    assert len(scenarios) == 4
    assert pending["a"][:, 0].tolist() == [1, 1, 2, 2]
    assert pending["b"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("num_workers", "rows"), [(-1, 8), (0, 0)])
def test_numbers_that_make_no_sense_are_refused(num_workers, rows):
    with pytest.raises(KerfError, match="num_workers >= 0 and rows >= 1"):
        Distributed(get_world(LEVER), GeneratorSettings(kind="replay"), num_workers=num_workers, rows=rows)
