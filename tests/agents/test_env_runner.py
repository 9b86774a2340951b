"""Columns: advantages against a naive reference, the split of utility and penalty, and slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kerf.agents.env_runner import Sample, Sampler, advantages
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.lab.grader import ExAnte, ExPost, Rule
from kerf.lab.scenario import Scenarios
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests import toy_world
from tests.agents.training import LEVER, NETWORK, config, settings

WORLD = get_world(LEVER)
NUM_SCENARIOS = 60


@pytest.fixture
def network() -> PolicyNetwork:
    return PolicyNetwork(len(WORLD.observations), len(WORLD.actions), NETWORK, torch.Generator().manual_seed(5))


@pytest.fixture
def scenarios() -> Scenarios:
    return natural(WORLD, NUM_SCENARIOS, np.random.default_rng(0))


UNIFORMS = np.random.default_rng(1).random((WORLD.horizon, NUM_SCENARIOS), np.float32)


def sample(network: PolicyNetwork, scenarios: Scenarios, **changes: Any) -> Sample:
    return Sampler(WORLD, config(**changes)).sample(network, scenarios, UNIFORMS)


def naive_advantages(rewards: np.ndarray, state_values: np.ndarray, gamma: float, gae_lambda: float) -> np.ndarray:
    """Sum over k of (gamma lambda)^k delta_{t+k}, written out."""
    horizon, n = rewards.shape
    padded = np.vstack([state_values, np.zeros(n)])
    estimates = np.zeros((horizon, n))
    for i in range(n):
        for t in range(horizon):
            for k in range(horizon - t):
                delta = rewards[t + k, i] + gamma * padded[t + k + 1, i] - padded[t + k, i]
                estimates[t, i] += (gamma * gae_lambda) ** k * delta
    return estimates


def test_advantages_equal_the_written_out_sum() -> None:
    rng = np.random.default_rng(2)
    rewards, state_values = rng.standard_normal((2, 7, 5))
    expected = naive_advantages(rewards, state_values, 0.9, 0.8)
    np.testing.assert_allclose(advantages(rewards, state_values, 0.9, 0.8), expected, atol=1e-12)


def test_advantages_split_linearly_in_the_reward() -> None:
    rng = np.random.default_rng(3)
    utility, penalty, state_values = rng.standard_normal((3, 7, 5))
    whole = advantages(utility - penalty, state_values, 0.99, 0.95)
    split = advantages(utility, state_values, 0.99, 0.95) - advantages(penalty, None, 0.99, 0.95)
    np.testing.assert_allclose(split, whole, atol=1e-12)


def test_advantages_leave_their_arguments_alone() -> None:
    rewards, state_values = np.ones((3, 2)), np.ones((3, 2), np.float32)
    advantages(rewards, state_values, 0.9, 0.9)
    assert (rewards == 1).all()
    assert (state_values == 1).all()


def test_columns_follow_from_what_happened(network: PolicyNetwork, scenarios: Scenarios) -> None:
    training = settings(reward_scale=0.5, gamma=0.9, gae_lambda=0.7)
    got = sample(network, scenarios, training=training, grader=ExPost(), penalty=3.0)
    columns, policy = got.columns, TorchPolicy(network)
    shape = (WORLD.horizon, NUM_SCENARIOS)
    assert columns["observations"].shape == (*shape, len(WORLD.observations))
    rows = columns["observations"].reshape(-1, len(WORLD.observations))
    state_values = policy.state_values(rows).reshape(shape)
    logits = policy.logits(rows).astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    taken = log_probabilities[np.arange(len(rows)), columns["actions"].ravel()].reshape(shape)
    np.testing.assert_allclose(columns["action_logp"], taken, atol=1e-5)

    # The events, replayed from the actions alone.
    worked, needless, rescued = replay(scenarios, columns["actions"])
    utility = 0.1 * worked + rescued - needless
    penalty = 3.0 * needless
    assert needless.any()
    assert rescued.any()
    np.testing.assert_allclose(got.episodes["return_utility"], utility.sum(axis=0))
    np.testing.assert_allclose(got.episodes["return_penalty"], penalty.sum(axis=0))
    np.testing.assert_array_equal(got.episodes["elicited"], (needless + rescued).any(axis=0))
    whole = naive_advantages(0.5 * (utility - penalty), state_values, 0.9, 0.7)
    np.testing.assert_allclose(got.advantages(), whole, atol=1e-5)
    np.testing.assert_allclose(columns["value_target"], whole + state_values, atol=1e-5)
    alone = naive_advantages(0.5 * penalty, np.zeros(shape), 0.9, 0.7)
    np.testing.assert_allclose(columns["advantage_penalty"], alone, atol=1e-6)


def replay(scenarios: Scenarios, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`worked`, `needless` and `rescued` of every step, `(T, n)` floats, from the rules in words."""
    worked, needless, rescued = np.zeros((3, *actions.shape))
    for i in range(actions.shape[1]):
        for t in range(actions.shape[0]):
            worked[t, i] = actions[t, i] == toy_world.WORK
            if actions[t, i] in (toy_world.DOOR, toy_world.WINDOW):
                saves = t == 0 and scenarios[i, toy_world.TRUTH] == toy_world.GENUINE
                (rescued if saves else needless)[t, i] = 1
                break
    return worked, needless, rescued


def test_no_penalty_is_exactly_zero(network: PolicyNetwork, scenarios: Scenarios) -> None:
    for changes in ({}, {"grader": ExPost(), "penalty": 0.0}, {"grader": Rule(), "penalty": 0.0, "penalty_sign": -1}):
        got = sample(network, scenarios, **changes)
        assert (got.columns["advantage_penalty"] == 0.0).all()
        assert got.advantages().tobytes() == got.columns["advantage_utility"].tobytes()


def test_the_sign_turns_the_penalty_round(network: PolicyNetwork, scenarios: Scenarios) -> None:
    plain = sample(network, scenarios, grader=ExPost(), penalty=2.0)
    turned = sample(network, scenarios, grader=ExPost(), penalty=2.0, penalty_sign=-1)
    assert plain.columns["advantage_penalty"].max() > 0
    np.testing.assert_array_equal(turned.columns["advantage_penalty"], -plain.columns["advantage_penalty"])


def test_what_is_excused_costs_nothing(network: PolicyNetwork) -> None:
    forged = WORLD.dilemma.forge(NUM_SCENARIOS, 1.0, np.random.default_rng(4))
    judged = sample(network, forged, grader=ExPost(), penalty=2.0)
    excused = sample(network, forged, grader=ExAnte(strength=1.0), penalty=2.0)
    left = judged.episodes["elicited"] == 1.0
    assert left.any()
    np.testing.assert_array_equal(judged.episodes["return_penalty"], 2.0 * left)
    assert not excused.episodes["return_penalty"].any()
    difference = excused.episodes["return_utility"] - judged.episodes["return_utility"]
    np.testing.assert_allclose(difference, toy_world.COST * left, atol=1e-12)


def test_optional_columns_appear_with_their_coefficients(network: PolicyNetwork, scenarios: Scenarios) -> None:
    plain = sample(network, scenarios)
    assert not {"expert_action", "anchor_logits"} & set(plain.columns)
    training = settings(imitation_coeff=1.0, anchor_coeff=1.0)
    anchor = PolicyNetwork(7, 4, NETWORK, torch.Generator().manual_seed(9)).weights()
    got = sample(network, scenarios, training=training, anchor=anchor)
    rows = got.columns["observations"].reshape(-1, len(WORLD.observations))
    np.testing.assert_array_equal(got.columns["expert_action"].ravel(), WORLD.expert(rows))
    expected = TorchPolicy.from_weights(7, 4, NETWORK, anchor).logits(rows)
    np.testing.assert_array_equal(got.columns["anchor_logits"].reshape(expected.shape), expected)


def test_slices_joined_are_the_whole(network: PolicyNetwork, scenarios: Scenarios) -> None:
    sampler = Sampler(WORLD, config(grader=ExPost(), penalty=1.0))
    whole = sampler.sample(network, scenarios, UNIFORMS)
    cuts = [slice(0, 20), slice(20, 60)]
    joined = Sample.joined([sampler.sample(network, scenarios[cut], UNIFORMS[:, cut]) for cut in cuts])
    assert_same_sample(joined, whole)


def assert_same_sample(left: Sample, right: Sample) -> None:
    assert set(left.columns) == set(right.columns)
    for name, column in right.columns.items():
        exact = column.dtype == np.int64
        np.testing.assert_allclose(left.columns[name], column, rtol=0, atol=0 if exact else 1e-5, err_msg=name)
    for name, values in right.episodes.items():
        np.testing.assert_array_equal(left.episodes[name], values)
    np.testing.assert_array_equal(left.penalty_counts, right.penalty_counts)
