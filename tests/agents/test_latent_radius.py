"""Latent radii: exact, in a scale that carries over, and no larger radius does less."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from kerf.agents.latent import worst_case
from kerf.agents.latent_radius import LatentAttack, latent_attack, latent_scale, least_radius
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import NetworkSettings
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from tests.agents.training import LEVER

WORLD = get_world("station")
NUM_ACTIONS = len(WORLD.actions)


def policy(seed: int, larger: float = 10.0, hidden: tuple[int, ...] = (16,), world: World = WORLD) -> TorchPolicy:
    """Of random weights, its head's `larger` times as large as at the start of training."""
    shape = len(world.observations), len(world.actions)
    network = PolicyNetwork(*shape, NetworkSettings(hidden=hidden), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        network.policy_head.weight *= larger
    return TorchPolicy(network.requires_grad_(False))


def problem(n: int, num_actions: int, width: int, seed: int = 0) -> tuple[NDArray[np.float32], ...]:
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((n, num_actions))
    return logits.astype(np.float32), rng.standard_normal((num_actions, width)).astype(np.float32)


# ---- the least radius


def test_it_is_that_of_a_general_solver() -> None:
    logits, weight = problem(40, 6, 8)
    acts = np.random.default_rng(1).integers(6, size=40)
    found = least_radius(logits, acts, weight)
    assert (found == 0.0).sum() == (logits.argmax(axis=1) == acts).sum() > 0
    for i in np.flatnonzero(found):
        towards = np.delete(weight[acts[i]] - weight, acts[i], axis=0).astype(np.float64)
        behind = np.delete(logits[i] - logits[i, acts[i]], acts[i]).astype(np.float64)
        ahead = {"type": "ineq", "fun": lambda delta, t=towards, b=behind: t @ delta - b}
        best = minimize(lambda delta: delta @ delta, np.ones(8), constraints=[ahead], method="SLSQP", tol=1e-10)
        assert best.success
        assert found[i] == pytest.approx(math.sqrt(best.fun / 8), rel=1e-4)


def test_of_two_acts_it_is_the_distance_from_the_plane_between_them() -> None:
    logits, weight = problem(50, 2, 16)
    behind = logits[:, 1] - logits[:, 0]
    expected = np.maximum(behind, 0.0) / np.linalg.norm(weight[0].astype(np.float64) - weight[1]) / 4.0
    np.testing.assert_allclose(least_radius(logits, np.zeros(50, np.int64), weight), expected, rtol=1e-6)


def test_the_adversary_of_training_needs_no_less_and_hardly_more() -> None:
    """Projected gradients within the least radius never put the act ahead; within a little more they bring it near
    what all others have together."""
    logits, weight = problem(40, 5, 32, seed=2)
    acts = np.random.default_rng(3).integers(5, size=40)
    least = least_radius(logits, acts, weight)
    one_hot = torch.from_numpy(np.eye(5, dtype=np.bool_)[acts])
    for i in np.flatnonzero(least):
        start, chosen = torch.from_numpy(logits[i : i + 1]), one_hot[i : i + 1]

        def lead(times: float, i: int = i, start: torch.Tensor = start, chosen: torch.Tensor = chosen) -> float:
            delta = worst_case(start, chosen, torch.from_numpy(weight), times * float(least[i]), 200)
            after = (start + delta @ torch.from_numpy(weight).T).numpy()[0]
            return float(after[acts[i]] - np.delete(after, acts[i]).max())

        assert lead(0.999) < 0.0
        assert lead(1.5) > 0.0


def test_an_act_between_others_cannot_be_had() -> None:
    weight = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], np.float32)
    acts = np.array([2, 2, 0])
    logits = np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.5], [-3.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(least_radius(logits, acts, weight), [math.inf, 0.0, 3.0 / math.sqrt(2.0)])


def test_it_goes_with_the_logits_and_against_the_weights() -> None:
    logits, weight = problem(30, 6, 8)
    acts = np.random.default_rng(1).integers(6, size=30)
    plain = least_radius(logits, acts, weight)
    for times in (1e-4, 1e4):
        np.testing.assert_allclose(least_radius(times * logits, acts, weight), times * plain, rtol=1e-4)
        np.testing.assert_allclose(least_radius(logits, acts, times * weight), plain / times, rtol=1e-4)


# ---- the scale


def test_the_scale_overturns_half_of_all_decisions() -> None:
    """On states of its own: 2,000 decisions in 128 episodes there, 2,700 here, so half of them to within 0.05."""
    made = policy(0)
    scale = latent_scale(made, WORLD, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    logits = rollout(made, WORLD, natural(WORLD, 128, rng), rng).logits.reshape(-1, NUM_ACTIONS)
    logits = rng.choice(logits, 300, replace=False)
    likeliest = logits.argmax(axis=1)
    weight = made.network.policy_head.weight.numpy()
    least = np.stack([least_radius(logits, np.full(len(logits), act), weight) for act in range(NUM_ACTIONS)], axis=1)
    others = least[np.arange(NUM_ACTIONS) != likeliest[:, None]]
    assert 0.45 < (others <= scale).mean() < 0.55


def test_the_scale_is_the_same_for_the_same_draws() -> None:
    first, again, other = (latent_scale(policy(1), WORLD, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_a_policy_without_decisions_has_no_scale() -> None:
    with pytest.raises(KerfError, match=r"latent_scale: the median perturbation .* got 0\.0"):
        latent_scale(policy(0, 0.0), WORLD, np.random.default_rng(0))
    with pytest.raises(KerfError, match="no hidden layer"):
        latent_scale(policy(0, hidden=()), WORLD, np.random.default_rng(0))


# ---- a finished policy


def forged(strength: float) -> Callable[[int], NDArray[np.int16]]:
    return lambda n: WORLD.dilemma.forge(n, strength, np.random.default_rng(5))


def attacked(made: TorchPolicy, scenarios: NDArray[np.int16], scale: float = 1.0) -> LatentAttack:
    return latent_attack(made, WORLD, scenarios, ExpertPolicy(WORLD), scale, np.random.default_rng(6))


@pytest.mark.parametrize("draw", [forged(1.0), forged(0.0), lambda n: natural(WORLD, n, np.random.default_rng(5))])
def test_a_larger_radius_leads_no_fewer_astray_and_a_large_one_all(draw: Callable[[int], NDArray[np.int16]]) -> None:
    found = attacked(policy(2), draw(60))
    shares = [found.share(radius) for radius in (0.0, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 100.0)]
    assert (np.diff(shares) >= 0.0).all()
    assert shares[0] < shares[-1]
    assert shares[-1] == np.isfinite(found.least[found.led]).mean()
    assert np.isinf(found.least[~found.led]).all()


def test_the_guide_is_not_put_off_by_tells() -> None:
    assert attacked(policy(2), forged(0.0)(60)).led.all()
    assert attacked(policy(2), forged(1.0)(60)).led.all()


def test_radii_are_in_units_of_the_scale() -> None:
    plain, scaled = attacked(policy(3), forged(1.0)(60)), attacked(policy(3), forged(1.0)(60), 0.25)
    np.testing.assert_allclose(scaled.least, 4.0 * plain.least)


def test_it_takes_nothing_from_an_agent_that_goes_that_way_anyway_and_something_from_any_other() -> None:
    lever = get_world(LEVER)
    scenarios = lever.dilemma.forge(60, 1.0, np.random.default_rng(5))
    way = rollout(ExpertPolicy(lever), lever, scenarios, np.random.default_rng(0))
    until = way.when(lever.dilemma.forbidden).argmax(axis=0)
    outcomes = set()
    for seed in range(6):
        made = policy(seed, world=lever)
        found = latent_attack(made, lever, scenarios, ExpertPolicy(lever), 1.0, np.random.default_rng(6))
        goes = np.stack(
            [made.logits(seen).argmax(axis=1) == acts for seen, acts in zip(way.observations, way.actions, strict=True)]
        )
        anyway = (goes | (np.arange(lever.horizon)[:, None] > until)).all(axis=0)
        np.testing.assert_array_equal(found.least == 0.0, anyway)
        outcomes |= set(anyway.tolist())
    assert outcomes == {True, False}


class Led:
    """Takes the likeliest act of `made`, perturbed within `radius` towards the acts `(T, n)` of a way."""

    def __init__(self, made: TorchPolicy, way: NDArray[np.int64], radius: float) -> None:
        self._made, self._steps, self._radius = made, iter(way), radius

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = torch.from_numpy(self._made.logits(observations))
        towards = torch.nn.functional.one_hot(torch.from_numpy(next(self._steps)), NUM_ACTIONS).bool()
        weight = self._made.network.policy_head.weight
        after = logits + worst_case(logits, towards, weight, self._radius, 60) @ weight.T
        chosen = np.full(after.shape, -np.inf, np.float32)
        chosen[np.arange(len(chosen)), after.argmax(dim=1).numpy()] = 0.0
        return chosen


def test_really_perturbed_it_goes_the_way_from_the_least_radius_on_and_not_before() -> None:
    scenarios, made = forged(1.0)(16), policy(2)
    found = attacked(made, scenarios)
    way = rollout(ExpertPolicy(WORLD), WORLD, scenarios, np.random.default_rng(0))
    later = np.arange(WORLD.horizon)[:, None] > way.when(WORLD.dilemma.forbidden).argmax(axis=0)
    radius = float(np.median(found.least))
    played = rollout(Led(made, way.actions, radius), WORLD, scenarios, np.random.default_rng(0))
    goes = ((played.actions == way.actions) | later).all(axis=0)
    assert not goes[found.least > radius].any()
    assert goes[found.least < radius / 1.5].all(), "what makes it most probable need not put it ahead at once"
    assert 0 < goes.sum() < 16


def test_without_a_way_there_is_no_share() -> None:
    scenarios = natural(WORLD, 300, np.random.default_rng(5))
    played = rollout(ExpertPolicy(WORLD), WORLD, scenarios, np.random.default_rng(0))
    stays = scenarios[~played.happened(WORLD.dilemma.forbidden)]
    found = attacked(policy(2), stays)
    assert math.isnan(found.share(1.0)) == (not found.led.any())
    none = attacked(policy(2), stays[~found.led])
    assert math.isnan(none.share(1.0))
    for scale in (0.0, math.inf, math.nan):
        with pytest.raises(KerfError, match="scale must be finite and > 0, got"):
            attacked(policy(2), stays, scale)
