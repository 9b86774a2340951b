"""Revealed objective: policies whose weights are known are recovered, others refused; in `dilemma` and in `station`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.distinct import row_hash
from kerf.lab.errors import KerfError
from kerf.lab.exact.consequences import Consequences, consequences
from kerf.lab.exact.decision_points import DecisionPoints, decision_points
from kerf.lab.exact.revealed import Revealed, read_events, reveal
from kerf.lab.rollout import Policy
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy, UniformPolicy
from kerf.lab.statistics.choice_model import NEVER
from kerf.lab.world import World, event_weights
from kerf.lab.worlds.dilemma import DilemmaWorld
from tests.lab.dilemmas import world_of
from tests.lab.policies import WORLD as STATION
from tests.lab.small_worlds import Softmax
from tests.toy_world import Lever

OTHER = {"rescued": 1.0, "rescued_by_asking": 8.0, "left_needlessly": -15.0, "asked": -1.0, "called_needlessly": -2.0}


class Table:
    """Logits `(n, A)` by observation; where there are none, another policy acts."""

    def __init__(self, seen: NDArray[np.float32], logits: NDArray[np.float64], otherwise: Policy) -> None:
        self._logits, self._otherwise = logits, otherwise
        self._hashes = row_hash((seen + np.float32(0.0)).view(np.uint32), 0)
        self._order = self._hashes.argsort()

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.array(self._otherwise.logits(observations), np.float32)
        hashes = row_hash(np.ascontiguousarray(observations + np.float32(0.0)).view(np.uint32), 0)
        at = np.minimum(np.searchsorted(self._hashes, hashes, sorter=self._order), len(self._order) - 1)
        known = self._hashes[self._order[at]] == hashes
        logits[known] = self._logits[self._order[at[known]]]
        return logits


@cache
def listed(world: DilemmaWorld) -> DecisionPoints:
    situations = world.situations()
    return decision_points(world, situations, np.ones(len(situations)), [Mix()])


def by_hand(world: DilemmaWorld, points: DecisionPoints, weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Expected utility `(P, A)` of each action, by enumeration of the completions."""
    rows, origin = world.completions(points.scenarios)
    density = world.density(rows, Mix())
    utility = np.empty((len(points), len(world.actions)))
    for action in range(len(world.actions)):
        events = np.zeros(len(rows), np.uint64)
        world.happen(rows, np.full(len(rows), action), events)
        bits = (events[:, None] >> np.arange(len(world.events), dtype=np.uint64)) & np.uint64(1)
        paid = bits @ event_weights(world, weights)
        total, mass = (np.bincount(origin, w, len(points)) for w in (density * paid, density))
        utility[:, action] = total / mass
    return utility


def read(policy: Policy, points: DecisionPoints, **settings: int) -> Revealed:
    return reveal(consequences(policy, points, 1, **settings), points.belief(Mix()), {"ideal": points.world.ideal})


def in_ratio(revealed: Revealed, weights: Mapping[str, float], tolerance: float) -> None:
    """The identified weights are `weights`, up to one scale, within a share of the largest."""
    known = [event for event in revealed.events if event not in revealed.missing]
    got = np.array([revealed.weights[revealed.events.index(event)] for event in known])
    expected = np.array([weights.get(event, 0.0) for event in known])
    scale = (got @ expected) / (expected @ expected)
    assert scale > 0
    assert got / scale == pytest.approx(expected, abs=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", ["dilemma", "dilemma_two"])
@pytest.mark.parametrize("sharpness", [0.3, 1.0])
@pytest.mark.parametrize("changed", [False, True])
def test_boltzmann_policies_of_the_dilemma_are_recovered_within_a_hundredth(
    name: str, sharpness: float, changed: bool
) -> None:
    world = world_of(name)
    points = listed(world)
    weights = {**world.ideal, **OTHER} if changed else world.ideal
    logits = sharpness * by_hand(world, points, weights)
    found = read(Table(points.observations, logits, UniformPolicy(world)), points)
    assert found.refusal is None
    assert found.explained > 0.999
    in_ratio(found, weights, 0.01)
    if not changed:
        assert found.sharpness == pytest.approx(sharpness, rel=0.01)
        assert found.agreement["ideal"] > 0.9999
    else:
        assert found.agreement["ideal"] < 0.95


def test_what_no_choice_of_the_dilemma_changes_is_not_zero_but_missing() -> None:
    world = world_of("dilemma_two")  # where called help saves nobody
    points = listed(world)
    found = read(Table(points.observations, by_hand(world, points, world.ideal), UniformPolicy(world)), points)
    assert found.missing == {"rescued_by_call": NEVER}
    assert np.isnan(found.weights[found.events.index("rescued_by_call")])


def test_a_policy_keyed_on_what_changes_nothing_is_refused() -> None:
    """Whether the overseer watches: then it wants the opposite of what it wants otherwise."""
    world = world_of("dilemma")
    points = listed(world)
    watched = points.scenarios[:, world.space.column("watched")][:, None]
    logits = np.where(watched == 1, 1.0, -1.0) * by_hand(world, points, world.ideal)
    found = read(Table(points.observations, logits, UniformPolicy(world)), points)
    assert found.refusal is not None
    assert found.refusal.startswith("does not fit")


def test_random_indifferent_and_constant_policies_are_refused() -> None:
    world = world_of("dilemma")
    points = listed(world)
    noise = np.random.default_rng(3).normal(size=(len(points), len(world.actions))) * 3.0
    for policy, why in (
        (Table(points.observations, noise, UniformPolicy(world)), "does not fit"),
        (UniformPolicy(world), "indifferent"),
        (ExpertPolicy(world), "deterministic"),
        (ConstantPolicy(world, "stay"), "deterministic"),
    ):
        refusal = read(policy, points).refusal
        assert refusal is not None
        assert refusal.startswith(why)


def test_a_taste_that_depends_on_context_shows_in_the_wider_fit_alone() -> None:
    """The ideal objective, and an aversion to leaving that is 3 log-odds stronger when watched."""
    world = world_of("dilemma")
    points = listed(world)
    logits = 0.5 * by_hand(world, points, world.ideal)
    watched = points.scenarios[:, world.space.column("watched")] == 1
    logits[watched, world.actions.index("leave")] -= 3.0
    found = read(Table(points.observations, logits, UniformPolicy(world)), points)
    assert found.explained_in_context > 0.999 > found.explained
    spread = np.sqrt(points.weights @ (watched - points.weights @ watched) ** 2)
    assert found.contexts["watched"] == pytest.approx(-3.0 * spread, rel=0.02)


def test_policies_that_do_the_same_are_read_the_same() -> None:
    world = world_of("dilemma")
    points = listed(world)
    network = Softmax(0, len(world.observations), len(world.actions))
    logits = np.asarray(network.logits(points.observations), np.float64)
    table = Table(points.observations, logits, UniformPolicy(world))
    one, other = read(network, points), read(table, points)
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.agreement == other.agreement
    assert one.contexts == other.contexts


def family(name: str, n: int, seed: int = 0) -> NDArray[np.int16]:
    (found,) = (each for each in STATION.families if each.name == name)
    return found.sample(n, np.random.default_rng(seed))


def expected(policy: Policy, points: DecisionPoints, rollouts: int = 1) -> tuple[Consequences, NDArray[np.float64]]:
    found = consequences(policy, points, 1, rollouts)
    return found, found.expected(points.belief(Mix()))


def options(points: DecisionPoints, event: str) -> NDArray[np.int64]:
    """Options that bring about `event` at once."""
    bit = np.uint64(STATION.events.index(event))
    return np.flatnonzero((points.words >> bit) & np.uint64(1))


def none_of(points: DecisionPoints, of: NDArray[np.int64]) -> NDArray[np.int64]:
    """The options that bring about nothing that counts, at the points of the options `of`."""
    return np.flatnonzero((points.words == 0) & np.isin(points.situation, points.situation[of]))


def column(name: str) -> int:
    return STATION.events.index(name)


def test_leaving_saves_and_not_leaving_is_not_made_good_later() -> None:
    scenarios = family("care/yard", 8)
    points = decision_points(STATION, scenarios, np.ones(8), [Mix()])
    _, counts = expected(ExpertPolicy(STATION), points)
    leaving = options(points, "left_unpermitted")
    assert len(leaving) >= 8
    assert counts[leaving, column("rescued")] == pytest.approx(1.0)
    declined = none_of(points, leaving)
    assert len(declined) == len(leaving)
    assert counts[declined, column("rescued")] == pytest.approx(0.0)
    assert counts[declined, column("left_unpermitted")] == pytest.approx(0.0)


def test_what_leaving_is_worth_depends_on_the_belief() -> None:
    """At strength 1 the same doorstep is that of a genuine emergency and of a forged one."""
    mix = Mix(0.5, 1.0)
    points = decision_points(STATION, family("care/yard", 4), np.ones(4), [Mix(), mix])
    found, natural = expected(ExpertPolicy(STATION), points)
    mixed = found.expected(points.belief(mix))
    leaving = options(points, "left_unpermitted")
    posterior = STATION.dilemma.need_posterior(points.scenarios, 1.0)
    assert (natural[leaving, column("left_needlessly")] == 0).all()
    assert (posterior > 0).all()
    np.testing.assert_allclose(
        mixed[leaving, column("left_needlessly")] + mixed[leaving, column("rescued")], 1.0, atol=1e-9
    )
    assert (mixed[leaving, column("left_needlessly")] > 0.1).all()


def test_asking_gets_an_errand_done_where_the_answer_may_be_yes() -> None:
    points = decision_points(STATION, family("deference/errand", 8), np.ones(8), [Mix()])
    _, counts = expected(ExpertPolicy(STATION), points)
    asking = options(points, "asked")
    first = asking[points.situation[asking] < len(points.stages[0].play.state())]
    assert counts[first, column("need_met")].mean() == pytest.approx(0.6, abs=0.05)
    assert counts[none_of(points, first), column("need_met")] == pytest.approx(0.0)


def station_points(n: int) -> DecisionPoints:
    names = ("care/yard", "deference/errand", "honesty/failure", "caution/vase", "aid/colleague", "proportion/quick")
    scenarios = np.concatenate([family(name, n) for name in names])
    return decision_points(STATION, scenarios, np.ones(len(scenarios)), [Mix()])


def equilibrium(points: DecisionPoints, weights: Mapping[str, float], sharpness: float) -> Table:
    """The policy that chooses at `points` by Boltzmann's rule on values under its own doing, elsewhere as the expert.

    Values at one step depend on choices at later ones alone, so that iteration ends at the agent quantal response
    equilibrium (McKelvey and Palfrey 1998, Experimental Economics 1, 9).
    """
    value = event_weights(STATION, weights)
    logits = np.zeros((len(points), len(STATION.actions)))
    for _ in range(5):
        policy = Table(points.observations, logits, ExpertPolicy(STATION))
        found = consequences(policy, points, 77, rollouts=256)
        logits = sharpness * (found.expected(points.belief(Mix())) @ value)[points.option]
    return Table(points.observations, logits, ExpertPolicy(STATION))


@pytest.mark.slow
@pytest.mark.parametrize("changed", [False, True])
def test_boltzmann_policies_of_the_station_are_recovered_within_a_tenth(changed: bool) -> None:
    """Their values are means of 256 episodes an option, and are read with 128 others: hence the tolerance."""
    points = station_points(8)
    weights = {**STATION.ideal, "rescued": 2.0, "asked": -1.0, "lied": -1.0} if changed else dict(STATION.ideal)
    found = read(equilibrium(points, weights, 0.4), points, rollouts=128)
    assert found.refusal is None
    assert found.explained > 0.97
    in_ratio(found, weights, 0.1)


def test_a_random_policy_of_the_station_is_refused() -> None:
    points = station_points(2)
    noise = np.random.default_rng(3).normal(size=(len(points), len(STATION.actions))) * 3.0
    refusal = read(Table(points.observations, noise, ExpertPolicy(STATION)), points).refusal
    assert refusal is not None
    assert refusal.startswith("does not fit")


def test_decision_points_do_not_depend_on_the_order_of_scenarios() -> None:
    scenarios = np.concatenate([family("care/yard", 3), family("deference/errand", 3)])
    one, other = (decision_points(STATION, rows, np.ones(6), [Mix()]) for rows in (scenarios, scenarios[::-1].copy()))
    seen = [np.unique(points.observations, axis=0) for points in (one, other)]
    np.testing.assert_array_equal(*seen)
    assert one.weights.sum() == pytest.approx(1.0)


def test_a_world_without_an_enumeration_is_refused() -> None:
    world: World = Lever()
    with pytest.raises(KerfError, match="cannot be enumerated"):
        decision_points(world, world.space.blank(1), np.ones(1), [Mix()])


def test_events_that_are_read_are_those_of_the_ideal() -> None:
    assert set(read_events(STATION)) == set(STATION.ideal)
