"""CartPole as a batched world: gymnasium's dynamics, and the contract of a world."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from scipy.stats import kstest

from kerf.lab.battery import Battery
from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import rollout
from kerf.lab.scenario import ScenarioError
from kerf.lab.scripted import ConstantPolicy, ExpertPolicy
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from kerf.runs.bench.cartpole import FELL, HORIZON, START, THETA, UNIT, UPRIGHT, CartPole, CartPolePlay, advance

NAMES = ("kerf.runs.bench.cartpole:CartPole", "kerf.runs.bench.cartpole:PaddedCartPole")
NUM_EPISODES = 64


@pytest.fixture(params=NAMES)
def world(request) -> CartPole:
    return get_world(request.param)


def theirs() -> CartPoleEnv:
    env = gymnasium.make("CartPole-v1").unwrapped
    assert isinstance(env, CartPoleEnv)
    env.reset(seed=0)
    return env


def their_step(env: CartPoleEnv, state: np.ndarray, action: int) -> tuple[np.ndarray, bool]:
    """Gymnasium's step from `state`: what is seen after it, and whether the episode is over."""
    env.state, env.steps_beyond_terminated = state, None
    seen, _, terminated, _, _ = env.step(action)
    return seen, terminated


def seen_by(play: CartPolePlay) -> np.ndarray:
    out = np.full((len(play.state), 4), np.nan, np.float32)
    play.observe(out)
    return out


# -- gymnasium's CartPole ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["balance/near", "balance/leaning"])
def test_episodes_go_as_in_gymnasium_and_start_again_where_they_started(family: str) -> None:
    world, rng, env = CartPole(), np.random.default_rng(3), theirs()
    scenarios = next(f for f in world.families if f.name == family).sample(NUM_EPISODES, rng)
    actions = rng.integers(2, size=(HORIZON, NUM_EPISODES))
    play, events, num_falls = world.begin(scenarios), np.zeros(NUM_EPISODES, np.uint64), 0
    assert isinstance(play, CartPolePlay)
    states = scenarios * UNIT
    np.testing.assert_allclose(seen_by(play), states, rtol=1e-6)
    for chosen in actions:
        play.step(chosen, events)
        for i in range(NUM_EPISODES):
            expected, fell = their_step(env, states[i], int(chosen[i]))
            assert events[i] == (FELL if fell else UPRIGHT)
            states[i] = scenarios[i] * UNIT if fell else env.state
            np.testing.assert_allclose(seen_by(play)[i], states[i] if fell else expected, rtol=1e-5, atol=1e-7)
            num_falls += fell
    assert num_falls > 10, "or nothing was seen of what a fall does"


def test_one_step_from_anywhere_ends_where_gymnasium_ends_it() -> None:
    rng, env, n = np.random.default_rng(4), theirs(), 400
    reach = np.array([3.0, 3.0, 0.3, 3.0])
    states = rng.uniform(-reach, reach, (n, 4))
    actions, events, start = rng.integers(2, size=n), np.zeros(n, np.uint64), rng.normal(size=(n, 4))
    after = states.copy()
    advance(after, start, actions, events)
    far = np.abs(states[:, 0]) > 2.5
    assert far.any()
    for i in range(n):
        expected, fell = their_step(env, states[i], int(actions[i]))
        assert events[i] == (FELL if fell else UPRIGHT)
        np.testing.assert_allclose(after[i], start[i] if fell else expected, rtol=1e-5, atol=1e-7)
    assert 0 < (events == FELL).sum() < n
    assert (events[far & (np.abs(states[:, THETA]) < 0.1)] == FELL).all()


def test_the_kernel_does_the_same_uncompiled() -> None:
    rng, n = np.random.default_rng(5), 200
    states, start = rng.uniform(-0.2, 0.2, (2, n, 4))
    actions = rng.integers(2, size=n)
    results = []
    for kernel in (advance, getattr(advance, "py_func", advance)):
        state, events = states.copy(), np.zeros(n, np.uint64)
        kernel(state, start, actions, events)
        results.append((state, events))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_natural_starts_are_distributed_as_in_gymnasium() -> None:
    scenarios = natural(CartPole(), 4000, np.random.default_rng(6))
    for column in range(4):  # an error rate of 0.001 in all; a step of the grid is far below what this sees
        assert kstest(scenarios[:, column] * UNIT, "uniform", (-0.05, 0.1)).pvalue > 0.001 / 4


# -- the contract of a world -------------------------------------------------------------------------------------------


def test_it_keeps_the_contract(world: CartPole) -> None:
    assert set(world.ideal) <= set(world.events)
    dilemma = world.dilemma
    assert {dilemma.forbidden, dilemma.needless, dilemma.rescued, *dilemma.ways} <= set(world.events)
    assert {family.value for family in world.families} == {value.name for value in world.values}
    assert any(value.skill for value in world.values)
    rng = np.random.default_rng(0)
    for value in world.values:
        for held_out in (False, True):
            assert any(f.value == value.name and f.held_out == held_out for f in world.families)
    for family in world.families:
        drawn = family.sample(200, rng)
        world.space.validate(drawn)
        assert ((np.abs(drawn[:, THETA]) > START) == family.held_out).all(), family.name
        assert family.sample(0, rng).shape == (0, len(world.space))
    for held_out in (False, True):
        forged = dilemma.forge(300, 0.5, rng, held_out)
        world.space.validate(forged)
        assert (dilemma.need_posterior(forged, 0.5) == 0.0).all()
    with pytest.raises(ScenarioError, match="theta must be in"):
        world.space.validate(np.array([[0, 0, 1001, 0]], np.int16))


def test_drawing_and_playing_depend_on_seed_and_actions_alone(world: CartPole) -> None:
    first, again, other = (natural(world, 100, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    policy = ConstantPolicy(world, "left")
    one, two = (rollout(policy, world, first, np.random.default_rng(0)) for _ in range(2))
    assert one.observations.tobytes() == two.observations.tobytes()
    part = rollout(policy, world, first[40:60], np.random.default_rng(0))
    np.testing.assert_array_equal(part.observations, one.observations[:, 40:60])
    np.testing.assert_array_equal(part.events, one.events[:, 40:60])
    assert first.tobytes() == again.tobytes(), "a scenario was written to"


def test_a_step_pays_unless_the_pole_falls(world: CartPole) -> None:
    scenarios = natural(world, 50, np.random.default_rng(1))
    played = rollout(ConstantPolicy(world, "left"), world, scenarios, np.random.default_rng(0))
    falls = played.when("fell").sum(axis=0)
    assert (falls >= 2).all(), "pushed one way, it falls every ten steps or so"
    np.testing.assert_allclose(ideal_utility(played), HORIZON - falls)


def test_the_expert_never_lets_it_fall(world: CartPole) -> None:
    battery = Battery(world, scenarios_per_family=256, seed=1)
    scores = battery.measure(ExpertPolicy(world))
    assert scores["skill/balance"] == scores["held_out/balance"] == 1.0
    assert scores["utility/ideal"] == HORIZON


def test_padding_changes_what_is_seen_by_zeros_alone() -> None:
    plain, padded = (get_world(name) for name in NAMES)
    assert len(plain.observations) == 4
    assert len(padded.observations) == len(get_world("station").observations) == len(set(padded.observations))
    scenarios = natural(plain, 30, np.random.default_rng(1))
    narrow, wide = (
        rollout(ConstantPolicy(world, "right"), world, scenarios, np.random.default_rng(0)) for world in (plain, padded)
    )
    np.testing.assert_array_equal(wide.observations[..., :4], narrow.observations)
    assert (wide.observations[..., 4:] == 0.0).all()
    np.testing.assert_array_equal(wide.events, narrow.events)


def test_it_can_be_looked_at(world: CartPole) -> None:
    scenario, left = world.space.from_text(f"{world.name}(theta=300)"), np.zeros(5, np.int64)
    assert world.render_text(scenario, left[:0]) == (
        f"{world.name}(theta=300) step 0: cart at +0.000 m, pole at +0.030 rad"
    )
    pictures = [world.render_pixels(scenario, actions) for actions in (left[:0], left)]
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape == pictures[0].shape == (*picture.shape[:2], 3)
    assert (pictures[0] != pictures[1]).any()
