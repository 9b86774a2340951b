"""Bayes-optimal play against brute force over all deterministic policies of perfect recall, and by hand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.exact.evaluation import action_probs, evaluate
from kerf.lab.exact.information_sets import Tree, grow
from kerf.lab.exact.optimum import Optimum, among, belief, nearest, reach, solve, utility_of
from kerf.lab.grader import ExPost, Rule
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import World, event_weights
from kerf.lab.worlds.dilemma import LEAVE, DilemmaWorld
from kerf.lab.worlds.dilemma.posterior import genuine_posterior
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal
from tests.lab.policies import WORLD as STATION
from tests.lab.small_worlds import DOUBTFUL, QUIET, ExactLever, Maze, Softmax
from tests.toy_world import BENEFIT, COST, HORIZON, WAGE, best_natural_utility

EXACT = {"rel": 0, "abs": 1e-9}
IDEAL = RewardSpec()
DESIGNS = {
    "other weights": RewardSpec({"red": 1.0, "green": -2.0, "blue": 1.0}),
    "one event": RewardSpec({"blue": 1.0}),
    "nothing": RewardSpec({}),
    "discounted": RewardSpec({"red": 1.0, "blue": -1.0}, discount=0.5),
}


@dataclass(frozen=True)
class Brute:
    """Brute force over all policies in one situation.

    Attributes:
        world: Where.
        completions: `(m, F)`, all that may be hidden.
        trained: RewardSpec of training, and `(m,)` probabilities under it.
        valued: The same, by which the result is valued.
    """

    world: World
    completions: Scenarios
    trained: tuple[RewardSpec, NDArray[np.float64]]
    valued: tuple[RewardSpec, NDArray[np.float64]]

    def take(self, actions: tuple[int, ...], members: list[int]) -> tuple[NDArray[np.uint64], list[bytes]]:
        """The events of the last of `actions` in each member, and the observations after it."""
        play = self.world.begin(self.completions[members])
        words = np.zeros(len(members), np.uint64)
        for action in actions:
            play.step(np.full(len(members), action), words)
        seen = np.empty((len(members), len(self.world.observations)), np.float32)
        play.observe(seen)
        return words, [row.tobytes() for row in seen]

    def worth(self, of: tuple[RewardSpec, NDArray[np.float64]], actions: tuple[int, ...], members: list[int]) -> float:
        """The reward of the last of `actions`, times the probability of the members."""
        objective, weights = of
        words, _ = self.take(actions, members)
        paid = objective.of_events(self.world, self.completions[members], words)
        return float(objective.discount ** (len(actions) - 1) * (paid @ weights[members]))

    def after(self, actions: tuple[int, ...], members: list[int]) -> list[list[int]]:
        """The members, grouped by observation."""
        if len(actions) == self.world.horizon:
            return []
        _, seen = self.take(actions, members)
        return [[m for m, sight in zip(members, seen, strict=True) if sight == kind] for kind in dict.fromkeys(seen)]

    def policies(self, actions: tuple[int, ...], members: list[int]) -> NDArray[np.float64]:
        """Values in training and by the other objective, `(k, 2)`, of every deterministic policy after `actions`."""
        ways = []
        for action in range(len(self.world.actions)):
            taken = (*actions, action)
            totals = np.array([[self.worth(self.trained, taken, members), self.worth(self.valued, taken, members)]])
            for group in self.after(taken, members):
                totals = (totals[:, None] + self.policies(taken, group)[None]).reshape(-1, 2)
            ways.append(totals)
        return np.concatenate(ways)

    def best(self, actions: tuple[int, ...], members: list[int]) -> NDArray[np.float64]:
        """The optimal value in training after each action, `(A,)`."""
        values = []
        for action in range(len(self.world.actions)):
            taken = (*actions, action)
            later = sum(self.best(taken, group).max() for group in self.after(taken, members))
            values.append(self.worth(self.trained, taken, members) + later)
        return np.array(values)

    def nearest(
        self, base: Policy, actions: tuple[int, ...], members: list[int], mass: float, expected: NDArray[np.float64]
    ) -> None:
        """Add to `expected` `(m, E)` what `base` does among the best actions alone."""
        values = self.best(actions, members)
        allowed = (values > values.max() - 1e-9) | (self.trained[1][members].sum() == 0.0)
        play = self.world.begin(self.completions[members[:1]])
        for action in actions:
            play.step(np.array([action]), np.zeros(1, np.uint64))
        seen = np.empty((1, len(self.world.observations)), np.float32)
        play.observe(seen)
        weights = np.exp(base.logits(seen)[0].astype(float)) * allowed
        for action in np.flatnonzero(allowed):
            taken, chance = (*actions, int(action)), mass * weights[action] / weights.sum()
            words, _ = self.take(taken, members)
            for member, word in zip(members, words, strict=True):
                expected[member] += chance * (int(word) >> np.arange(len(self.world.events)) & 1)
            for group in self.after(taken, members):
                self.nearest(base, taken, group, chance, expected)


def mazes(design: str) -> list[tuple[Maze, Optimum, NDArray[np.float64], list[Brute]]]:
    """Random worlds, solved for a design on the other mix, with the weights of the natural one."""
    cases = []
    objective = DESIGNS[design]
    for seed in range(12):
        world = Maze(seed, *((3, 2, 2), (2, 3, 3), (3, 3, 2))[seed % 3])
        tree = grow(world, world.situations())
        weights, believed = belief(tree, Mix()), belief(tree, Mix(0.0))
        brutes = []
        for situation in range(len(tree.situations)):
            rows = tree.origin == situation
            brutes.append(Brute(world, tree.completions[rows], (objective, believed[rows]), (IDEAL, weights[rows])))
        cases.append((world, solve(tree, objective, believed), weights, brutes))
    return cases


@pytest.mark.parametrize("design", DESIGNS)
def test_the_optimum_and_its_band_are_those_of_brute_force(design: str) -> None:
    wide = 0
    for world, optimum, weights, brutes in mazes(design):
        low, high = reach(optimum, IDEAL, weights)
        for situation, brute in enumerate(brutes):
            ways = brute.policies((), list(range(world.secrets)))
            best = ways[:, 0].max()
            assert optimum.by_situation[situation] == pytest.approx(best, **EXACT)
            optimal = ways[ways[:, 0] > best - 1e-9, 1]
            assert low[situation] == pytest.approx(optimal.min(), **EXACT)
            assert high[situation] == pytest.approx(optimal.max(), **EXACT)
            wide += high[situation] > low[situation] + 1e-6
        assert optimum.value == pytest.approx(optimum.by_situation.sum(), **EXACT)
    assert wide > 3, "there must be ties, or the band says nothing"


@pytest.mark.parametrize("design", DESIGNS)
def test_the_nearest_optimum_is_that_of_brute_force(design: str) -> None:
    moved = 0
    for seed, (world, optimum, weights, brutes) in enumerate(mazes(design)):
        base = Softmax(seed, len(world.observations), len(world.actions))
        expected = nearest(optimum, base, tolerance=0.0)
        slow = []
        for brute in brutes:
            of_situation = np.zeros((world.secrets, len(world.events)))
            brute.nearest(base, (), list(range(world.secrets)), 1.0, of_situation)
            slow.append(of_situation)
        np.testing.assert_allclose(expected, np.concatenate(slow), atol=1e-9)
        low, high = reach(optimum, IDEAL, weights)
        tree = optimum.tree
        by_situation = np.bincount(tree.origin, utility_of(world, expected) * weights)
        assert (low - 1e-9 <= by_situation).all()
        assert (by_situation <= high + 1e-9).all()
        objective = DESIGNS[design]
        assert objective.weights is not None
        if objective.discount == 1.0:
            paid = expected @ event_weights(world, objective.weights)
            assert paid @ optimum.weights == pytest.approx(optimum.value, **EXACT), "an optimum of the design"
        moved += np.abs(expected - evaluate(base, world, tree.completions, 0.0).expected).max() > 1e-3
        silent = optimum.by_situation * 0 + np.bincount(tree.origin, optimum.weights) == 0.0
        untouched = evaluate(base, world, tree.completions, 0.0).expected
        np.testing.assert_allclose(expected[silent[tree.origin]], untouched[silent[tree.origin]], atol=1e-12)
    assert moved > 6 or design == "nothing"


def test_rounding_breaks_no_ties() -> None:
    """In tenths and sevenths, which have no exact form, the same is optimal as in whole numbers and eighths."""
    rounded = 0
    for seed in range(20):
        world = Maze(seed, horizon=3, num_actions=3)
        tree = grow(world, world.situations())
        weights = belief(tree, Mix())
        whole = solve(tree, IDEAL, weights)
        tenths = RewardSpec({event: weight / 10 for event, weight in world.ideal.items()})
        parts = solve(tree, tenths, weights / 7)
        for one, other in zip(whole.allowed, parts.allowed, strict=True):
            np.testing.assert_array_equal(one, other)
        strict = solve(tree, tenths, weights / 7, slack=0.0)
        rounded += any((a != b).any() for a, b in zip(strict.allowed, parts.allowed, strict=True))
    assert rounded > 3, "or else there was nothing to break"


def test_where_the_objective_says_nothing_nearest_is_the_base() -> None:
    for seed in range(6):
        world = Maze(seed)
        tree = grow(world, world.situations())
        base = Softmax(seed, len(world.observations), len(world.actions))
        played = evaluate(base, world, tree.completions, 0.0).expected
        indifferent = solve(tree, RewardSpec({}), belief(tree, Mix()))
        unseen = solve(tree, IDEAL, np.zeros(len(tree.completions)))
        for optimum in (indifferent, unseen):
            np.testing.assert_allclose(nearest(optimum, base, 0.0), played, atol=1e-12)
            assert all(allowed.all() for allowed in optimum.allowed)


def test_the_nearest_of_all_distributions_over_the_allowed_actions_has_the_least_divergence() -> None:
    """Against ten thousand others drawn at random, and against the minimum in closed form, -log of the mass left."""
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(4), 3)
    allowed = np.array([[True, False, True, True], [False, True, False, False], [True, True, True, True]])
    near = among(chances, allowed)
    np.testing.assert_allclose(near.sum(axis=1), 1.0)
    np.testing.assert_array_equal(near > 0, allowed)
    for base, picked, new in zip(chances, allowed, near, strict=True):
        least = (new[picked] * np.log(new[picked] / base[picked])).sum()
        assert least == pytest.approx(-np.log(base[picked].sum()), abs=1e-12)
        others = rng.dirichlet(np.ones(picked.sum()), 10_000)
        assert ((others * np.log(others / base[picked])).sum(axis=1) >= least - 1e-12).all()
    impossible = among(np.array([[1.0, 0.0, 0.0]]), np.array([[False, True, True]]))
    np.testing.assert_array_equal(impossible, [[0.0, 0.5, 0.5]])


# -- the lever, by hand ------------------------------------------------------------------------------------------------

LEVER = ExactLever()


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("penalty", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("natural_share", [1.0, 0.5, 0.0])
def test_the_lever_by_hand(strength: float, penalty: float, natural_share: float) -> None:
    """Leaving forgoes three wages; it pays B with probability P, and costs C + L otherwise."""
    tree = grow(LEVER, LEVER.situations())
    mix = Mix(natural_share, strength)
    weights = belief(tree, mix)
    optimum = solve(tree, RewardSpec(grader=ExPost(), penalty=penalty), weights)
    genuine, forged = natural_share * 0.3 / 2, (1 - natural_share) * strength / 2
    leave = genuine * BENEFIT - forged * (COST + penalty)
    stay = (genuine + forged) * HORIZON * WAGE
    wages = HORIZON * WAGE
    seen_through = (natural_share * 0.2 + (1 - natural_share) * (1 - strength)) / 2
    expected = [natural_share * 0.5 / 2 * wages, max(leave, stay), seen_through * wages]
    np.testing.assert_allclose(optimum.by_situation, np.tile(expected, 2), atol=1e-12)
    allowed = optimum.allowed[0][tree.roots]
    for situation in (DOUBTFUL, DOUBTFUL + 3):
        if genuine + forged > 0 and abs(leave - stay) > 1e-9:
            picked = ("door", "window") if leave > stay else ("work",)
            assert [a for a, ok in zip(LEVER.actions, allowed[situation], strict=True) if ok] == list(picked)
    brute = Brute(
        LEVER, tree.completions[tree.origin == DOUBTFUL],
        (RewardSpec(grader=ExPost(), penalty=penalty), weights[tree.origin == DOUBTFUL]),
        (IDEAL, belief(tree, Mix())[tree.origin == DOUBTFUL]),
    )  # fmt: skip
    ways = brute.policies((), [0, 1])
    assert optimum.by_situation[DOUBTFUL] == pytest.approx(ways[:, 0].max(), **EXACT)
    low, high = reach(optimum, IDEAL, belief(tree, Mix()))
    optimal = ways[ways[:, 0] > ways[:, 0].max() - 1e-9, 1]
    assert (low[DOUBTFUL], high[DOUBTFUL]) == pytest.approx((optimal.min(), optimal.max()), **EXACT)


def test_the_natural_optimum_of_the_lever_is_the_experts() -> None:
    tree = grow(LEVER, LEVER.situations())
    weights = belief(tree, Mix())
    assert solve(tree, IDEAL, weights).value == pytest.approx(best_natural_utility(), **EXACT)
    outcomes = evaluate(ExpertPolicy(LEVER), LEVER, tree.completions)
    assert outcomes.utility @ weights == pytest.approx(best_natural_utility(), **EXACT)


def test_a_rule_that_penalises_every_exit_takes_from_the_benefit() -> None:
    """`rule`: B - L instead of B, so that L above B - 3 wages keeps everybody in."""
    tree = grow(LEVER, LEVER.situations())
    weights = belief(tree, Mix())
    for penalty in (0.0, 0.3, 0.69, 0.71, 2.0):
        optimum = solve(tree, RewardSpec(grader=Rule(), penalty=penalty), weights)
        leaves = optimum.allowed[0][tree.roots[DOUBTFUL]][LEVER.actions.index("door")]
        assert leaves == (BENEFIT - penalty > HORIZON * WAGE)


def test_the_discount_counts_from_the_first_step() -> None:
    tree = grow(LEVER, LEVER.situations())
    weights = belief(tree, Mix())
    optimum = solve(tree, RewardSpec(discount=0.5), weights)
    assert optimum.by_situation[QUIET] == pytest.approx(0.25 * WAGE * (1 + 0.5 + 0.25), **EXACT)
    assert optimum.by_situation[DOUBTFUL] == pytest.approx(0.15 * BENEFIT, **EXACT)


# -- information -------------------------------------------------------------------------------------------------------


def told(tree: Tree, objective: RewardSpec, weights: NDArray[np.float64]) -> float:
    """The optimum of an agent that knows which completion it is in."""
    total = 0.0
    for row in range(len(tree.completions)):
        only = np.where(np.arange(len(weights)) == row, weights, 0.0)
        total += solve(tree, objective, only).value
    return total


def test_knowing_what_is_hidden_is_never_worth_less_than_nothing() -> None:
    gains = []
    for seed in range(12):
        world = Maze(seed)
        tree = grow(world, world.situations())
        weights = belief(tree, Mix())
        gains.append(told(tree, IDEAL, weights) - solve(tree, IDEAL, weights).value)
    assert min(gains) >= -1e-9
    assert max(gains) > 0.01, "or else nothing was hidden"


def test_the_value_of_the_truth_in_the_lever() -> None:
    tree = grow(LEVER, LEVER.situations())
    weights = belief(tree, Mix(0.5, 1.0))
    assert told(tree, IDEAL, weights) == pytest.approx(
        0.5 * (0.3 * BENEFIT + 0.7 * HORIZON * WAGE) + 0.5 * HORIZON * WAGE, **EXACT
    )
    assert solve(tree, IDEAL, weights).value == pytest.approx(
        0.5 * 0.7 * HORIZON * WAGE + 0.8 * HORIZON * WAGE - 0.15 * HORIZON * WAGE, **EXACT
    )


def test_nobody_beats_the_optimum_of_a_maze() -> None:
    for seed in range(10):
        world = Maze(seed)
        tree = grow(world, world.situations())
        weights = belief(tree, Mix())
        value = solve(tree, IDEAL, weights).value
        for other in range(100):
            policy = Softmax(1000 + other, len(world.observations), len(world.actions), scale=0.5 + other % 5)
            assert evaluate(policy, world, tree.completions, 0.0).utility @ weights <= value + 1e-9


# -- larger worlds -----------------------------------------------------------------------------------------------------


def test_nobody_beats_the_optimum_of_the_station(stations: Scenarios) -> None:
    """Neither the expert, with random errors or without, nor 48 policies that deviate from it in places."""
    policies: list[Policy] = [ExpertPolicy(STATION), Softened(STATION, 8.0)]
    policies += [Strays(seed, weight) for seed in range(12) for weight in (0.0, 5.0, 10.0, 20.0)]
    reached = better = 0
    for row in stations[:5]:
        tree = grow(STATION, row[None])
        weights = belief(tree, Mix(), np.ones(1))
        value = solve(tree, IDEAL, weights).value
        own = [evaluate(policy, STATION, tree.completions, 1e-3).utility @ weights for policy in policies]
        assert max(own) <= value + 0.05, "what is left unfollowed may cost a little"
        assert own[0] <= value + 1e-9
        reached += abs(own[0] - value) < 1e-9
        better += len(set(np.round(own[2:], 6)))
    assert reached >= 4, "the expert is close to the optimum in scenarios where little lies about"
    assert better > 20, "they do differ"


class Strays:
    """The expert's action, unless a random function of the observation exceeds its `weight`."""

    def __init__(self, seed: int, weight: float) -> None:
        self.noise = Softmax(seed, len(STATION.observations), len(STATION.actions))
        self.weight = weight

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = self.noise.logits(observations)
        logits[np.arange(len(logits)), STATION.expert(observations)] += self.weight
        return np.where(logits == logits.max(axis=1, keepdims=True), 0.0, -np.inf).astype(np.float32)


@dataclass(frozen=True)
class Softened:
    """The expert, with random errors."""

    world: World
    scale: float

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.zeros((len(observations), len(self.world.actions)), np.float32)
        logits[np.arange(len(logits)), self.world.expert(observations)] = self.scale
        return logits


@pytest.mark.parametrize("mix", [Mix(), Mix(0.5, 1.0), Mix(0.0, 1.0)], ids=str)
def test_the_nearest_optimum_of_the_station_attains_the_optimum(mix: Mix, stations: Scenarios) -> None:
    for row in stations[:4]:
        tree = grow(STATION, row[None])
        design = RewardSpec(grader=ExPost(), penalty=5.0)
        weights = belief(tree, mix, np.ones(1))
        optimum = solve(tree, design, weights)
        expected = nearest(optimum, Softened(STATION, 6.0), tolerance=1e-6)
        needless = STATION.events.index(STATION.dilemma.needless)
        paid = utility_of(STATION, expected) - 5.0 * expected[:, needless]
        assert paid @ weights == pytest.approx(optimum.value, abs=1e-3)
        natural_weights = belief(tree, Mix(), np.ones(1))
        low, high = reach(optimum, IDEAL, natural_weights)
        assert low[0] - 1e-3 <= utility_of(STATION, expected) @ natural_weights <= high[0] + 1e-3


def test_nearest_follows_histories_that_merge_only_later() -> None:
    """On an errand: to ask and go out before the answer comes, which then changes nothing, and still is observed."""
    for delay, row in product((3, 4, 5), (1, 2, 3, 4)):
        text = f"station(start={row * 10 + 5}, door={row}, need=errand, site={row * 10 + 8}, delay={delay})"
        tree = grow(STATION, STATION.space.from_text(text)[None])
        silent = solve(tree, IDEAL, np.zeros(len(tree.completions)))
        expected = nearest(silent, Wanders(), 0.0)
        played = evaluate(Wanders(), STATION, tree.completions, 0.0).expected
        np.testing.assert_allclose(expected, played, atol=1e-12)


class Wanders:
    """Stays, asks or walks east; after a refusal it stays more."""

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.full((len(observations), len(STATION.actions)), -np.inf, np.float32)
        for action in ("stay", "ask", "east"):
            logits[:, STATION.actions.index(action)] = 0.0
        logits[:, 0] += observations[:, STATION.observations.index("refused")]
        return logits


def test_the_dilemma_is_left_exactly_where_the_odds_allow() -> None:
    """Leave iff P(T|x) B > (1 - P(T|x)) (C + L), on a mix whose base rates are those of the settings."""
    settings = DilemmaSettings(
        cues=(Signal("cry", 0.9, 0.8, 0.1), Signal("thump", 0.7, 0.7, 0.3)),
        tells=(Signal("channel", 0.2, 0.9, 0.2),),
        seen=False,
    )
    world = DilemmaWorld(settings)
    tree = grow(world, world.situations())
    signals = tree.situations[:, [world.space.column(signal.name) for signal in settings.signals]]
    trained_place = tree.situations[:, world.space.column("place")] == 0
    left_any = kept_any = False
    for strength, penalty in product((0.0, 0.5, 1.0), (0.0, 5.0, 50.0)):
        weights = belief(tree, Mix(1.0 - settings.false, strength))
        optimum = solve(tree, RewardSpec(grader=ExPost(), penalty=penalty), weights)
        leaves = optimum.allowed[0][tree.roots, LEAVE]
        posterior = genuine_posterior(settings, signals, tree.situations[:, world.space.column("delay")], strength)
        worth_it = posterior * settings.benefits[0] > (1.0 - posterior) * (settings.cost + penalty)
        np.testing.assert_array_equal(leaves[trained_place], worth_it[trained_place])
        left_any |= bool(leaves[trained_place].any())
        kept_any |= bool((~leaves[trained_place]).any())
    assert left_any
    assert kept_any


def test_action_chances_are_those_of_the_draw() -> None:
    logits = np.array([[0.0, 1.0, -np.inf], [100.0, 99.0, 98.0]], np.float32)

    class Fixed:
        def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
            return logits[: len(observations)]

    chances = action_probs(Fixed(), np.zeros((2, 1), np.float32))
    np.testing.assert_allclose(chances[0], [1 / (1 + np.e), np.e / (1 + np.e), 0.0])
    np.testing.assert_allclose(chances[1], np.exp([0, -1, -2]) / np.exp([0, -1, -2]).sum())
