"""The adversary inside the policy: its ball, its optimum, and what training against it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from kerf.agents.algorithm import KerfAlgorithm
from kerf.agents.gradient import Autograd, WrittenOut
from kerf.agents.latent import LATENT_TERMS, attack_in_place, attacked, per_attack, project, worst_case
from kerf.agents.latent_radius import least_radius
from kerf.agents.network import TorchPolicy
from kerf.agents.settings import NetworkSettings, TrainingSettings
from kerf.lab.errors import KerfError
from kerf.lab.grader import ExPost
from kerf.lab.world import natural
from kerf.lab.worlds import get_world
from tests.agents.test_gradient import NETWORKS, NUM_ACTIONS, columns, gradients, network
from tests.agents.training import LEVER, Forged, config, same, settings, train, trained
from tests.toy_world import DOOR, WINDOW

WORLD = get_world(LEVER)
RADIUS = 0.6
WITH_HIDDEN = {name: made for name, made in NETWORKS.items() if made.hidden}


def norms(delta: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.sqrt(np.mean(np.square(delta.astype(np.float64)), axis=-1))


def one_act(rng: torch.Generator, n: int, num_actions: int) -> torch.Tensor:
    taken = torch.randint(num_actions, (n,), generator=rng)
    return torch.nn.functional.one_hot(taken, num_actions).bool()


# ---- the ball


@pytest.mark.parametrize("radius", [1e-6, 1e-3, 0.1, 0.37, 1.0, 10.0])
@pytest.mark.parametrize("width", [1, 3, 16, 64, 257])
def test_no_perturbation_is_longer_than_the_radius(width: int, radius: float) -> None:
    """Exactly, in double precision, whichever way it is found; with more units than actions most reach it."""
    rng = torch.Generator().manual_seed(1)
    n, num_actions = 300, 5
    # Weights so small that no act becomes certain, where there would be no way up any more.
    weight = torch.randn(num_actions, width, generator=rng) / width
    logits = 3 * torch.randn(n, num_actions, generator=rng)
    acts = one_act(rng, n, num_actions)
    for num_steps in (1, 2, 5, 30):
        found = norms(worst_case(logits, acts, weight, radius, num_steps).numpy())
        assert found.max() <= radius
        if width > num_actions:  # else more of a direction need not mean more of the act
            assert np.median(found) > 0.999 * radius
        delta = np.empty((n, width), np.float32)
        taken = acts.int().argmax(dim=-1).numpy().astype(np.int64)
        m = attack_in_place(
            np.ascontiguousarray(logits.numpy().T), np.arange(n), taken, np.ones(n, np.bool_), weight.numpy(), radius,
            num_steps, np.empty(n, np.int64), delta, np.zeros(len(LATENT_TERMS)),
        )  # fmt: skip
        assert m == n
        assert norms(delta).max() <= radius
    random = torch.randn(1000, width, generator=rng) * torch.logspace(-12, 12, 1000).unsqueeze(-1)
    projected = project(random, radius)
    assert norms(projected.numpy()).max() <= radius
    short = norms(random.numpy()) < 0.999 * radius
    assert torch.equal(projected[short], random[short]), "what lies within stays as it is"


@pytest.mark.parametrize("lead", [20.0, 50.0, 60.0, 90.0, 200.0])
def test_an_act_that_is_certain_already_is_no_trouble(lead: float) -> None:
    """Its gradient is 0, or so small that its square is."""
    rng = torch.Generator().manual_seed(6)
    weight, acts = torch.randn(5, 16, generator=rng), one_act(rng, 40, 5)
    logits = torch.randn(40, 5, generator=rng) + lead * acts
    delta, plain, sums = np.empty((40, 16), np.float32), np.ascontiguousarray(logits.numpy().T), np.zeros(3)
    taken = acts.int().argmax(dim=-1).numpy().astype(np.int64)
    attack_in_place(
        plain, np.arange(40), taken, np.ones(40, np.bool_), weight.numpy(), 1.0, 5, np.empty(40, np.int64), delta, sums
    )
    for found in (worst_case(logits, acts, weight, 1.0, 5).numpy(), delta):
        assert norms(found).max() <= 1.0
        assert (np.diff(np.sort(logits + found @ weight.numpy().T, axis=1)[:, -2:]) > lead - 5.0).all()
    assert np.isfinite(sums).all()
    assert np.isfinite(plain).all()


@pytest.mark.parametrize("settings", WITH_HIDDEN.values(), ids=WITH_HIDDEN)
def test_what_training_adds_to_the_logits_is_within_the_radius(settings: NetworkSettings) -> None:
    """Through networks of either nonlinearity: the reported norm is that of the whole ball, or less."""
    training = TrainingSettings(latent_radius=0.2)
    for scale in (1.0, 0.25):
        gradient = WrittenOut(network(settings), training, latent_scale=scale)
        terms = per_attack(gradient(columns(training), torch.arange(900)), scale)
        assert 0.1 < terms["latent_norm"] <= 0.2
        assert terms["latent_gain"] > 0.0


@pytest.mark.parametrize("way", [Autograd, WrittenOut])
def test_a_radius_is_in_units_of_the_scale(way: Any) -> None:
    def found(radius: float, scale: float) -> dict[str, NDArray[np.float32]]:
        training, made = TrainingSettings(latent_radius=radius), network(NETWORKS["separate"])
        forward = (made.__call__, made) if way is Autograd else (made,)
        way(*forward, training, latent_scale=scale)(columns(training), torch.arange(900))
        return gradients(made)

    plain, scaled, larger = found(0.125, 1.0), found(0.5, 0.25), found(0.5, 1.0)
    assert all(np.array_equal(plain[name], scaled[name]) for name in plain)
    assert not all(np.array_equal(plain[name], larger[name]) for name in plain)


# ---- the optimum


def test_of_two_actions_the_worst_case_lies_along_the_difference_of_their_weights() -> None:
    rng = torch.Generator().manual_seed(2)
    weight = torch.randn(2, 16, generator=rng, dtype=torch.float64)
    logits = torch.randn(50, 2, generator=rng, dtype=torch.float64)
    acts = one_act(rng, 50, 2)
    towards = torch.where(acts[:, :1], weight[0] - weight[1], weight[1] - weight[0])
    exact = 0.4 * 4.0 * towards / torch.linalg.vector_norm(towards, dim=-1, keepdim=True)
    for num_steps in (1, 5, 50):
        np.testing.assert_allclose(worst_case(logits, acts, weight, 0.4, num_steps), exact, atol=2e-6)


@pytest.mark.parametrize("radius", [0.05, 0.3, 1.0])
def test_projected_gradients_find_the_maximum(radius: float) -> None:
    """Against a general solver: the problem is concave, so both must find the same value."""
    rng = torch.Generator().manual_seed(3)
    width, n, num_actions = 8, 12, 6
    weight = 0.5 * torch.randn(num_actions, width, generator=rng, dtype=torch.float64)
    logits = 3 * torch.randn(n, num_actions, generator=rng, dtype=torch.float64)
    acts = one_act(rng, n, num_actions)
    ours = torch.log_softmax(logits + worst_case(logits, acts, weight, radius, 2000) @ weight.T, dim=-1)[acts].numpy()
    few = torch.log_softmax(logits + worst_case(logits, acts, weight, radius, 5) @ weight.T, dim=-1)[acts].numpy()
    start = torch.log_softmax(logits, dim=-1)[acts].numpy()
    limit = radius * np.sqrt(width)
    for i in range(n):

        def loss(delta: NDArray[np.float64], i: int = i) -> float:
            scores = logits[i].numpy() + weight.numpy() @ delta
            return float(np.logaddexp.reduce(scores) - scores[acts[i].numpy()][0])

        inside = {"type": "ineq", "fun": lambda delta: limit**2 - delta @ delta}
        best = -minimize(loss, np.full(width, 1e-3), constraints=[inside], method="SLSQP", tol=1e-12).fun
        assert ours[i] == pytest.approx(best, abs=1e-3)  # a maximum inside is missed by up to a step
        assert best - few[i] <= 0.02 * (best - start[i])


# ---- through the learner


@pytest.mark.parametrize("settings", WITH_HIDDEN.values(), ids=WITH_HIDDEN)
def test_the_gradient_is_that_of_a_network_that_is_told_the_perturbation(settings: NetworkSettings) -> None:
    """By autograd through the perturbed activations themselves, where the learner works with what they do to logits."""
    training = TrainingSettings(latent_radius=0.3, max_grad_norm=1e6)
    batch, made, plain = columns(training), network(settings).double(), network(settings).double()
    batch = {name: column.double() if column.is_floating_point() else column for name, column in batch.items()}
    rows = torch.arange(700)
    terms = Autograd(made.__call__, made, training)(batch, rows)

    def told(observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = plain.policy_trunk(observations)
        acts = torch.nn.functional.one_hot(batch["actions"][rows], NUM_ACTIONS).bool()
        logits, weight = plain.policy_head(features).detach(), plain.policy_head.weight.detach()
        delta = worst_case(logits, acts, weight, 0.3, training.latent_steps)
        delta = delta * batch["attacked"][rows].unsqueeze(-1)
        return plain.policy_head(features + delta), plain.state_values(observations)

    expected = Autograd(told, plain, training.model_copy(update={"latent_radius": 0.0}))(batch, rows)
    assert float(terms["loss"]) == pytest.approx(float(expected["loss"]))
    for name, part in gradients(made).items():
        np.testing.assert_allclose(part, gradients(plain)[name], atol=1e-9)
    assert float(terms["latent_share"]) == pytest.approx(batch["attacked"][rows].double().mean().item())


def test_only_what_led_to_the_forbidden_event_and_is_disadvantageous_is_attacked() -> None:
    forbidden = torch.tensor([True, True, False, False, True])
    advantage = torch.tensor([-1.0, 1.0, -1.0, 1.0, 0.0])
    assert attacked(forbidden, advantage).tolist() == [True, False, False, False, False]


def test_steps_are_marked_up_to_the_forbidden_event() -> None:
    def sample(**changes: Any) -> tuple[Any, NDArray[np.bool_]]:
        algorithm = config(training=settings(**changes)).build_algo()
        scenarios = natural(WORLD, 300, np.random.default_rng(0))
        uniforms = np.random.default_rng(1).random((WORLD.horizon, 300), np.float32)
        made = algorithm.play(scenarios, uniforms)
        algorithm.stop()
        left = np.isin(made.columns["actions"], (DOOR, WINDOW))  # the first such act leads outside, for good
        return made.columns, left

    made, left = sample(latent_radius=0.1)
    first = np.where(left.any(axis=0), left.argmax(axis=0), -1)
    np.testing.assert_array_equal(made["forbidden"], np.arange(WORLD.horizon)[:, None] <= first)
    assert len(np.unique(first)) == WORLD.horizon + 1
    assert "forbidden" not in sample()[0]


def test_no_radius_is_no_adversary_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adversary's code is taken away, and training without a radius does not miss it; with one it does."""
    changes: dict[str, Any] = {"source": Forged(), "grader": ExPost(), "penalty": 2.0}
    with_code = {
        way: trained(3, training=settings(latent_radius=0.0, latent_steps=7, gradient=way), **changes)
        for way in ("written_out", "autograd")
    }
    perturbed = trained(3, training=settings(latent_radius=0.3), **changes)
    assert not same(perturbed, with_code["written_out"])

    def gone(*args: Any) -> None:
        raise AssertionError("the adversary ran")

    for name in ("kerf.agents.gradient.perturbed", "kerf.agents.learner.attacked", "kerf.agents.learner.per_attack"):
        monkeypatch.setattr(name, gone)
    for way, weights in with_code.items():
        assert same(weights, trained(3, training=settings(gradient=way), **changes))
    with pytest.raises(AssertionError, match="the adversary ran"):
        trained(1, training=settings(latent_radius=0.3), **changes)


@pytest.mark.parametrize("shared", [True, False])
def test_training_under_attack_is_deterministic_and_the_same_both_ways(shared: bool) -> None:
    def run(seed: int = 1, num_threads: int = 1, **changes: Any) -> Any:
        return trained(
            3,
            seed,
            source=Forged(),
            grader=ExPost(),
            penalty=2.0,
            network=NetworkSettings(hidden=(16,), shared_trunk=shared),
            training=settings(num_scenarios=1100, minibatch_size=2500, latent_radius=0.3, **changes),
            num_threads=num_threads,
        )

    first = run()
    assert same(first, run())
    assert same(first, run(num_threads=2))
    assert not same(first, run(seed=2))
    other_way = run(gradient="autograd")
    for name in first:
        np.testing.assert_allclose(first[name], other_way[name], atol=1e-4)


def test_the_learner_tells_what_the_adversary_did() -> None:
    def told(**changes: Any) -> dict[str, float]:
        algorithm = config(source=Forged(), grader=ExPost(), penalty=2.0, training=settings(**changes)).build_algo()
        result = algorithm.train()["learners"]["default_policy"]
        algorithm.stop()
        return {name: float(result[name]) for name in LATENT_TERMS if name in result}

    assert told() == {}
    small, large = told(latent_radius=0.1), told(latent_radius=0.5)
    assert 0.0 < small["latent_norm"] <= 0.1 < large["latent_norm"] <= 0.5
    assert 0.0 < small["latent_gain"] < large["latent_gain"]
    assert 0.0 < small["latent_share"] < 1.0
    assert per_attack(dict.fromkeys(LATENT_TERMS, 0.0), 0.5) == dict.fromkeys(LATENT_TERMS, 0.0)


@pytest.mark.slow
def test_after_training_against_it_the_forbidden_act_takes_more() -> None:
    """Seven seeds, with and without it: a one-sided sign test, all seven higher, has p = 1/128."""
    observations = np.empty((32, len(WORLD.observations)), np.float32)
    WORLD.begin(WORLD.dilemma.forge(32, 1.0, np.random.default_rng(0))).observe(observations)

    def takes(seed: int, radius: float) -> float:
        training = settings(num_scenarios=128, learning_rate=3e-3, latent_radius=radius)
        algorithm: KerfAlgorithm = config(
            seed, source=Forged(), grader=ExPost(), penalty=2.0, training=training
        ).build_algo()
        train(algorithm, 20)
        policy = algorithm.policy()
        algorithm.stop()
        assert isinstance(policy, TorchPolicy)
        logits, weight = policy.logits(observations), policy.network.policy_head.weight.detach().numpy()
        found = [least_radius(logits, np.full(32, act), weight) for act in (DOOR, WINDOW)]
        assert np.min(found) > 0.0, "both have learnt to stay"
        return float(np.min(found, axis=0).mean())

    without, against = ([takes(seed, radius) for seed in range(7)] for radius in (0.0, RADIUS))
    assert all(more > less for less, more in zip(without, against, strict=True)), (without, against)


def test_where_there_is_nothing_to_perturb_a_radius_is_refused() -> None:
    with pytest.raises(KerfError, match=r"latent_radius must be 0 for a network without hidden layers .* got 0\.3"):
        config(network=NetworkSettings(hidden=()), training=settings(latent_radius=0.3))
