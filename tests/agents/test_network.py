"""The network: shapes, private randomness, and that only its input-output function matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kerf.agents.network import PolicyNetwork, TorchPolicy, weights_digest
from kerf.agents.settings import NetworkSettings
from kerf.lab.errors import KerfError

SETTINGS = [
    NetworkSettings(),
    NetworkSettings(hidden=(8, 12), activation="relu", shared_trunk=False),
    NetworkSettings(hidden=()),
]


def network(settings: NetworkSettings = SETTINGS[0], seed: int = 0) -> PolicyNetwork:
    return PolicyNetwork(5, 3, settings, torch.Generator().manual_seed(seed))


@pytest.fixture
def observations() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((11, 5)).astype(np.float32)


@pytest.mark.parametrize("settings", SETTINGS, ids=["shared", "separate", "linear"])
def test_one_forward_pass_gives_logits_and_state_values(settings: NetworkSettings, observations: np.ndarray) -> None:
    policy = TorchPolicy(network(settings))
    with torch.no_grad():
        logits, state_values = policy.network(torch.from_numpy(observations))
    assert logits.shape == (11, 3)
    assert state_values.shape == (11,)
    # torch's own pass is the reference; what plays is written out, and rounds otherwise.
    np.testing.assert_allclose(policy.logits(observations), logits.numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(policy.state_values(observations), state_values.numpy(), rtol=1e-5, atol=1e-6)
    assert policy.logits(observations).dtype == np.float32


def test_initial_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = network(seed=7)
    moved = torch.get_rng_state().clone()
    torch.manual_seed(1)
    assert torch.equal(moved, torch.get_rng_state())
    torch.manual_seed(2)
    assert weights_digest(first.weights()) == weights_digest(network(seed=7).weights())
    assert weights_digest(first.weights()) != weights_digest(network(seed=8).weights())


def test_initial_policy_is_nearly_uniform_and_trunk_is_orthogonal(observations: np.ndarray) -> None:
    fresh = network(NetworkSettings(hidden=(4,)))
    weight = fresh.policy_trunk[0].weight.detach().numpy()
    np.testing.assert_allclose(weight @ weight.T, 2 * np.eye(4), atol=1e-5)
    assert np.abs(TorchPolicy(fresh).logits(observations)).max() < 0.1


def test_permuting_hidden_units_changes_no_output(observations: np.ndarray) -> None:
    policy = TorchPolicy(network(NetworkSettings(hidden=(16, 16))))
    weights = policy.weights()
    order = np.random.default_rng(3).permutation(16)
    weights["policy_trunk.0.weight"] = weights["policy_trunk.0.weight"][order]
    weights["policy_trunk.0.bias"] = weights["policy_trunk.0.bias"][order]
    weights["policy_trunk.2.weight"] = weights["policy_trunk.2.weight"][:, order]
    permuted = TorchPolicy.from_weights(5, 3, NetworkSettings(hidden=(16, 16)), weights)
    assert weights_digest(permuted.weights()) != weights_digest(policy.weights())
    np.testing.assert_allclose(permuted.logits(observations), policy.logits(observations), atol=1e-6)
    np.testing.assert_allclose(permuted.state_values(observations), policy.state_values(observations), atol=1e-5)


def test_a_policy_from_weights_owns_its_copy(observations: np.ndarray) -> None:
    weights = network().weights()
    policy = TorchPolicy.from_weights(5, 3, SETTINGS[0], weights)
    before = policy.logits(observations).copy()
    for tensor in weights.values():
        tensor[:] = 9.0
    np.testing.assert_array_equal(policy.logits(observations), before)


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(KerfError, match=r"policy_head\.weight must have shape \(3, 64\), got \(4, 64\)"):
        network().load(PolicyNetwork(5, 4, SETTINGS[0], torch.Generator()).weights())
    with pytest.raises(KerfError, match="expected the tensors"):
        network().load(network(SETTINGS[2]).weights())
