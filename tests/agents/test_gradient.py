"""The written-out gradient against torch's, term by term, and the compiled pieces it is made of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kerf.agents import kernels
from kerf.agents.adam import clip
from kerf.agents.gradient import LANE_ROWS, Autograd, WrittenOut, make_gradient
from kerf.agents.learner import _stepping
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.packing import MAX_ROWS
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.agents.threads import in_parallel
from kerf.lab.errors import KerfError
from tests.agents.training import config, same, settings, trained

NUM_ROWS, NUM_OBSERVATIONS, NUM_ACTIONS = 2 * LANE_ROWS + 77, 13, 6
NETWORKS = {
    "shared": NetworkSettings(hidden=(24, 16)),
    "separate": NetworkSettings(hidden=(24, 16), shared_trunk=False),
    "relu": NetworkSettings(hidden=(32,), activation="relu"),
    "deep": NetworkSettings(hidden=(16, 16, 16, 16)),
    "linear": NetworkSettings(hidden=()),  # the latent adversary then perturbs what it sees, though none may ask for it
    "linear and separate": NetworkSettings(hidden=(), shared_trunk=False),
}
TERMS: dict[str, dict[str, float]] = {
    "ppo": {},
    "everything": {"imitation_coeff": 0.3, "anchor_coeff": 0.7, "entropy_coeff": 0.02},
    "imitation": {"policy_coeff": 0.0, "entropy_coeff": 0.0, "imitation_coeff": 1.0},
    "state value": {"policy_coeff": 0.0, "entropy_coeff": 0.0},
    "policy": {"value_coeff": 0.0, "entropy_coeff": 0.0, "clip": 0.01},
    "entropy": {"value_coeff": 0.0, "policy_coeff": 0.0, "entropy_coeff": 1.0},
    "anchor": {"value_coeff": 0.0, "policy_coeff": 0.0, "entropy_coeff": 0.0, "anchor_coeff": 1.0},
    "clipped norm": {"max_grad_norm": 1e-3},
    "latent": {"latent_radius": 0.3, "imitation_coeff": 0.3, "anchor_coeff": 0.7, "entropy_coeff": 0.02},
}


def network(settings: NetworkSettings) -> PolicyNetwork:
    """Its policy is far from uniform, so that no term is small."""
    made = PolicyNetwork(NUM_OBSERVATIONS, NUM_ACTIONS, settings, torch.Generator().manual_seed(3))
    with torch.no_grad():
        made.policy_head.weight.mul_(100.0)
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    return made


def columns(training: TrainingSettings) -> dict[str, torch.Tensor]:
    """A batch such as learners get: some ratios lie beyond the clip on either side, for gains of either sign."""
    rng = torch.Generator().manual_seed(5)
    normal = lambda *shape: torch.randn(shape, generator=rng)  # noqa: E731
    made = {
        "observations": normal(NUM_ROWS, NUM_OBSERVATIONS),
        "actions": torch.randint(NUM_ACTIONS, (NUM_ROWS,), generator=rng),
        "action_logp": torch.log_softmax(normal(NUM_ROWS, NUM_ACTIONS), dim=-1)[:, 0],
        "advantage": normal(NUM_ROWS),
        "value_target": normal(NUM_ROWS),
    }
    if training.imitation_coeff:
        made["expert_action"] = torch.randint(NUM_ACTIONS, (NUM_ROWS,), generator=rng)
    if training.anchor_coeff:
        made["anchor_logp"] = torch.log_softmax(normal(NUM_ROWS, NUM_ACTIONS), dim=-1)
    if training.latent_radius:
        made["attacked"] = (normal(NUM_ROWS) > 0) & (made["advantage"] < 0)
    return made


def gradients(made: PolicyNetwork) -> dict[str, np.ndarray]:
    return {
        name: np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy().astype(np.float64)
        for name, parameter in made.named_parameters()
    }


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS)
def test_the_written_out_gradient_is_the_gradient(settings: NetworkSettings, terms: dict[str, float]) -> None:
    """Both against torch's in double precision: an error of 1e-5 of the largest entry is rounding, 1e-2 is a slip."""
    training = TrainingSettings(**({"max_grad_norm": 1e6} | terms))
    batch = columns(training)
    rows = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(6))[: NUM_ROWS - 20]
    written, exact = network(settings), network(settings).double()
    got = WrittenOut(written, training)(batch, rows)
    doubled = {name: column.double() if column.is_floating_point() else column for name, column in batch.items()}
    expected = Autograd(exact.__call__, exact, training)(doubled, rows)
    assert set(got) == set(expected)
    for name, term in expected.items():
        assert float(got[name]) == pytest.approx(float(term), rel=1e-4, abs=1e-6), name
    wanted = gradients(exact)
    largest = max(np.abs(part).max() for part in wanted.values())
    assert largest > 1e-4 * training.max_grad_norm or largest > 1e-3
    for name, part in gradients(written).items():
        assert np.abs(part - wanted[name]).max() <= 1e-5 * largest, name


def test_a_second_minibatch_starts_from_zero_and_knows_the_new_parameters() -> None:
    training = TrainingSettings(max_grad_norm=1e6)
    batch, made = columns(training), network(NETWORKS["separate"])
    gradient = WrittenOut(made, training)
    first, second = torch.arange(LANE_ROWS + 5), torch.arange(300, 900)
    gradient(batch, first)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(0.9)
    gradient(batch, second)
    again = network(NETWORKS["separate"])
    again.load(made.weights())
    WrittenOut(again, training)(batch, second)
    for name, part in gradients(made).items():
        np.testing.assert_array_equal(part, gradients(again)[name])


def test_training_comes_out_alike() -> None:
    """Whole iterations: the two ways differ by rounding alone, which a few Adam steps do not blow up."""
    changes: dict[str, Any] = {"imitation_coeff": 0.5, "advantage_scaling": "batch"}
    written = trained(4, training=settings(**changes, gradient="written_out"))
    torchs = trained(4, training=settings(**changes, gradient="autograd"))
    start = trained(0, training=settings(**changes))
    assert not same(written, torchs), "they are two ways"
    for name in written:
        assert np.abs(written[name] - start[name]).max() > 3e-3
        np.testing.assert_allclose(written[name], torchs[name], atol=1e-4)


def test_auto_is_written_out_on_a_cpu_and_torchs_elsewhere() -> None:
    made, gpu, cpu = network(NETWORKS["shared"]), torch.device("cuda"), torch.device("cpu")

    def chosen(way: str, device: torch.device) -> type:
        return type(make_gradient(made, made.__call__, TrainingSettings(gradient=way), device))

    assert chosen("auto", cpu) is chosen("written_out", cpu) is WrittenOut
    assert chosen("autograd", cpu) is chosen("auto", gpu) is chosen("autograd", gpu) is Autograd
    with pytest.raises(KerfError, match=r"gradient: written_out needs a learner on a CPU, and this one is on cuda"):
        chosen("written_out", gpu)
    algorithm = config(training=settings(gradient="autograd")).build_algo()
    assert isinstance(algorithm.learner_group._learner._gradient, Autograd)
    assert isinstance(config().build_algo().learner_group._learner._gradient, WrittenOut)


def test_the_lean_step_is_the_optimisers_step_bit_for_bit() -> None:
    (plain, theirs), (lean, ours) = stepped(lambda _, optimizer: optimizer.step), stepped(lambda _, o: _stepping(o))
    assert same(plain, lean)
    assert not same(plain, network(NETWORKS["separate"]).weights())
    assert all(torch.equal(theirs[index][name], ours[index][name]) for index in theirs for name in theirs[index])


def test_the_compiled_step_is_the_optimisers_to_rounding_and_either_goes_on_from_the_other() -> None:
    ways: dict[str, Way] = {
        "torch's": lambda _, optimizer: optimizer.step,
        "compiled": lambda gradient, optimizer: gradient.stepping(optimizer),
    }
    (wanted, kept), *others = [
        stepped(first, second) for first in ways.values() for second in ways.values()
    ]  # torch's, then either after the other, then compiled
    for weights, state in others:
        assert not same(weights, wanted), "they are two ways"
        for name in wanted:
            np.testing.assert_allclose(weights[name], wanted[name], rtol=1e-4, atol=2e-5)
        for index in kept:
            assert state[index]["step"] == kept[index]["step"] == 20.0
            assert set(state[index]) == set(kept[index])
            for name in kept[index]:
                assert state[index][name].shape == kept[index][name].shape
                np.testing.assert_allclose(state[index][name], kept[index][name], rtol=1e-3, atol=1e-6)


Way = Callable[[WrittenOut, torch.optim.Adam], Callable[[], None]]


def stepped(*ways: Way) -> tuple[dict[str, np.ndarray], dict[int, dict[str, torch.Tensor]]]:
    """Weights and the optimiser's state after ten steps by each of `ways`, or twenty by one."""
    training, made = TrainingSettings(), network(NETWORKS["separate"])
    batch, gradient = columns(training), WrittenOut(made, training)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-3, fused=True)
    for number in range(20):
        if number % (20 // len(ways)) == 0:
            step = ways[number * len(ways) // 20](gradient, optimizer)
        gradient(batch, torch.arange(100 * number, 100 * number + 100))
        step()
    return made.weights(), optimizer.state_dict()["state"]


def test_a_gradient_is_clipped_to_its_norm() -> None:
    long = np.random.default_rng(10).standard_normal(1003).astype(np.float32)
    norm = float(np.linalg.norm(long.astype(np.float64)))
    for longest in (0.5, 1e3):
        for way in (clip, clip.py_func):
            got = long.copy()
            assert way(got, longest) == pytest.approx(norm, rel=1e-6)
            np.testing.assert_allclose(got, long * min(1.0, longest / norm), rtol=1e-5)


def test_a_policy_of_any_size_of_batch_gives_the_same_rows() -> None:
    policy = TorchPolicy(network(NETWORKS["separate"]))
    observations = np.random.default_rng(7).standard_normal((3 * MAX_ROWS + 5, NUM_OBSERVATIONS)).astype(np.float32)
    logits, state_values = policy.outputs(observations)
    for size in (1, 2, 3, 17, 500, MAX_ROWS, MAX_ROWS + 1, 2 * MAX_ROWS, 3, 500):
        some, values = policy.outputs(observations[:size])
        np.testing.assert_allclose(some, logits[:size], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values, state_values[:size], rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        policy.network.policy_head.bias.add_(1.0)
    np.testing.assert_allclose(policy.logits(observations[:3]), logits[:3] + 1.0, rtol=1e-5, atol=1e-5)


def test_two_threads_give_the_bytes_of_one() -> None:
    """More episodes than a slice holds, and minibatches that are cut into two lanes."""
    changes = {"num_scenarios": 1100, "minibatch_size": 2 * LANE_ROWS + 500, "imitation_coeff": 0.1}
    one, two = (trained(3, training=settings(**changes), num_threads=num_threads) for num_threads in (1, 2))
    assert same(one, two)
    gradients = []
    for num_threads in (1, 2):
        training, made = TrainingSettings(), network(NETWORKS["separate"])
        gradient = WrittenOut(made, training, num_threads=num_threads)
        terms = gradient(columns(training), torch.arange(NUM_ROWS))
        gradients.append((gradient._gradient.numpy().tobytes(), {name: float(term) for name, term in terms.items()}))
    assert gradients[0] == gradients[1]
    with pytest.raises(KerfError, match="num_threads must be >= 1, got 0"):
        config(num_threads=0)


def test_work_is_done_in_its_order_and_a_failure_is_raised() -> None:
    assert in_parallel([lambda: 1, lambda: 2, lambda: 3], 2) == [1, 2, 3]
    meeting = threading.Barrier(2, timeout=10.0)
    in_parallel([meeting.wait, meeting.wait], 2)  # both at once, or neither comes through
    for num_threads in (1, 2):
        with pytest.raises(ZeroDivisionError):
            in_parallel([lambda: 1.0, lambda: 1 / 0], num_threads)


def test_tanh_is_tanh() -> None:
    x = np.concatenate([np.linspace(-12.0, 12.0, 240_001), np.geomspace(1e-30, 1.0, 1000)]).astype(np.float32)
    got = x.copy()
    kernels.tanh_forward(got)
    wanted = np.tanh(x.astype(np.float64))
    assert np.abs(got - wanted).max() < 4e-7
    assert np.abs(got / np.where(wanted == 0.0, 1.0, wanted) - (wanted != 0.0)).max() < 4e-7
    odd = np.tile(np.array([np.nan, np.inf, -np.inf, 0.0], np.float32), 17)  # the loop's vectors, and what is left over
    kernels.tanh_forward(odd)
    np.testing.assert_allclose(odd, np.tile([np.nan, 1.0, -1.0, 0.0], 17), atol=4e-7)
    rectified = np.array([np.nan, -1.0, 2.0], np.float32)
    kernels.relu_forward(rectified)
    np.testing.assert_array_equal(rectified, [np.nan, 0.0, 2.0])


@pytest.mark.slow  # else it is compiled as a part of larger kernels
def test_kernels_give_uncompiled_what_they_give_compiled() -> None:
    training = TrainingSettings(imitation_coeff=0.3, anchor_coeff=0.7)
    batch = {name: column.numpy() for name, column in columns(training).items()}
    rng, n = np.random.default_rng(8), 40
    outputs = rng.standard_normal((NUM_ACTIONS + 1, n)).astype(np.float32)
    rows = rng.permutation(NUM_ROWS)[:n]
    results = []
    for kernel in (kernels.loss_gradient, kernels.loss_gradient.py_func):
        grad, sums = np.empty_like(outputs), np.zeros(len(kernels.TERMS))
        kernel(
            outputs, grad, rows, batch["actions"], batch["action_logp"], batch["advantage"], batch["value_target"],
            batch["expert_action"], batch["anchor_logp"], tuple(map(np.float32, (1, 0.5, 0.01, 0.3, 0.7))),
            np.float32(0.2), np.float32(1 / n), sums,
        )  # fmt: skip
        results.append((grad, sums))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-4)


def test_log_chances_are_those_of_softmax() -> None:
    rng = np.random.default_rng(9)
    logits = (5 * rng.standard_normal((300, NUM_ACTIONS))).astype(np.float32)
    actions, got = rng.integers(NUM_ACTIONS, size=300), np.empty(300, np.float32)
    kernels.log_probs(logits, actions, got)
    wanted = torch.log_softmax(torch.from_numpy(logits), dim=-1).numpy()[np.arange(300), actions]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_learns_what_a_cpu_learns() -> None:
    left, right = (trained(3, training=settings(num_gpus_per_learner=num_gpus)) for num_gpus in (0, 1))
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=1e-3)
