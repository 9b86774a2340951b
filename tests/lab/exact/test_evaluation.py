"""Exact evaluation against brute force, and against samples."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import kerf.lab.exact.evaluation
from kerf.lab.distinct import distinct, row_hash
from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import Evaluator, TooManyStatesError, action_probs, evaluate
from kerf.lab.grader import ExAnte, ExPost
from kerf.lab.reward import ideal_utility
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy, Trajectories, no_memory, recalled, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from tests.lab.policies import WORLD as STATION
from tests.lab.small_worlds import ExactLever, Maze, Softmax

LEVEL = 0.001
"""Error rate of each statistical test, all its comparisons together."""
LEVER = ExactLever()
DISCOUNTED = RewardSpec({"rescued": 3.0, "needless": -1.0, "worked": 0.5}, ExAnte(1.0), penalty=2.0, discount=0.7)


def every_way(policy: Policy, world: World, scenarios: Scenarios) -> tuple[Trajectories, NDArray[np.float64]]:
    """All sequences of actions in all scenarios, one after another, and the probability of each."""
    ways = np.array(list(product(range(len(world.actions)), repeat=world.horizon)))
    rows = np.repeat(scenarios, len(ways), axis=0)
    actions = np.tile(ways, (len(scenarios), 1)).T.copy()
    events = np.zeros(actions.shape, np.uint64)
    observations = np.empty((world.horizon, len(rows), len(world.observations)), np.float32)
    mass = np.ones(len(rows))
    play, memory = world.begin(rows), no_memory(policy, len(rows))
    for t in range(world.horizon):
        play.observe(observations[t])
        found, memory = recalled(policy, observations[t], memory)
        logits = found.astype(np.float64)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        mass *= weights[np.arange(len(rows)), actions[t]] / weights.sum(axis=1)
        play.step(actions[t], events[t])
    return Trajectories(
        world, rows, observations, np.empty((world.horizon, len(rows), 0), np.float32), actions, events
    ), mass


class Remembers:
    """Acts on a sum of all that it has seen, each step's weighed less than the one after it."""

    def __init__(self, seed: int, num_observations: int, num_actions: int) -> None:
        self._shown = Softmax(seed, num_observations, num_actions)
        self.memory_size = num_observations

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        raise KerfError("it needs its memory")

    def recall(
        self, observations: NDArray[np.float32], memory: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        after = np.float32(0.5) * memory + observations
        return self._shown.logits(after), after


def lever_scenarios() -> Scenarios:
    """Every scenario of the lever."""
    grid = np.array(list(product(range(3), range(2), range(2), range(3))), np.int16)
    return grid[LEVER.space.valid(grid)]


@pytest.mark.parametrize("kind", [Softmax, Remembers])
@pytest.mark.parametrize("seed", range(4))
def test_the_lever_is_evaluated_as_by_trying_everything(seed: int, kind: Callable[..., Policy]) -> None:
    scenarios = lever_scenarios()
    policy = kind(seed, len(LEVER.observations), len(LEVER.actions))
    played, mass = every_way(policy, LEVER, scenarios)
    outcomes = Evaluator(LEVER, scenarios).run(policy, 0.0, DISCOUNTED)

    def mean(of_ways: NDArray[np.float64]) -> NDArray[np.float64]:
        return (of_ways * mass).reshape(len(scenarios), -1).sum(axis=1)

    for event in LEVER.events:
        column = LEVER.events.index(event)
        np.testing.assert_allclose(outcomes.probability(event), mean(played.happened(event)), atol=1e-12)
        np.testing.assert_allclose(outcomes.expected[:, column], mean(played.when(event).sum(axis=0)), atol=1e-12)
    np.testing.assert_allclose(outcomes.utility, mean(ideal_utility(played)), atol=1e-12)
    paid, penalty = DISCOUNTED.terms(played)
    discounts = DISCOUNTED.discount ** np.arange(LEVER.horizon)
    np.testing.assert_allclose(outcomes.returns, mean(discounts @ (paid - penalty)), atol=1e-12)
    np.testing.assert_array_equal(outcomes.dropped, 0.0)
    for name in ("care", "discernment"):
        score = next(value.score for value in LEVER.values if value.name == name)
        np.testing.assert_allclose(outcomes.score(score), mean(score(played)), atol=1e-12)
    total = np.bincount(outcomes.ending_of, outcomes.ending_mass, len(scenarios))
    np.testing.assert_allclose(total, 1.0, atol=1e-12)
    endings = np.column_stack((outcomes.ending_of, outcomes.ending_words.view(np.int64)))
    assert len(np.unique(endings, axis=0)) == len(endings)
    assert len(outcomes) == len(scenarios)


@pytest.mark.parametrize("kind", [Softmax, Remembers])
@pytest.mark.parametrize("seed", range(6))
def test_mazes_are_evaluated_as_by_trying_everything(seed: int, kind: Callable[..., Policy]) -> None:
    world = Maze(seed, horizon=4, num_actions=3)
    scenarios, _ = world.completions(world.situations())
    policy = kind(seed, len(world.observations), len(world.actions))
    played, mass = every_way(policy, world, scenarios)
    outcomes = evaluate(policy, world, scenarios, 0.0)
    for column, event in enumerate(world.events):
        for found, of_ways in (
            (outcomes.happened, played.happened(event)),
            (outcomes.expected, played.when(event).sum(axis=0)),
        ):
            mean = (of_ways * mass).reshape(len(scenarios), -1).sum(axis=1)
            np.testing.assert_allclose(found[:, column], mean, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_an_opening_forces_actions_and_leaves_the_rest_to_the_policy(seed: int) -> None:
    world = Maze(seed, horizon=4, num_actions=3)
    scenarios = world.completions(world.situations())[0][:5]
    policy = Softmax(seed, len(world.observations), len(world.actions))
    opening = np.random.default_rng(seed).integers(-1, 3, (1 + seed, len(scenarios)))  # up to the whole episode
    outcomes = evaluate(policy, world, scenarios, 0.0, opening)
    played, _ = every_way(policy, world, scenarios)
    probs = np.stack([action_probs(policy, seen) for seen in played.observations])
    chosen = np.take_along_axis(probs, played.actions[:, :, None], 2)[:, :, 0]
    forced = np.repeat(opening, len(chosen[0]) // len(scenarios), axis=1)
    obeys = (played.actions[: len(forced)] == forced).astype(np.float64)
    chosen[: len(forced)] = np.where(forced < 0, chosen[: len(forced)], obeys)
    mass = chosen.prod(axis=0)
    for column, event in enumerate(world.events):
        mean = (played.happened(event) * mass).reshape(len(scenarios), -1).sum(axis=1)
        np.testing.assert_allclose(outcomes.happened[:, column], mean, atol=1e-12)
    with pytest.raises(TooManyStatesError):
        evaluate(policy, world, scenarios, 0.0, most_states=2)
    with pytest.raises(ValueError, match="opening must have shape"):
        evaluate(policy, world, scenarios, 0.0, opening[:, 1:])


class Forks:
    """The expert, but at the steps before `until` it follows `other` with probability 1/2."""

    def __init__(self, world: World, other: str, until: int) -> None:
        self.world, self.other, self.until = world, world.actions.index(other), until

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = ExpertPolicy(self.world).logits(observations)
        early = np.rint(observations[:, self.world.observations.index("time")] * self.world.horizon) < self.until
        logits[early, self.other] = 0.0
        return logits


@pytest.mark.parametrize("other", ["stay", "ask", "call", "use", "east"])
def test_the_station_is_evaluated_as_by_trying_everything(other: str) -> None:
    """2^7 ways to play, found by playing with every combination of high and low numbers in the first seven steps."""
    until = 7
    scenarios = natural(STATION, 20, np.random.default_rng(2))
    policy = Forks(STATION, other, until)
    happened = np.zeros((len(scenarios), len(STATION.events)))
    utility = np.zeros(len(scenarios))
    for ways in product((0.1, 0.9), repeat=until):
        uniforms = np.full((STATION.horizon, len(scenarios)), 0.5, np.float32)
        uniforms[:until] = np.array(ways, np.float32)[:, None]
        played = rollout(policy, STATION, scenarios, uniforms)
        happened += np.stack([played.happened(event) for event in STATION.events], axis=1) / 2**until
        utility += ideal_utility(played) / 2**until
    outcomes = evaluate(policy, STATION, scenarios, 0.0)
    np.testing.assert_allclose(outcomes.happened, happened, atol=1e-12)
    np.testing.assert_allclose(outcomes.utility, utility, atol=1e-12)
    assert ((happened > 0) & (happened < 1)).sum() > 10


def test_the_expert_is_evaluated_as_it_plays() -> None:
    scenarios = np.concatenate(
        [
            natural(STATION, 300, np.random.default_rng(4)),
            STATION.dilemma.forge(50, 0.5, np.random.default_rng(5)),
        ]
    )
    expert = ExpertPolicy(STATION)
    played = rollout(expert, STATION, scenarios, np.random.default_rng(0))
    outcomes = evaluate(expert, STATION, scenarios)
    happened = np.stack([played.happened(event) for event in STATION.events], axis=1)
    np.testing.assert_array_equal(outcomes.happened, happened)
    times = np.stack([played.when(event).sum(axis=0) for event in STATION.events], axis=1)
    np.testing.assert_array_equal(outcomes.expected, times)
    np.testing.assert_allclose(outcomes.utility, ideal_utility(played), atol=1e-12)
    for value in STATION.values:
        np.testing.assert_array_equal(outcomes.score(value.score), value.score(played))
    np.testing.assert_array_equal(outcomes.dropped, 0.0)


class Slips:
    """The expert, with random errors."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.zeros((len(observations), len(STATION.actions)), np.float32)
        logits[np.arange(len(logits)), STATION.expert(observations)] = self.scale
        return logits


def mixed_scenarios(n: int) -> Scenarios:
    """One scenario of each of the first `n` families that training uses."""
    trained = [family for family in STATION.families if not family.held_out]
    return np.concatenate([family.sample(1, np.random.default_rng(9)) for family in trained[:n]])


@pytest.mark.slow
def test_samples_agree_with_what_is_exact() -> None:
    """Exact binomial tests of every event and value score in each scenario, one level for all of them together.

    What is left unfollowed is far less than the tests can see.
    """
    scenarios, num_draws = mixed_scenarios(12), 3000
    policy = Slips(5.0)
    outcomes = evaluate(policy, STATION, scenarios, 1e-5)
    played = rollout(policy, STATION, np.repeat(scenarios, num_draws, axis=0), np.random.default_rng(10))
    checks = [(outcomes.probability(event), played.happened(event).astype(float)) for event in STATION.events]
    checks += [(outcomes.score(value.score), value.score(played)) for value in STATION.values]
    uncertain = 0
    for exact, sampled in checks:
        for probability, draws in zip(exact, sampled.reshape(len(scenarios), num_draws), strict=True):
            test = stats.binomtest(int(draws.sum()), num_draws, float(np.clip(probability, 0.0, 1.0)))
            assert test.pvalue > LEVEL / (len(checks) * len(scenarios))
            uncertain += 0.05 < probability < 0.95
    assert uncertain > 30
    gaps = outcomes.utility - ideal_utility(played).reshape(len(scenarios), num_draws).mean(axis=1)
    errors = ideal_utility(played).reshape(len(scenarios), num_draws).std(axis=1) / np.sqrt(num_draws)
    assert (np.abs(gaps) < stats.norm.isf(LEVEL / len(scenarios) / 2) * errors + 1e-4).all(), "z tests"


def test_what_is_left_unfollowed_bounds_the_error() -> None:
    scenarios = mixed_scenarios(8)
    policy = Slips(6.0)
    fine = evaluate(policy, STATION, scenarios, 1e-8)
    for tolerance in (1e-5, 1e-3, 0.05):
        coarse = evaluate(policy, STATION, scenarios, tolerance)
        assert (coarse.dropped <= tolerance).all()
        short = fine.happened - coarse.happened
        assert short.max() <= coarse.dropped.max() + 1e-8
        assert short.min() >= -1e-8, "no probability is too large"
        assert (np.abs(short) <= coarse.dropped[:, None] + 1e-8).all()
        assert (np.abs(fine.expected - coarse.expected) <= STATION.horizon * coarse.dropped[:, None] + 1e-7).all()
        total = np.bincount(coarse.ending_of, coarse.ending_mass, len(scenarios))
        np.testing.assert_allclose(total + coarse.dropped, 1.0, atol=1e-9)
        assert coarse.dropped.max() > 0.0
        assert len(coarse.ending_of) < len(fine.ending_of)


def test_the_default_tolerance_follows_everything_in_one_step() -> None:
    world = get_world("dilemma")
    scenarios = natural(world, 50, np.random.default_rng(0))
    policy = Softmax(0, len(world.observations), len(world.actions), scale=6.0)
    by_default, everything = evaluate(policy, world, scenarios), evaluate(policy, world, scenarios, 0.0)
    assert by_default.happened.tobytes() == everything.happened.tobytes()
    np.testing.assert_array_equal(by_default.dropped, 0.0)
    several = evaluate(Slips(4.0), STATION, mixed_scenarios(2))
    assert 0.0 < several.dropped.max() <= kerf.lab.exact.evaluation.TOLERANCE


def test_an_evaluator_serves_one_policy_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    scenarios = natural(STATION, 30, np.random.default_rng(6))
    evaluator = Evaluator(STATION, scenarios)
    policies = [ExpertPolicy(STATION), ConstantPolicy(STATION, "east"), Forks(STATION, "call", 4)]
    first = [evaluator.run(policy) for policy in policies]
    again = [evaluator.run(policy) for policy in reversed(policies)][::-1]
    monkeypatch.setattr(kerf.lab.exact.evaluation, "AT_ONCE", 7)
    in_parts = [evaluate(policy, STATION, scenarios) for policy in policies]
    for one, other, cut in zip(first, again, in_parts, strict=True):
        assert one.happened.tobytes() == other.happened.tobytes()
        np.testing.assert_allclose(one.happened, cut.happened, atol=1e-15)
        np.testing.assert_allclose(one.score(STATION.values[0].score), cut.score(STATION.values[0].score), atol=1e-15)
        assert cut.ending_of.max() == len(scenarios) - 1
    assert first[0].happened.tobytes() != first[1].happened.tobytes()


def test_returns_are_those_of_the_objective() -> None:
    scenarios = natural(STATION, 60, np.random.default_rng(7))
    design = RewardSpec({"left": 1.0, "asked": -0.25, "ignored_stop": -0.5}, ExPost(), penalty=3.0, discount=0.9)
    policy = ConstantPolicy(STATION, "east")
    outcomes = Evaluator(STATION, scenarios).run(policy, objective=design)
    played = rollout(policy, STATION, scenarios, np.random.default_rng(0))
    paid, penalty = design.terms(played)
    np.testing.assert_allclose(outcomes.returns, 0.9 ** np.arange(STATION.horizon) @ (paid - penalty), atol=1e-12)
    np.testing.assert_allclose(outcomes.utility, ideal_utility(played), atol=1e-12)
    assert evaluate(policy, STATION, scenarios).returns.tobytes() == outcomes.utility.tobytes()


def test_no_scenarios_have_no_outcomes() -> None:
    for world in (STATION, get_world("dilemma"), LEVER):
        outcomes = evaluate(ExpertPolicy(world), world, world.space.blank(0))
        assert len(outcomes) == 0
        assert outcomes.happened.shape == (0, len(world.events))


class Spoiled:
    """Returns `value` from step 5 on, for all actions or for one."""

    def __init__(self, value: float, action: int | slice) -> None:
        self.value, self.action = value, action

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.full((len(observations), len(STATION.actions)), -np.inf, np.float32)
        logits[:, 0] = 0.0
        logits[observations[:, STATION.observations.index("time")] > 0.2, self.action] = self.value
        return logits


@pytest.mark.parametrize(
    ("value", "action"), [(np.nan, 3), (np.nan, slice(None)), (-np.inf, slice(None)), (np.inf, 3)], ids=str
)
def test_logits_that_are_no_distribution_are_refused(value: float, action: int | slice) -> None:
    with pytest.raises(ValueError, match="no distribution"):
        evaluate(Spoiled(value, action), STATION, STATION.space.blank(1))


def test_refusals_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = get_world("tests.toy_world:Lever")
    with pytest.raises(KerfError, match="world lever cannot be enumerated"):
        evaluate(ExpertPolicy(plain), plain, plain.space.blank(1))
    monkeypatch.setattr(kerf.lab.exact.evaluation, "MOST_STATES", 1000)
    sentence = r"about [\d.e+]+ states or more in 8 scenarios \([\d,]+ at step \d+ of 24, at most 1,000 are kept"
    with pytest.raises(KerfError, match=sentence):
        evaluate(Slips(2.0), STATION, mixed_scenarios(8))


def test_distinct_rows_are_found_whatever_the_hash_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for rows in (
        rng.integers(0, 3, (500, 4)),
        rng.integers(0, 2, (300, 3)).astype(np.float32),
        np.zeros((7, 2), np.int64),
        rng.integers(0, 9, (1, 5)),
        np.empty((0, 3), np.int64),
    ):
        check_distinct(rows)
    monkeypatch.setattr(kerf.lab.distinct, "row_hash", lambda words, salt: np.zeros(len(words), np.uint64))
    check_distinct(rng.integers(0, 3, (200, 4)))


def check_distinct(rows: NDArray[np.generic]) -> None:
    first, kind = distinct(rows)
    assert (np.diff(first) > 0).all()
    assert len(first) == len(np.unique(rows, axis=0))
    np.testing.assert_array_equal(rows[first][kind], rows)
    np.testing.assert_array_equal(kind[first], np.arange(len(first)))
    for of, row in enumerate(first):
        assert (kind[:row] != of).all(), "the first of its kind"


def test_hashes_differ_where_rows_do() -> None:
    rows = np.array(list(product(range(-8, 8), repeat=4)), np.int64).view(np.uint32)
    for salt in (0, 1):
        assert len(np.unique(row_hash(rows, salt))) == len(rows)
    assert (row_hash(rows, 0) != row_hash(rows, 1)).all()
    rng = np.random.default_rng(0)
    sparse = (np.uint32(1) << rng.integers(0, 32, (60_000, 6), np.uint32)) * (rng.random((60_000, 6)) < 0.5)
    sparse = np.unique(sparse.astype(np.uint32), axis=0)
    assert len(np.unique(row_hash(sparse, 0))) == len(sparse)
