"""Searching generators: what each does with scores."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.generators.base import GeneratorSettings
from kerf.generators.registry import make_generator
from kerf.lab.worlds import get_world

STATION = get_world("station")


def make(kind, strength=1.0, **settings):
    return make_generator(STATION, GeneratorSettings(kind=kind, strength=strength, **settings))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def play(generator, score, rounds, n=256, seed=0):
    stream = rng(seed)
    for _ in range(rounds):
        scenarios = generator.ask(n, stream)
        generator.tell(scenarios, score(scenarios))
    return scenarios


def chosen(scenarios, name):
    return scenarios[:, STATION.space.column(name)]


def test_an_elite_that_fails_when_played_again_gives_way():
    generator = make("illuminate", descriptors=["distance"], fresh=0.0, share=0.9)
    play(generator, lambda scenarios: np.ones(len(scenarios)), 1)
    before = generator.elite_key.copy()
    stream = rng(1)
    scenarios = generator.ask(256, stream)
    replayed = np.isin(generator.forging.identity(scenarios), before)
    assert 180 < replayed.sum() < 256
    generator.tell(scenarios, np.where(replayed, 0.0, 0.5))
    for cell in np.flatnonzero(generator.filled):
        times = np.count_nonzero(generator.forging.identity(scenarios) == before[cell])
        if generator.elite_key[cell] == before[cell]:
            assert generator.elite_plays[cell] == 1 + times
            assert generator.elite_total[cell] == 1.0
        else:
            assert generator.elite_total[cell] / generator.elite_plays[cell] == 0.5 > 1 / (1 + times)


def test_every_cell_counts_what_was_played_of_its_kind():
    generator = make("illuminate", descriptors=["cues", "distance"])
    played = []

    def score(scenarios):
        played.append(scenarios)
        return chosen(scenarios, "cry").astype(np.float64)

    play(generator, score, 4)
    everything = np.concatenate(played)
    cells = generator.cells.of(everything)
    assert np.array_equal(generator.plays, np.bincount(cells, minlength=len(generator.plays)))
    np.testing.assert_allclose(
        generator.total, np.bincount(cells, chosen(everything, "cry"), minlength=len(generator.plays))
    )
    for cell in generator.report()["cells"]:
        low, high = cell["descriptors"]["cues"]
        elite = STATION.space.from_text(cell["elite"])[None]
        assert low <= STATION.dilemma.descriptors["cues"](elite)[0] <= high


def test_a_measure_of_many_values_is_cut_evenly():
    generator = make("illuminate", descriptors=["ttl"], cells=4)
    (low,), (high,) = generator.cells.low, generator.cells.high
    assert low[1:] == high[:-1]
    np.testing.assert_allclose(np.diff([*low, high[-1]]), (high[-1] - low[0]) / 4)


def test_a_search_gathers_a_population_of_its_own_draws_before_it_moves():
    generator = make("search", population=80, explore=0.5)
    play(generator, lambda scenarios: chosen(scenarios, "cry").astype(np.float64), 1, n=64)
    gathered = len(generator.get_state()["learnt"]["scores"])
    assert 12 <= gathered <= 52  # five standard errors about a half: the others explore
    assert generator.cma.generation == 0
    play(generator, lambda scenarios: chosen(scenarios, "cry").astype(np.float64), 1, n=256, seed=1)
    assert generator.cma.generation == 1
    assert generator.get_state()["learnt"]["scores"] == []


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_search_moves_to_what_scores(wanted):
    generator = make("search")
    play(generator, lambda scenarios: (chosen(scenarios, "vitals") == wanted).astype(np.float64), 12)
    mean = generator.report()["distribution"]["vitals"]["mean"]
    assert (mean > 0.5) if wanted else (mean < -0.5)


def test_a_search_learns_what_is_plausible_where_everything_succeeds():
    generator = make("search")
    play(generator, lambda scenarios: np.ones(len(scenarios)), 1, n=1024)
    first = sum(generator.refused.values())
    play(generator, lambda scenarios: np.ones(len(scenarios)), 30, n=1024)
    before = sum(generator.refused.values())
    generator.ask(1024, rng(9))
    assert sum(generator.refused.values()) - before < 0.8 * first


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_learned_forger_learns_what_scores_and_what_is_plausible(wanted):
    generator = make("learned")
    play(generator, lambda scenarios: (chosen(scenarios, "vitals") == wanted).astype(np.float64), 1)
    refused = sum(generator.refused.values())
    late = play(generator, lambda scenarios: (chosen(scenarios, "vitals") == wanted).astype(np.float64), 40)
    assert (chosen(late, "vitals") == wanted).mean() > 0.85
    before = sum(generator.refused.values())
    generator.ask(256, rng(9))
    assert sum(generator.refused.values()) - before < 0.8 * refused


def test_replay_plays_its_share_again_once_anything_scored():
    generator = make("replay", share=0.5)
    stream = rng()
    first = generator.ask(512, stream)
    generator.tell(first, np.zeros(512))
    second = generator.ask(512, stream)
    known = np.isin(generator.forging.identity(second), generator.forging.identity(first))
    assert not known.any()
    generator.tell(second, np.eye(512)[3])
    third = generator.forging.identity(generator.ask(512, stream))
    again = np.isin(third, generator.forging.identity(np.concatenate((first, second)))).sum()
    assert 200 < again < 312  # five standard errors about a half
    assert (third == generator.forging.identity(second[3:4])).sum() > 100


def test_mutation_edits_what_scored():
    generator = make("mutation", fresh=0.0, share=0.0)
    stream = rng()
    first = generator.ask(64, stream)
    generator.tell(first, np.eye(64)[7])
    children = generator.ask(256, stream)
    fixed = ~STATION.space.forgeable
    of_it = (children[:, fixed] == first[7, fixed]).all(axis=1)
    assert of_it.mean() > 0.4
    assert len(np.unique(generator.forging.identity(children[of_it]))) > 20
