"""Controls: penalties dealt out whatever was done, and a change of reward that moves no optimum."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kerf.agents.env_runner import Sample, Sampler, advantages
from kerf.agents.network import PolicyNetwork
from kerf.agents.shaping import random_potential, shaping
from kerf.agents.yoking import deal, on_event
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost, Rule
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy, UniformPolicy
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests.agents.test_env_runner import assert_same_sample
from tests.agents.training import LEVER, NETWORK, Forged, config, same, settings, train, trained
from tests.toy_world import DOOR, WINDOW

WORLD = get_world(LEVER)
NUM_BATCHES, NUM_SCENARIOS = 500, 256
NUM_FLIPS = 2000
ALPHA = 0.01
"""Error rate of each statistical test here."""


@pytest.fixture
def network() -> PolicyNetwork:
    return PolicyNetwork(len(WORLD.observations), len(WORLD.actions), NETWORK, torch.Generator().manual_seed(5))


def discounted(rewards: NDArray[np.float64], gamma: float) -> NDArray[np.float64]:
    """Discounted sum of `(T, n)` over each episode, `(n,)`."""
    total: NDArray[np.float64] = gamma ** np.arange(len(rewards)) @ rewards
    return total


# ---- sham: the identity


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("world_name", [LEVER, "station"])
def test_the_discounted_shaping_of_an_episode_is_what_it_began_with(world_name: str, gamma: float) -> None:
    world = get_world(world_name)
    potential = random_potential(world, 10.0, np.random.default_rng(0))
    scenarios = natural(world, 300, np.random.default_rng(1))
    totals = []
    for policy in (UniformPolicy(world), ExpertPolicy(world), ConstantPolicy(world, world.actions[-1])):
        seen = potential(rollout(policy, world, scenarios, np.random.default_rng(2)).observations)
        totals.append(discounted(shaping(seen, gamma), gamma))
        np.testing.assert_allclose(totals[-1], -seen[0], atol=1e-9)
        if 0.0 < gamma < 1.0:
            wrong = discounted(shaping(seen, gamma**2), gamma)
            assert np.abs(wrong + seen[0]).max() > 0.1, "another discount must be seen, or the test shows nothing"
    np.testing.assert_allclose(totals, totals[:1] * 3, atol=1e-9)


def test_shaping_moves_no_course_of_action_against_another() -> None:
    """All 64 courses of action in every scenario of the natural stream: the shaped return is better by a constant."""
    scenarios = np.unique(natural(WORLD, 200, np.random.default_rng(0)), axis=0)
    potential = random_potential(WORLD, 5.0, np.random.default_rng(1))
    gains = []
    for course in itertools.product(WORLD.actions, repeat=WORLD.horizon):
        play, seen = WORLD.begin(scenarios), []
        for action in course:
            seen.append(np.empty((len(scenarios), len(WORLD.observations)), np.float32))
            play.observe(seen[-1])
            play.step(np.full(len(scenarios), WORLD.actions.index(action)), np.zeros(len(scenarios), np.uint64))
        gains.append(discounted(shaping(potential(np.stack(seen)), 0.9), 0.9))
    assert np.std(gains, axis=0).max() < 1e-12
    assert np.std(gains[0]) > 0.1


def test_a_critic_that_knows_the_potential_sees_the_old_advantages() -> None:
    """Wiewiora 2003: shaping is the same as other initial values. For any lambda."""
    rng = np.random.default_rng(3)
    rewards, potentials, state_values = rng.standard_normal((3, 7, 5))
    shaped = advantages(rewards + shaping(potentials, 0.9), state_values - potentials, 0.9, 0.6)
    np.testing.assert_allclose(shaped, advantages(rewards, state_values, 0.9, 0.6), atol=1e-12)
    without = advantages(shaping(potentials, 0.9), None, 0.9, 1.0)
    np.testing.assert_allclose(without, -potentials, atol=1e-12)


def test_a_potential_has_the_size_that_was_asked_for_and_is_the_seeds_own() -> None:
    for world in (WORLD, get_world("station")):
        potential = random_potential(world, 10.0, np.random.default_rng(4))
        rng = np.random.default_rng(5)
        seen = potential(rollout(ExpertPolicy(world), world, natural(world, 1000, rng), rng).observations)
        assert abs(seen.mean()) < 1.0
        assert 9.0 < seen.std() < 11.0
    assert config().potential() is None
    first, again, other = (config(seed, shaping=2.0).potential() for seed in (1, 1, 2))
    twice = config(1, shaping=4.0).potential()
    assert first.weights.tobytes() == again.weights.tobytes()
    assert not np.allclose(first.weights, other.weights)
    np.testing.assert_allclose(twice.weights, 2 * first.weights)


def test_a_world_in_which_nothing_ever_looks_different_cannot_be_shaped() -> None:
    class Blind(type(WORLD)):  # type: ignore[misc]
        def expert(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
            return np.zeros(len(observations), np.int64)

        def begin(self, scenarios: Any) -> Any:
            play = super().begin(scenarios)
            play.observe = lambda out: out.fill(0.0)
            return play

    with pytest.raises(KerfError, match="shaping: the observations of lever never differ"):
        random_potential(Blind(), 1.0, np.random.default_rng(0))


def test_the_columns_hold_the_shaping_of_the_trainers_own_discount(network: PolicyNetwork) -> None:
    training = settings(gamma=0.8, gae_lambda=0.7, reward_scale=0.5)
    plain, shaped = (sample(network, 0, training=training, shaping=size) for size in (0.0, 3.0))
    potential = config(training=training, shaping=3.0).potential()
    added = 0.5 * shaping(potential(plain.columns["observations"]), 0.8)
    expected = advantages(added, None, 0.8, 0.7)
    for name in ("advantage_utility", "value_target"):
        np.testing.assert_allclose(shaped.columns[name] - plain.columns[name], expected, atol=1e-5)
    assert shaped.columns["actions"].tobytes() == plain.columns["actions"].tobytes()
    for name, values in plain.episodes.items():
        np.testing.assert_array_equal(shaped.episodes[name], values)


# ---- yoked: who is dealt what


@pytest.mark.parametrize("penalty_counts", [[0, 0, 0], [5, 0, 3], [10, 10, 10], [7, 7, 0]])
def test_as_many_are_penalised_at_each_step_as_was_asked_for(penalty_counts: list[int]) -> None:
    dealt = deal(penalty_counts, 10, np.random.default_rng(0))
    np.testing.assert_array_equal(dealt.sum(axis=1), penalty_counts)
    often = dealt.sum(axis=0)
    assert often.max() - often.min() <= 1, "nobody is penalised twice while another is not at all"


def test_every_episode_is_as_likely_to_be_penalised_as_every_other() -> None:
    """Chi-square tests of uniformity over the episodes, at each step."""
    rng = np.random.default_rng(0)
    times = sum(deal([4, 0, 9], 12, rng).astype(int) for _ in range(2000))
    for t, count in ((0, 4), (2, 9)):
        share = count / 12
        # Without replacement the counts of 12 episodes are negatively correlated: 11 degrees of freedom.
        statistic = ((times[t] - 2000 * share) ** 2).sum() / (2000 * share * (1 - share)) * 11 / 12
        assert statistic < 24.72  # the 99% point of chi-square with 11 degrees of freedom


@pytest.mark.parametrize("count", [0, 3, 5, 8])
def test_as_many_acts_are_penalised_or_all_of_them_each_where_it_first_happens(count: int) -> None:
    happens = np.zeros((4, 10), np.bool_)
    happens[[3, 2, 2, 1, 0], [1, 4, 5, 7, 9]] = True
    happens[3, [4, 9]] = True
    moved = on_event(deal([0, count, 0, 0], 10, np.random.default_rng(0)), happens)
    expected = [(3, 1), (2, 4), (2, 5), (1, 7), (0, 9)][:count]
    assert sorted(zip(*np.nonzero(moved), strict=True)) == sorted(expected)


# ---- gradients in expectation


def sample(network: PolicyNetwork, batch: int, dealt: NDArray[np.bool_] | None = None, **changes: Any) -> Sample:
    """Batch number `batch` of forgeries."""
    scenarios = Forged().ask(NUM_SCENARIOS, np.random.default_rng([batch, 0]))
    uniforms = np.random.default_rng([batch, 1]).random((WORLD.horizon, NUM_SCENARIOS), np.float32)
    return Sampler(WORLD, config(**changes)).sample(network, scenarios, uniforms, dealt)


def policy_gradient(network: PolicyNetwork, played: Sample, advantage: NDArray[Any]) -> NDArray[np.float64]:
    """Policy gradient of the batch with this advantage `(T, n)`, by all of the network's parameters in a row."""
    network.requires_grad_(True)
    observations = torch.from_numpy(played.columns["observations"])
    log_probabilities = torch.log_softmax(network(observations)[0], dim=-1)
    taken = log_probabilities.gather(-1, torch.from_numpy(played.columns["actions"]).unsqueeze(-1)).squeeze(-1)
    objective = (taken * torch.from_numpy(advantage.astype(np.float32))).mean()
    gradients = torch.autograd.grad(objective, list(network.parameters()), allow_unused=True)
    return np.concatenate([gradient.numpy().ravel() for gradient in gradients if gradient is not None]).astype(float)


def p_and_size(gradients: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Of "the expected gradient is zero": the p value, and an unbiased estimate of its squared norm.

    The statistic is the mean inner product of two different batches' gradients, whose expectation is the squared norm
    of the expected gradient (Bai and Saranadasa 1996): it looks in all directions at once, most where gradients agree.
    p is that of a permutation of signs, one-sided.
    """
    products = np.stack(gradients) @ np.stack(gradients).T
    num = len(gradients)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (NUM_FLIPS, num))
    signs[0] = 1.0
    totals = ((signs @ products) * signs).sum(axis=1) - np.trace(products)
    return float(np.mean(totals >= totals[0])), totals[0] / (num * (num - 1))


def test_the_expected_gradient_of_the_penalty_is_zero_if_yoked_and_only_then(network: PolicyNetwork) -> None:
    """The yoked arm's first iteration: same agent, common random numbers, the partner's counts.

    As the counts follow from what the same agent did, a share 1 / `NUM_SCENARIOS` of the contingency is left, and the
    square of that of the squared norm: far below what this test could see.
    """
    contingent, yoked = [], []
    for batch in range(NUM_BATCHES):
        partner = sample(network, batch, grader=ExPost(), penalty=1.0)
        dealt = deal(partner.penalty_counts.tolist(), NUM_SCENARIOS, np.random.default_rng([batch, 2]))
        played = sample(network, batch, dealt, grader=ExPost(), penalty=1.0)
        np.testing.assert_array_equal(played.penalty_counts, partner.penalty_counts)
        assert played.episodes["return_penalty"].sum() == pytest.approx(partner.episodes["return_penalty"].sum())
        contingent.append(policy_gradient(network, partner, partner.columns["advantage_penalty"]))
        yoked.append(policy_gradient(network, played, played.columns["advantage_penalty"]))
    p_contingent, size_contingent = p_and_size(contingent)
    p_yoked, size_yoked = p_and_size(yoked)
    assert p_contingent < 0.001, "a contingent penalty must be seen, or the test shows nothing"
    assert p_yoked > ALPHA
    assert abs(size_yoked) < 0.001 * size_contingent, "less than a thirtieth of its norm"


@pytest.mark.parametrize(
    ("gae_lambda", "discount", "is_zero"),
    [(1.0, 0.9, True), (1.0, 1.0, False), (0.8, 0.9, False)],
    ids=["sham", "undiscounted", "lambda below 1"],
)
def test_the_expected_gradient_of_the_shaping_is_zero(
    network: PolicyNetwork, gae_lambda: float, discount: float, is_zero: bool
) -> None:
    """At state values of zero and lambda = 1; below 1 that takes state values that have learnt the potential."""
    potential = config(shaping=1.0).potential()
    gradients = []
    for batch in range(NUM_BATCHES):
        played = sample(network, batch)
        added = shaping(potential(played.columns["observations"]), discount)
        gradients.append(policy_gradient(network, played, advantages(added, None, 0.9, gae_lambda)))
    p, _ = p_and_size(gradients)
    assert p > ALPHA if is_zero else p < 0.001


# ---- in training


def record(algorithm: Any) -> list[Sample]:
    """The samples that training is going to learn from, as they come."""
    samples: list[Sample] = []
    play = algorithm.play

    def recorded(*args: Any) -> Sample:
        samples.append(play(*args))
        return samples[-1]

    algorithm.play = recorded
    return samples


def association_p(samples: list[Sample]) -> float:
    """Permutation test, within iterations, of "who is penalised has nothing to do with who leaves at that step".

    Needs `gae_lambda=0`, with which the penalty's advantage is the step's own penalty.
    """
    penalised = np.stack([played.columns["advantage_penalty"] > 0 for played in samples])
    leaves = np.stack([np.isin(played.columns["actions"], (DOOR, WINDOW)) for played in samples])
    rng = np.random.default_rng(0)
    totals = [(penalised & leaves).sum()]
    for _ in range(999):
        orders = [rng.permutation(penalised.shape[2]) for _ in samples]
        shuffled = np.stack([iteration[:, order] for iteration, order in zip(penalised, orders, strict=True)])
        totals.append((shuffled & leaves).sum())
    distances = np.abs(np.array(totals) - np.mean(totals))
    return float(np.mean(distances >= distances[0]))


ITERATIONS = 6
PENALISED = {"source": Forged(), "grader": ExPost(), "penalty": 1.0, "training": settings(gae_lambda=0.0)}


@pytest.fixture(scope="module")
def partner() -> tuple[list[Sample], list[list[int]]]:
    """A penalised training: what it learnt from, and its penalty_counts."""
    algorithm = config(**PENALISED).build_algo()
    assert not algorithm.penalty_counts.any()
    samples, penalty_counts = record(algorithm), []
    for _ in range(ITERATIONS):
        algorithm.train()
        penalty_counts.append(algorithm.penalty_counts.tolist())
    return samples, penalty_counts


def test_yoked_training_is_dealt_its_partners_penalties_whatever_it_does(
    partner: tuple[list[Sample], list[list[int]]],
) -> None:
    samples, penalty_counts = partner
    algorithm = config(**PENALISED, penalty_counts=penalty_counts).build_algo()
    yoked = record(algorithm)
    train(algorithm, ITERATIONS)
    np.testing.assert_array_equal([played.penalty_counts for played in yoked], penalty_counts)
    for played, other in zip(yoked, samples, strict=True):
        assert played.episodes["return_penalty"].sum() == other.episodes["return_penalty"].sum()
        assert played.episodes["penalised"].sum() == other.episodes["penalised"].sum()
        assert (played.columns["advantage_penalty"] != other.columns["advantage_penalty"]).any()
    assert association_p(samples) == 0.001, "a contingent penalty must be seen, or the test shows nothing"
    assert association_p(yoked) > ALPHA
    with pytest.raises(RuntimeError, match="the penalty counts are those of 6 iterations"):
        algorithm.train()


def test_penalties_on_an_event_are_as_many_as_the_partners_and_follow_the_act(
    partner: tuple[list[Sample], list[list[int]]],
) -> None:
    penalty_counts = partner[1]
    algorithm = config(**PENALISED, penalty_counts=penalty_counts, yoked_event="by_window").build_algo()
    acts = record(algorithm)
    train(algorithm, ITERATIONS)
    for played, counts in zip(acts, penalty_counts, strict=True):
        penalised = played.columns["advantage_penalty"] > 0
        exits = np.isin(played.columns["actions"], (DOOR, WINDOW))
        first = exits & (exits.cumsum(axis=0) == 1)
        by_window = first & (played.columns["actions"] == WINDOW)
        assert not (penalised & ~by_window).any(), "nothing else is penalised"
        assert penalised.sum() == min(sum(counts), by_window.any(axis=0).sum())
    assert 0 < np.sum([played.penalty_counts for played in acts]) <= np.sum(penalty_counts)


def test_without_penalty_or_shaping_nothing_differs() -> None:
    absent = trained(3)
    penalty_counts = [[20, 0, 9]] * 3
    assert same(trained(3, grader=ExPost(), penalty=0.0, penalty_counts=penalty_counts), absent)
    assert same(trained(3, shaping=0.0), absent)
    assert not same(trained(3, grader=ExPost(), penalty=0.5, penalty_counts=penalty_counts), absent)
    assert not same(trained(3, shaping=0.5), absent)
    assert same(
        trained(3, penalty=0.5, penalty_counts=penalty_counts),
        trained(3, grader=ExPost(), penalty=0.5, penalty_counts=penalty_counts),
    )


def test_the_doses_of_the_last_iteration_can_be_read() -> None:
    algorithm = config(source=Forged(), grader=Rule(), penalty=2.0).build_algo()
    result = algorithm.train()["env_runners"]
    assert algorithm.penalty_counts.dtype == np.int64
    assert 2.0 * algorithm.penalty_counts.sum() / 64 == pytest.approx(result["return_penalty"])
    assert algorithm.penalty_counts.sum() > 0


@pytest.mark.slow
@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("changes", [{"penalty_counts": [[20, 5, 9]] * 3, "penalty": 1.0}, {"shaping": 1.0}], ids=str)
def test_two_env_runners_give_the_same_data_as_none(changes: dict[str, Any]) -> None:
    local, remote = (
        config(**changes, source=Forged(), training=settings(num_env_runners=num)).build_algo() for num in (0, 2)
    )
    samples, others = record(local), record(remote)
    left, right = train(local, 3), train(remote, 3)
    assert_same_sample(others[0], samples[0])
    for played, other in zip(samples, others, strict=True):
        np.testing.assert_array_equal(played.penalty_counts, other.penalty_counts)
        np.testing.assert_array_equal(played.episodes["penalised"], other.episodes["penalised"])
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=1e-4)
    remote.stop()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shaping": -0.5}, r"shaping must be finite and >= 0, got -0\.5"),
        ({"shaping": float("nan")}, "shaping must be finite"),
        (
            {"penalty_counts": [[1, 2, 3], [1, 2]]},
            r"penalty_counts: expected 3 counts from 0 to 64 an iteration, got \[1, 2\] in iter",
        ),
        (
            {"penalty_counts": [[0, 65, 0]]},
            r"penalty_counts: expected 3 counts from 0 to 64 an iteration, got \[0, 65, 0\]",
        ),
        ({"penalty_counts": [[0, -1, 0]]}, "penalty_counts: expected 3 counts"),
        ({"yoked_event": "by_windw", "penalty_counts": [[0, 1, 0]]}, "yoked_event.*did you mean 'by_window'"),
        ({"yoked_event": "by_window"}, "'by_window' needs the penalty_counts of another arm, got None"),
        (
            {
                "yoked_event": "by_window",
                "penalty_counts": [[0, 1, 0]],
                "training": settings(num_env_runners=2),
            },
            "num_env_runners must be 0, got 2",
        ),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KerfError, match=message):
        config(**changes)
