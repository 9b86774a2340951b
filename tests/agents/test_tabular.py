"""Tables: they play as what they were copied from, come back from the disk bit for bit, and refuse the unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kerf.agents.export import load_policy, read_card, save_policy
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.agents.settings import NetworkSettings
from kerf.agents.tabular import LOGITS, Situations, TablePolicy, listed
from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.exact.exact_battery import ExactBattery
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.settings import disjoint_by_one
from tests.agents.training import LEVER

WORLDS = ("dilemma", "dilemma_two", "dilemma_one")


def network(world: World, seed: int = 0, gain: float = 1000.0) -> TorchPolicy:
    """A policy that prefers some actions, the more clearly the larger `gain`, by which its initial head is scaled."""
    made = PolicyNetwork(
        len(world.observations),
        len(world.actions),
        NetworkSettings(hidden=(32,)),
        torch.Generator().manual_seed(seed),
    )
    with torch.no_grad():
        made.policy_head.weight.mul_(gain)
    return TorchPolicy(made)


@pytest.fixture(scope="module")
def twin() -> TablePolicy:
    world = get_world("dilemma_two")
    return TablePolicy.copy_of(network(world), world)


@pytest.mark.parametrize("name", WORLDS)
def test_situations_all_look_different_and_each_is_found(name):
    world = get_world(name)
    situations = Situations(world)
    assert len(np.unique(situations.observations, axis=0)) == len(situations) == len(world.situations())
    order = np.random.default_rng(0).permutation(len(situations))
    assert np.array_equal(situations.rows(situations.observations[order]), order)
    assert len(situations.rows(situations.observations[:0])) == 0


def test_minus_zero_looks_like_zero():
    situations = Situations(get_world("dilemma_one"))
    turned = np.where(situations.observations == 0.0, np.float32(-0.0), situations.observations)
    assert np.signbit(turned).any()
    assert np.array_equal(situations.rows(turned), np.arange(len(situations)))


@pytest.mark.parametrize("name", WORLDS)
def test_the_twin_plays_as_its_network(name):
    world = get_world(name)
    original = network(world)
    twin = TablePolicy.copy_of(original, world)
    seen = Situations(world).observations
    chances = action_probs(original, seen)
    assert chances.max() > 0.9, "a policy that is nearly uniform would show little"
    np.testing.assert_allclose(action_probs(twin, seen), chances, rtol=0, atol=1e-6)
    few = np.ascontiguousarray(seen[::97])
    np.testing.assert_allclose(action_probs(twin, few), action_probs(original, few), rtol=0, atol=1e-6)
    scenarios = natural(world, 500, np.random.default_rng(1))
    of_twin, of_network = (rollout(policy, world, scenarios, np.random.default_rng(2)) for policy in (twin, original))
    assert np.array_equal(of_twin.actions, of_network.actions)


def test_the_twin_has_the_scores_of_its_network():
    world = get_world("dilemma_two")
    battery = ExactBattery(world, (0.0, 1.0))
    original = network(world)
    scores, twins = battery.measure(original), battery.measure(TablePolicy.copy_of(original, world))
    assert 0.01 < scores["value/care"] < 0.99
    assert twins == pytest.approx(scores, abs=1e-6)


def test_the_expert_can_be_written_down():
    world = get_world("dilemma_two")
    seen = Situations(world).observations
    copied = TablePolicy.copy_of(ExpertPolicy(world), world)
    assert np.array_equal(copied.logits(seen).argmax(axis=1), world.expert(seen))
    assert np.isneginf(copied.weights()[LOGITS]).any()


@pytest.mark.parametrize(("field", "seen"), [("drill", "drill=1"), ("revealed", "told_false=1")])
def test_what_is_no_situation_is_refused(twin, field, seen):
    world = twin.situations.world
    scenarios = world.dilemma.forge(3, 0.0, np.random.default_rng(0))
    rollout(twin, world, scenarios, np.random.default_rng(0))
    scenarios[1, world.space.column(field)] = 1
    with pytest.raises(KerfError, match=rf"rows for its 768 situations alone.*channel=1.*{seen}"):
        rollout(twin, world, scenarios, np.random.default_rng(0))


def test_an_observation_that_differs_in_the_last_bit_is_refused(twin):
    seen = twin.situations.observations[5:6].copy()
    twin.logits(seen)
    seen[0, 0] = np.nextafter(seen[0, 0], np.float32(2.0))
    with pytest.raises(KerfError, match="was shown another one"):
        twin.logits(seen)
    seen[0, 0] = np.nan
    with pytest.raises(KerfError, match="was shown another one"):
        twin.logits(seen)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_no_distribution_is_refused(twin, wrong):
    weights = twin.weights()[LOGITS]
    weights[7] = wrong
    with pytest.raises(KerfError, match="no distribution"):
        TablePolicy(twin.situations, weights)


def test_a_table_of_another_shape_is_refused(twin):
    with pytest.raises(KerfError, match=r"must have shape \(768, 4\), got \(767, 4\)"):
        TablePolicy(twin.situations, twin.weights()[LOGITS][:-1])


def test_neither_side_of_a_table_shares_memory(twin):
    weights = twin.weights()[LOGITS]
    table = TablePolicy(twin.situations, weights)
    weights[:] = 0.0
    table.weights()[LOGITS][:] = 0.0
    assert table.weights()[LOGITS].tobytes() == twin.weights()[LOGITS].tobytes()


class TwoSteps(DilemmaWorld):
    horizon = 2


def test_a_world_that_lists_no_situations_or_has_more_steps_is_refused():
    for name in ("station", LEVER):
        with pytest.raises(KerfError, match="does not list its situations"):
            listed(get_world(name))
    with pytest.raises(KerfError, match="has 2 steps; tables and exact gradients need a world of one"):
        TablePolicy.copy_of(network(get_world("dilemma_one")), TwoSteps(disjoint_by_one()))


# ---- on disk


def edit(path: Path, **changes: Any) -> None:
    card = path.with_name(path.name + ".json")
    plain = json.loads(card.read_text()) | changes
    card.write_text(json.dumps({key: value for key, value in plain.items() if value is not None}))


def test_a_table_comes_back_bit_for_bit(twin, tmp_path):
    world = twin.situations.world
    save_policy(tmp_path / "twin", twin, world, {"seed": 3})
    loaded = load_policy(tmp_path / "twin", world)
    assert isinstance(loaded, TablePolicy)
    assert loaded.weights()[LOGITS].tobytes() == twin.weights()[LOGITS].tobytes()
    save_policy(tmp_path / "again", loaded, world, {"seed": 3})
    for suffix in (".json", ".safetensors"):
        assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"twin{suffix}").read_bytes()


def test_a_table_holds_more_digits_than_it_plays_with(twin, tmp_path):
    finer = TablePolicy(twin.situations, twin.weights()[LOGITS] + 1e-12)
    save_policy(tmp_path / "finer", finer, twin.situations.world)
    loaded = load_policy(tmp_path / "finer", twin.situations.world)
    assert loaded.weights()[LOGITS].tobytes() == finer.weights()[LOGITS].tobytes() != twin.weights()[LOGITS].tobytes()


def test_the_card_says_what_a_policy_is(twin, tmp_path):
    world = twin.situations.world
    save_policy(tmp_path / "table", twin, world)
    save_policy(tmp_path / "network", network(world), world)
    assert "network" not in read_card(tmp_path / "table")
    assert "table" not in read_card(tmp_path / "network")
    assert isinstance(load_policy(tmp_path / "network", world), TorchPolicy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": {"situations": "0" * 64}}, "its situations are not those of world 'dilemma_two'"),
        ({"table": {}}, "not an exported policy: 'situations'"),
        ({"table": []}, "not an exported policy"),
        ({"table": None}, "and one of network, recurrent, table"),
        ({"network": {}}, "and one of network, recurrent, table"),
    ],
)
def test_a_bad_card_is_refused(twin, tmp_path, changes, message):
    save_policy(tmp_path / "twin", twin, twin.situations.world)
    edit(tmp_path / "twin", **changes)
    with pytest.raises(KerfError, match=message):
        load_policy(tmp_path / "twin", twin.situations.world)


def test_the_weights_of_a_network_are_no_table(twin, tmp_path):
    world = twin.situations.world
    save_policy(tmp_path / "network", network(world), world)
    edit(tmp_path / "network", network=None, table=twin.card())
    with pytest.raises(KerfError, match="expected the tensor 'logits'"):
        load_policy(tmp_path / "network", world)
