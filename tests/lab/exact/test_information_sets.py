"""Information sets: their members, their order, and worlds that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import kerf.lab.exact.information_sets
import kerf.lab.exact.optimum
from kerf.lab.dilemma import Mix
from kerf.lab.errors import KerfError
from kerf.lab.exact.information_sets import grow
from kerf.lab.exact.optimum import belief, solve, trees
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma import DilemmaWorld
from tests.lab.policies import WORLD as STATION
from tests.lab.small_worlds import DOUBTFUL, ExactLever, ExactLeverPlay

IDEAL = RewardSpec()
LEVER = ExactLever()


def by_situation(world: World, situations: Scenarios, mix: Mix) -> NDArray[np.float64]:
    tree = grow(world, situations)
    return solve(tree, IDEAL, belief(tree, mix, np.ones(len(situations)))).by_situation


def test_the_order_of_situations_and_their_batches_change_nothing(stations: Scenarios) -> None:
    shuffled = np.random.default_rng(0).permutation(len(stations))
    whole = by_situation(STATION, stations, Mix(0.7, 0.8))
    np.testing.assert_allclose(by_situation(STATION, stations[shuffled], Mix(0.7, 0.8)), whole[shuffled], atol=1e-12)
    one_by_one = [by_situation(STATION, row[None], Mix(0.7, 0.8))[0] for row in stations]
    np.testing.assert_allclose(one_by_one, whole, atol=1e-12)
    batched = [by_situation(STATION, tree.situations, Mix(0.7, 0.8)) for tree in trees(STATION, stations)]
    np.testing.assert_allclose(np.concatenate(batched), whole, atol=1e-12)
    assert len(np.unique(whole.round(9))) > 2
    alone = sum(len(grow(STATION, row[None])) for row in stations)
    assert len(grow(STATION, stations)) == alone, "situations share no information set"


def test_trees_come_in_order_a_few_situations_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = get_world("dilemma_two")
    assert isinstance(world, DilemmaWorld)
    situations = world.situations()
    (whole,) = trees(world, situations)
    value = solve(whole, IDEAL, belief(whole, Mix())).by_situation
    monkeypatch.setattr(kerf.lab.exact.optimum, "AT_ONCE", 100)
    parts = list(trees(world, situations))
    assert [len(part.situations) for part in parts] == [100] * 7 + [68]
    np.testing.assert_array_equal(np.concatenate([part.situations for part in parts]), situations)
    np.testing.assert_allclose(
        np.concatenate([solve(part, IDEAL, belief(part, Mix())).by_situation for part in parts]), value, atol=1e-15
    )


def test_equal_situations_are_worth_the_same(stations: Scenarios) -> None:
    twice = by_situation(STATION, np.concatenate([stations[:3], stations[:3]]), Mix())
    np.testing.assert_allclose(twice[:3], twice[3:], atol=1e-12)


def test_what_is_too_large_is_refused_with_its_number(monkeypatch: pytest.MonkeyPatch, stations: Scenarios) -> None:
    members = sum(len(level.set_of) for level in grow(STATION, stations[:1]).levels)
    monkeypatch.setattr(kerf.lab.exact.information_sets, "MOST_BRANCHES", 2000)
    message = r"world station: too large to be solved: about \d\.\de\+\d\d states in 1 situation \("
    with pytest.raises(KerfError, match=message) as refused:
        grow(STATION, stations[:1])
    assert "at most 200 are kept" in str(refused.value)
    estimate = float(str(refused.value).split("about ")[1].split()[0])
    assert members <= estimate, "it goes by the growth so far, which slows down"
    monkeypatch.setattr(kerf.lab.exact.information_sets, "MOST_BRANCHES", 4)
    with pytest.raises(KerfError, match="in 6 situations"):
        grow(LEVER, LEVER.situations())


def test_worlds_that_cannot_be_enumerated_are_refused() -> None:
    lever = get_world("tests.toy_world:Lever")
    with pytest.raises(KerfError, match="world lever cannot be enumerated"):
        grow(lever, lever.space.blank(1))


def test_a_completion_that_shows_is_refused() -> None:
    class Leaky(ExactLever):
        def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
            rows, origin = super().completions(scenarios)
            rows[1:, 2] = 1 - rows[1:, 2]
            return rows, origin

    with pytest.raises(ValueError, match="does not look like its situation: lever"):
        grow(Leaky(), LEVER.situations()[DOUBTFUL][None])

    class Barren(ExactLever):
        def completions(self, scenarios: Scenarios) -> tuple[Scenarios, NDArray[np.int64]]:
            rows, origin = super().completions(scenarios)
            return rows[origin > 0], origin[origin > 0]

    with pytest.raises(ValueError, match="a situation without a completion"):
        grow(Barren(), LEVER.situations())


def test_the_sign_of_zero_is_not_seen() -> None:
    class SignedPlay(ExactLeverPlay):
        def observe(self, out: NDArray[np.float32]) -> None:
            super().observe(out)
            out[(self.scenarios[:, 0] == 1) & (out[:, 2] == 0), 2] = -0.0

        def fork(self, rows: NDArray[np.int64]) -> SignedPlay:
            other = SignedPlay(self.scenarios[rows])
            other.step_number, other.outside = self.step_number, self.outside[rows]
            return other

    class Signed(ExactLever):
        def begin(self, scenarios: Scenarios) -> SignedPlay:
            return SignedPlay(scenarios)

    values = [by_situation(world, LEVER.situations(), Mix(0.5, 1.0)) for world in (LEVER, Signed())]
    np.testing.assert_array_equal(values[0], values[1])


def test_names_tell_sets_apart() -> None:
    tree = grow(LEVER, LEVER.situations())
    for level in tree.levels:
        assert len(np.unique(level.names, axis=0)) == len(level)
        np.testing.assert_array_equal(level.find(level.names), np.arange(len(level)))
        with pytest.raises(KeyError, match="no such information set"):
            level.find(level.names + np.uint64(1))
