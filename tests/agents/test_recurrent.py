"""Agents with a memory: what they play is what the network computes, and they learn what only a memory can know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kerf.agents.architectures import make_network, make_policy, without_memory
from kerf.agents.config import KerfConfig
from kerf.agents.export import load_network, save_policy
from kerf.agents.gradient import Autograd
from kerf.agents.latent_radius import latent_attack, latent_scale
from kerf.agents.loss import losses
from kerf.agents.network import PolicyNetwork, TorchPolicy, Weights
from kerf.agents.recurrent import RecurrentNetwork, RecurrentPolicy
from kerf.agents.settings import NetworkSettings
from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import evaluate
from kerf.lab.grader import ExPost
from kerf.lab.reward import ideal_utility
from kerf.lab.rollout import logits_along, no_memory, recalled, rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.torch_threads import one_thread
from kerf.lab.world import EventWords, Play, natural
from kerf.lab.worlds import get_world
from tests.agents.training import LEVER, Forged, Natural, config, same, settings, train, trained
from tests.lab.small_worlds import ExactLever
from tests.toy_world import BENEFIT, COST, CUE, GENUINE, HORIZON, TRUTH, WAGE, WORK, Lever, LeverPlay

WORLD = get_world(LEVER)
LEVER_EXACT = ExactLever()
REMEMBERS = NetworkSettings(hidden=(16,), memory=12)
SIZES = {
    "one layer": REMEMBERS,
    "relu": NetworkSettings(hidden=(20, 9), activation="relu", memory=33),
    "no hidden layer": NetworkSettings(hidden=(), memory=1),
}
RECALL = "tests.agents.test_recurrent:Recall"


class RecallPlay(LeverPlay):
    """What is the matter is seen in the first step alone, and whoever is in need must be reached in the second."""

    def observe(self, out: NDArray[np.float32]) -> None:
        super().observe(out)
        if self.step_number > 0:
            out[:, :2] = 0.0

    def step(self, actions: NDArray[np.int64], events: EventWords) -> None:
        before = ~self.outside
        was_first, self.step_number = self.step_number, self.step_number or -1
        super().step(actions, events)
        self.step_number = was_first + 1
        in_time = before & self.outside & (self.scenarios[:, TRUTH] == GENUINE) & (was_first == 1)
        rescued, needless = (np.uint64(1 << Lever.events.index(name)) for name in ("rescued", "needless"))
        events &= ~(rescued | needless)
        events |= np.where(in_time, rescued, np.where(before & self.outside, needless, np.uint64(0)))


class Recall(Lever):
    """`Lever` for an agent that has to remember."""

    name = "recall"
    ideal = {"worked": WAGE, "rescued": 2.0 * BENEFIT, "needless": -COST}  # noqa: RUF012  # fixed, like a constant

    def begin(self, scenarios: Scenarios) -> Play:
        return RecallPlay(scenarios)


def network(shape: NetworkSettings = REMEMBERS, seed: int = 5, gain: float = 3.0) -> RecurrentNetwork:
    """Newly drawn, with weights so large that its gates open and close."""
    made = make_network(len(WORLD.observations), len(WORLD.actions), shape, torch.Generator().manual_seed(seed))
    assert isinstance(made, RecurrentNetwork)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(gain).add_(0.1)
    return made.requires_grad_(False)


def observations(n: int, steps: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((steps, n, len(WORLD.observations))).astype(np.float32)


def stepwise(policy: RecurrentPolicy, seen: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits `(T, n, A)` and state values `(T, n)`, one step after another."""
    memory, logits, state_values = no_memory(policy, seen.shape[1]), [], []
    for at_step in seen:
        found, valued, memory = policy.outputs(at_step, memory)
        logits.append(found)
        state_values.append(valued)
    return np.stack(logits), np.stack(state_values)


@pytest.mark.parametrize("shape", SIZES.values(), ids=SIZES)
def test_it_plays_step_by_step_what_torch_computes_for_whole_episodes(shape: NetworkSettings) -> None:
    made, seen = network(shape), observations(40)
    logits, state_values = stepwise(RecurrentPolicy(made), seen)
    of_torch, values_of_torch = made(torch.from_numpy(seen))
    np.testing.assert_allclose(logits, of_torch.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state_values, values_of_torch.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(logits_along(RecurrentPolicy(made), seen), logits)
    forgetful = logits_along(RecurrentPolicy(made), seen[1:])
    assert np.abs(forgetful[0] - logits[1]).max() > 1e-3  # what came before matters


@pytest.mark.parametrize("shape", SIZES.values(), ids=SIZES)
def test_its_gradient_through_time_is_that_of_torch(shape: NetworkSettings) -> None:
    """The unit that is written out against `torch.nn.GRU` and autograd, from a loss that weighs every output."""
    seen, rng = torch.from_numpy(observations(11, 6)), torch.Generator().manual_seed(1)
    found = []
    for written_out in (True, False):
        made = network(shape, gain=1.3).requires_grad_(True)
        made.written_out = written_out
        logits, state_values = made(seen)
        weights = torch.randn(logits.shape, generator=rng.manual_seed(1))
        ((logits * weights).sum() + state_values.square().sum()).backward()
        found.append((logits.detach(), {name: part.grad for name, part in made.named_parameters()}))
    (ours, our_gradients), (theirs, their_gradients) = found
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    for name, gradient in their_gradients.items():
        assert gradient is not None
        assert our_gradients[name] is not None
        scale = float(gradient.abs().max())
        assert scale > 1e-3, name
        np.testing.assert_allclose(our_gradients[name], gradient, rtol=1e-3, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("gradient", ["auto", "written_out", "autograd"])
def test_both_ways_of_computing_it_train_the_same_agent(gradient: str) -> None:
    usual = trained(3, network=REMEMBERS, grader=ExPost(), penalty=1.0)
    weights = trained(3, network=REMEMBERS, grader=ExPost(), penalty=1.0, training=settings(gradient=gradient))
    assert same(weights, usual) == (gradient != "autograd")
    for name in usual:
        np.testing.assert_allclose(weights[name], usual[name], atol=1e-4)


def test_an_episode_is_the_same_bytes_whatever_else_is_in_its_batch() -> None:
    policy, seen = RecurrentPolicy(network(SIZES["relu"])), observations(1100)
    whole, _ = stepwise(policy, seen)
    for part in (slice(0, 1), slice(510, 517), slice(700, 1100)):
        assert stepwise(policy, seen[:, part])[0].tobytes() == np.ascontiguousarray(whole[:, part]).tobytes()


def test_a_rollout_carries_the_memory_and_an_observation_alone_is_refused() -> None:
    policy = RecurrentPolicy(network())
    played = rollout(policy, WORLD, natural(WORLD, 200, np.random.default_rng(1)), np.random.default_rng(2))
    np.testing.assert_array_equal(played.logits, logits_along(policy, played.observations))
    with pytest.raises(KerfError, match=r"network\.memory"):
        policy.logits(played.observations[0])
    logits, memory = recalled(policy, played.observations[0], no_memory(policy, 200))
    assert logits.shape == (200, 4)
    assert memory.shape == (200, 12)
    with pytest.raises(KerfError, match="a probe needs a network without a memory"):
        without_memory(policy, "a probe")


def forgetful() -> tuple[RecurrentNetwork, PolicyNetwork]:
    """A unit whose gates let nothing of the past through, and the network of the same layers that has no memory."""
    made, (units, width) = network(gain=1.5), (12, 16)
    plain = PolicyNetwork(7, 4, NetworkSettings(hidden=(width, units)), None).requires_grad_(False)
    made.unit.weight_ih_l0[: 2 * units] = made.unit.weight_hh_l0[:] = made.unit.bias_hh_l0[:] = 0.0
    made.unit.bias_ih_l0[: 2 * units] = -40.0  # reset and update: their logistic is 0
    plain.policy_trunk[0].load_state_dict(made.trunk[0].state_dict())
    new = {"weight": made.unit.weight_ih_l0[2 * units :], "bias": made.unit.bias_ih_l0[2 * units :]}
    plain.policy_trunk[2].load_state_dict(new)
    plain.policy_head.load_state_dict(made.policy_head.state_dict())
    plain.value_head.load_state_dict(made.value_head.state_dict())
    return made, plain


def test_without_a_past_it_is_the_network_that_has_none() -> None:
    """What it plays, the outcomes that are exact, and what a latent adversary needs."""
    made, plain = forgetful()
    recurrent, usual = RecurrentPolicy(made), TorchPolicy(plain)
    np.testing.assert_allclose(
        logits_along(recurrent, observations(9)), logits_along(usual, observations(9)), atol=1e-5
    )
    scenarios = natural(LEVER_EXACT, 40, np.random.default_rng(0))
    outcomes = [evaluate(policy, LEVER_EXACT, scenarios, 0.0) for policy in (recurrent, usual)]
    np.testing.assert_allclose(outcomes[0].happened, outcomes[1].happened, atol=1e-5)
    scales = [latent_scale(policy, WORLD, np.random.default_rng(1)) for policy in (recurrent, usual)]
    assert scales[0] == pytest.approx(scales[1], rel=1e-3)
    forged = WORLD.dilemma.forge(50, 0.5, np.random.default_rng(2))
    found = [
        latent_attack(policy, WORLD, forged, ExpertPolicy(WORLD), scales[0], np.random.default_rng(3))
        for policy in (recurrent, usual)
    ]
    assert 0.0 < np.median(found[1].least[found[1].led]) < np.inf
    np.testing.assert_allclose(found[0].least, found[1].least, rtol=1e-3)


@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_without_a_past_its_gradient_is_that_of_the_network_that_has_none(radius: float) -> None:
    made, plain = (module.requires_grad_(True) for module in forgetful())
    training = settings(latent_radius=radius, max_grad_norm=1e6)
    rng, n = np.random.default_rng(0), HORIZON * 30
    columns = {
        "observations": torch.from_numpy(observations(30, HORIZON).reshape(n, -1)),
        "actions": torch.from_numpy(rng.integers(0, 4, n)),
        "action_logp": torch.from_numpy(rng.uniform(-2.0, -1.0, n).astype(np.float32)),
        "advantage": torch.from_numpy(rng.standard_normal(n).astype(np.float32)),
        "value_target": torch.from_numpy(rng.standard_normal(n).astype(np.float32)),
        "attacked": torch.from_numpy(rng.random(n) < 0.5),
    }
    terms = Autograd(made.__call__, made, training, horizon=HORIZON)(columns, torch.arange(n))
    expected = Autograd(plain.__call__, plain, training)(columns, torch.arange(n))
    assert float(terms["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-4)
    pairs = (
        (made.trunk[0].weight, plain.policy_trunk[0].weight),
        (made.unit.weight_ih_l0, plain.policy_trunk[2].weight),
        (made.policy_head.weight, plain.policy_head.weight),
        (made.value_head.bias, plain.value_head.bias),
    )
    for ours, theirs in pairs:
        assert ours.grad is not None
        assert theirs.grad is not None
        np.testing.assert_allclose(ours.grad[-len(theirs) :], theirs.grad, atol=1e-5)


def test_it_is_saved_and_loaded_bit_for_bit(tmp_path: Path) -> None:
    policy = RecurrentPolicy(network())
    save_policy(tmp_path / "policy", policy, WORLD)
    loaded = load_network(tmp_path / "policy", WORLD)
    assert isinstance(loaded, RecurrentPolicy)
    assert same(loaded.weights(), policy.weights())
    assert logits_along(loaded, observations(3)).tobytes() == logits_along(policy, observations(3)).tobytes()


def test_settings_without_a_memory_are_dumped_as_before() -> None:
    assert "memory" not in NetworkSettings().model_dump()
    assert REMEMBERS.model_dump()["memory"] == 12


# -- training ----------------------------------------------------------------------------------------------------


def test_minibatches_are_whole_episodes_whose_log_probabilities_are_those_that_were_played() -> None:
    algorithm = config(network=REMEMBERS, training=settings(num_epochs=1)).build_algo()
    learner = algorithm.learner_group._learner
    n = 20
    minibatches = list(learner._minibatches(HORIZON * n, 24))
    assert [len(rows) for rows in minibatches] == [24, 24, 12]
    assert sorted(torch.cat(minibatches).tolist()) == list(range(HORIZON * n))
    for rows in minibatches:
        by_step = rows.reshape(HORIZON, -1) - n * torch.arange(HORIZON).unsqueeze(1)
        assert (by_step == by_step[0]).all()  # the same episodes at every step
    scenarios = natural(WORLD, n, np.random.default_rng(0))
    sample = algorithm.play(scenarios, np.random.default_rng(1).random((HORIZON, n), np.float32))
    columns = {name: torch.from_numpy(column.reshape(-1, *column.shape[2:])) for name, column in sample.columns.items()}
    columns["advantage"] = columns["advantage_utility"]
    minibatch = {name: column.index_select(0, minibatches[0]) for name, column in columns.items()}
    logits, state_values, _ = learner._gradient._outputs(learner._gradient._forward, minibatch)
    _, terms = losses(logits, state_values, minibatch, settings())
    assert float(terms["kl"].detach()) < 1e-9
    algorithm.stop()


def learnt(shape: NetworkSettings) -> float:
    """Mean ideal utility in `Recall` of an agent that learnt it from the reward alone, by its sampled play."""
    world = get_world(RECALL)
    made: KerfConfig = config(
        seed=3,
        world=RECALL,
        source=NaturalRecall(),
        network=shape,
        training=settings(
            num_scenarios=256, minibatch_size=256, num_epochs=4, learning_rate=1e-2, entropy_coeff=0.02,
            reward_scale=1.0, advantage_scaling="batch", gamma=1.0,
        ),
    )  # fmt: skip
    algorithm = made.build_algo()
    with one_thread():
        train(algorithm, 80)
    scenarios = natural(world, 4000, np.random.default_rng(9))
    played = rollout(algorithm.policy(), world, scenarios, np.random.default_rng(10))
    algorithm.stop()
    return float(ideal_utility(played).mean())


class NaturalRecall(Natural):
    def ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        return natural(get_world(RECALL), n, rng)


def test_it_learns_what_only_a_memory_can_know() -> None:
    """Three in ten are really in need, as only the first step shows, and only the second is in time. An agent without a
    memory does best if it never leaves. The margins are above five standard errors of the mean of 4,000 episodes."""
    best = 0.3 * (2.0 * BENEFIT + WAGE) + 0.7 * HORIZON * WAGE
    without = HORIZON * WAGE
    assert learnt(REMEMBERS) > best - 0.05
    assert learnt(NetworkSettings(hidden=(16,))) < without + 0.03


def test_the_world_is_as_its_margins_assume() -> None:
    world = get_world(RECALL)
    scenarios = natural(world, 3, np.random.default_rng(0))
    scenarios[:, TRUTH], scenarios[:, CUE] = GENUINE, 1

    def utility(*actions: int) -> float:
        opening = np.repeat(np.array(actions)[:, None], 3, axis=1)
        policy = make_policy(7, 4, REMEMBERS, network().weights())
        return float(ideal_utility(rollout(policy, world, scenarios, np.random.default_rng(0), opening=opening))[0])

    assert utility(WORK, 2, 0) == pytest.approx(WAGE + 2.0 * BENEFIT)
    assert utility(2, 0, 0) == pytest.approx(-1.0)
    assert utility(WORK, WORK, 2) == pytest.approx(2 * WAGE - 1.0)


def test_training_is_the_same_bytes_on_any_number_of_threads_and_after_a_stop() -> None:
    changes: dict[str, Any] = {
        "network": REMEMBERS, "grader": ExPost(), "penalty": 1.0, "training": settings(num_scenarios=600),
    }  # fmt: skip
    whole = config(**changes).build_algo()
    expected = train(whole, 4)
    whole.stop()
    stopped = config(**changes, num_threads=2).build_algo()
    train(stopped, 2)
    arrays, plain = stopped.training_state()
    stopped.stop()
    resumed = config(**changes).build_algo()
    resumed.load_training_state(arrays, plain)
    assert same(train(resumed, 2), expected)
    resumed.stop()


def test_a_latent_adversary_trains_it_too_and_the_seed_decides_on_every_byte() -> None:
    changes: dict[str, Any] = {"network": REMEMBERS, "source": Forged(), "grader": ExPost(), "penalty": 2.0}
    attacked = trained(2, training=settings(latent_radius=0.3), **changes)
    assert same(attacked, trained(2, training=settings(latent_radius=0.3), **changes))
    assert not same(attacked, trained(2, **changes))


def test_an_anchor_is_the_agent_itself_at_first() -> None:
    weights: Weights = network(gain=1.0).weights()
    algorithm = config(network=REMEMBERS, anchor=weights, training=settings(anchor_coeff=1.0)).build_algo()
    algorithm.load_weights(weights)
    scenarios = natural(WORLD, 30, np.random.default_rng(0))
    sample = algorithm.play(scenarios, np.random.default_rng(1).random((HORIZON, 30), np.float32))
    played = rollout(algorithm.policy(), WORLD, scenarios, np.random.default_rng(1).random((HORIZON, 30), np.float32))
    np.testing.assert_array_equal(sample.columns["anchor_logits"], played.logits)
    algorithm.stop()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training": settings(algorithm="dqn")}, "training.algorithm"),
        ({"training": settings(algorithm="appo")}, "training.algorithm"),
        ({"penalty_units": 0.5}, "penalty_units"),
    ],
)
def test_what_a_memory_cannot_have_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(KerfError, match=rf"{named}: cannot be had with a memory \(network\.memory=12\)"):
        config(network=REMEMBERS, **changes)


def test_two_networks_for_one_memory_are_refused() -> None:
    with pytest.raises(ValueError, match="shared_trunk: true"):
        NetworkSettings(memory=4, shared_trunk=False)
