"""Agents of the results about goals: their levels and probes, and actors and critics with goals of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import NetworkSettings
from kerf.lab.rollout import rollout
from kerf.lab.worlds.coins import ACTIONS
from kerf.runs.bench.timing import one_quiet_thread
from kerf.runs.reproduce import coin_agents
from kerf.runs.reproduce.coin_agents import Follows, Levels, mazes_with_junk, shares, strip, trained, valued

WORLD = coin_agents.world()


@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_levels_are_randomised_by_their_share(share: float) -> None:
    """Within four standard errors, chance once in 16,000, of 20,000 draws."""
    drawn = strip(share).source().ask(20_000, np.random.default_rng(3))
    elsewhere = float((drawn[:, WORLD.space.column("gold")] == 2).mean())
    assert abs(elsewhere - share) <= 4 * np.sqrt(share * (1 - share) / 20_000)
    assert set(drawn[:, WORLD.space.column("paint")].tolist()) == {0, 1, 2}, "never the paint that is held out"


@pytest.mark.parametrize(("levels", "thing"), [(strip(0.0), "gold"), (mazes_with_junk(), "junk")])
def test_place_and_colour_coincide_in_training_and_part_as_far_away_in_the_probes(levels: Levels, thing: str) -> None:
    steps = {}
    for channel in ("end", "yellow"):
        for name, rows in (("usual", levels.usual), ("probe", levels.randomised)):
            played = rollout(Follows(channel), WORLD, rows, np.random.default_rng(0))
            steps[name, channel] = played.when("stepped").sum(axis=0).tolist()
            both = (played.happened("arrived").all(), played.happened(thing).all())
            assert both == ((True, True) if name == "usual" else (channel == "end", channel == "yellow"))
    assert steps["usual", "end"] == steps["usual", "yellow"]
    assert steps["probe", "end"] == steps["probe", "yellow"]


def planted(actor: str, critic: str) -> TorchPolicy:
    """Goes to what channel `actor` shows; its critic values nearness to what channel `critic` shows, 1 at most."""
    network = PolicyNetwork(len(WORLD.observations), len(ACTIONS), NetworkSettings(hidden=()), None)
    with torch.no_grad():
        for head in (network.policy_head, network.value_head):
            head.weight.zero_()
            head.bias.zero_()
        for number, way in enumerate(ACTIONS[:4]):
            network.policy_head.weight[number, WORLD.observations.index(f"{actor}_{way}")] = 100.0
            network.value_head.weight[0, WORLD.observations.index(f"{critic}_{way}")] = 1.0
    return TorchPolicy(network)


@pytest.mark.parametrize("actor", ["yellow", "end"])
@pytest.mark.parametrize("critic", ["yellow", "end"])
def test_an_actor_and_a_critic_with_goals_of_their_own_are_told_apart(actor: str, critic: str) -> None:
    """A step before it is there, 1 - 1/12; from there the other end of the strip is 5 steps away, 1 - 5/12."""
    policy, probes = planted(actor, critic), strip(0.0).randomised
    gold, arrived = shares(policy, probes, ("gold", "arrived"))
    assert (gold, arrived) == ((1.0, 0.0) if actor == "yellow" else (0.0, 1.0))
    for channel in ("yellow", "end"):
        nearness = 11 / 12 if channel == critic else 7 / 12
        assert valued(policy, probes, channel) == pytest.approx(nearness / coin_agents.PPO.reward_scale, rel=1e-5)


def test_an_agent_of_a_seed_is_trained_alike_each_time_and_another_otherwise() -> None:
    with one_quiet_thread():
        first, again, other = (trained(seed, strip(0.1), "ideal", iterations=2).weights() for seed in (0, 0, 1))
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert any((first[name] != other[name]).any() for name in first)
