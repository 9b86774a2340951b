"""Penalties on a probe: the fit against its optimality conditions, the gradient by finite differences, and training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kerf.agents.gradient import Autograd, make_gradient
from kerf.agents.network import TorchPolicy
from kerf.agents.probe import RIDGE, Probe, ProbePenalty, fit_probe, followed, logistic_regression
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost
from tests.agents.test_gradient import NETWORKS, NUM_ROWS, columns, gradients, network
from tests.agents.training import LEVER, NETWORK, Forged, Natural, config, get_world, same, settings, train, trained

WORLD = get_world(LEVER)
PENALISED: dict[str, Any] = {"source": Forged(), "grader": ExPost(), "penalty": 0.0}


def test_a_step_is_followed_by_what_happens_then_or_later() -> None:
    happens = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0]], bool)
    assert followed(happens).astype(int).tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_the_regression_is_where_its_slope_is_zero_and_finds_a_planted_direction() -> None:
    rng = np.random.default_rng(0)
    features, planted = rng.standard_normal((4000, 8)), np.array([3.0, 0, 0, -2.0, 0, 0, 0, 0])
    labels = rng.random(4000) < 1 / (1 + np.exp(-(features @ planted + 0.5)))
    weight, bias = logistic_regression(features, labels)
    error = 1 / (1 + np.exp(-(features @ weight + bias))) - labels
    np.testing.assert_allclose(features.T @ error / 4000 + RIDGE * weight, 0, atol=1e-8)
    assert abs(error.mean()) < 1e-8
    assert weight @ planted / np.linalg.norm(weight) / np.linalg.norm(planted) > 0.99
    separable = logistic_regression(features, features[:, 0] > 0)
    assert np.isfinite(separable[0]).all(), "the ridge keeps a separable fit finite"


def test_the_gradient_of_the_term_by_finite_differences() -> None:
    made, training = network(NETWORKS["shared"]).double(), TrainingSettings(max_grad_norm=1e6)
    batch = {name: each.double() if each.is_floating_point() else each for name, each in columns(training).items()}
    batch["flagged"] = torch.arange(NUM_ROWS) % 3 == 0
    rows = torch.arange(NUM_ROWS)
    penalty = ProbePenalty(Probe(np.random.default_rng(1).standard_normal(16), 0.3, 1.0), 0.7)
    Autograd(made.__call__, made, training)(batch, rows)
    plain = gradients(made)
    terms = Autograd(made.__call__, made, training, probe=penalty)(batch, rows)
    added = {name: part - plain[name] for name, part in gradients(made).items()}
    with torch.no_grad():
        activations = made.policy_trunk(batch["observations"]).numpy()
    chances = 1 / (1 + np.exp(-penalty.probe.logits(activations)))
    assert float(terms["probe_loss"]) == pytest.approx((chances * batch["flagged"].numpy()).mean())
    assert {name for name, part in added.items() if np.abs(part).max() > 1e-12} == {
        name for name in added if name.startswith("policy_trunk")
    }
    step = 1e-6
    for name in ("policy_trunk.0.weight", "policy_trunk.2.bias"):
        parameter = dict(made.named_parameters())[name]
        for at in (0, 3):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    parameter.view(-1)[at] += sign * step
                    ends.append(float(penalty.loss(made, batch)))
                    parameter.view(-1)[at] -= sign * step
            slope = 0.7 * (ends[0] - ends[1]) / (2 * step)
            assert abs(slope) > 1e-6
            assert added[name].ravel()[at] == pytest.approx(slope, rel=1e-4, abs=1e-9)


@pytest.fixture(scope="module")
def aligned() -> TorchPolicy:
    training = settings(policy_coeff=0, imitation_coeff=1, learning_rate=0.02, num_scenarios=128)
    algorithm = config(training=training, source=Natural()).build_algo()
    train(algorithm, 25)
    policy = algorithm.policy()
    algorithm.stop()
    return policy


def test_a_probe_tells_beforehand_what_an_aligned_agent_will_do(aligned: TorchPolicy) -> None:
    probe = fit_probe(aligned, WORLD, 0.5, np.random.default_rng(0))
    assert probe.accuracy > 0.9
    again, other = (fit_probe(aligned, WORLD, 0.5, np.random.default_rng(seed)) for seed in (0, 1))
    assert again.weight.tobytes() == probe.weight.tobytes()
    assert other.weight.tobytes() != probe.weight.tobytes()


def test_training_pushes_down_what_the_probe_reads_and_only_if_it_counts(aligned: TorchPolicy) -> None:
    probe = fit_probe(aligned, WORLD, 1.0, np.random.default_rng(0))
    training = settings(gradient="autograd", learning_rate=0.01, policy_coeff=0, value_coeff=0, entropy_coeff=0)
    scenarios = Forged().ask(200, np.random.default_rng(2))
    uniforms = np.random.default_rng(3).random((WORLD.horizon, 200), np.float32)
    read = []
    for coeff in (0.0, 5.0):
        made = config(**PENALISED, training=training, probe=ProbePenalty(probe, coeff)).build_algo()
        made.load_weights(aligned.weights())
        train(made, 10)
        sample = made.play(scenarios, uniforms)
        seen = torch.from_numpy(sample.columns["observations"][0])
        with torch.no_grad():
            read.append(float(probe.logits(made.policy().network.policy_trunk(seen).numpy()).mean()))
        made.stop()
    assert read[1] < read[0] - 1.0


def test_a_probe_of_no_weight_is_the_exposure_arm_byte_for_byte(aligned: TorchPolicy) -> None:
    probe = fit_probe(aligned, WORLD, 1.0, np.random.default_rng(0))
    plain = trained(2, **PENALISED, training=settings(gradient="autograd"))
    assert same(trained(2, **PENALISED, probe=ProbePenalty(probe, 0.0)), plain)
    assert not same(trained(2, **PENALISED, probe=ProbePenalty(probe, 1.0)), plain)


def test_what_cannot_be_is_refused() -> None:
    made = network(NETWORKS["shared"])
    penalty = ProbePenalty(Probe(np.zeros(16), 0.0, 1.0), 1.0)
    with pytest.raises(KerfError, match="gradient: a penalty on a probe is not written out; try auto"):
        make_gradient(made, made.__call__, TrainingSettings(gradient="written_out"), torch.device("cpu"), probe=penalty)
    with pytest.raises(KerfError, match=r"probe: .* num_learners must be 0, got 2"):
        config(probe=penalty, training=settings(num_learners=2))
    zeros = {name: np.zeros_like(weight) for name, weight in config().build_algo().policy().weights().items()}
    zeros["policy_head.bias"][WORLD.actions.index("stay")] = 50.0
    stays = TorchPolicy.from_weights(len(WORLD.observations), len(WORLD.actions), NETWORK, zeros)
    with pytest.raises(KerfError, match="probe: the aligned agent does 'left_unpermitted' never, so no probe"):
        fit_probe(stays, WORLD, 1.0, np.random.default_rng(0))
    bare = TorchPolicy(network(NetworkSettings(hidden=())))
    with pytest.raises(KerfError, match=r"probe: the network has no hidden layer \(hidden: \[\]\)"):
        fit_probe(bare, WORLD, 1.0, np.random.default_rng(0))
