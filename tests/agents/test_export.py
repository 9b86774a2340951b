"""Exported policies come back bit for bit, and anything else is refused with a sentence."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from kerf.agents.export import load_policy, read_card, save_policy
from kerf.agents.network import PolicyNetwork, TorchPolicy
from kerf.lab.errors import KerfError
from kerf.lab.worlds import get_world
from tests.agents.training import LEVER, NETWORK, same
from tests.toy_world import Lever

WORLD = get_world(LEVER)


@pytest.fixture
def policy() -> TorchPolicy:
    return TorchPolicy(PolicyNetwork(7, 4, NETWORK, torch.Generator().manual_seed(0)))


@pytest.fixture
def path(tmp_path: Path, policy: TorchPolicy) -> Path:
    save_policy(tmp_path / "aligned.v1", policy, WORLD, {"seed": 3})
    return tmp_path / "aligned.v1"


def edit(path: Path, **changes: Any) -> None:
    card = path.with_name(path.name + ".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def test_round_trip_is_exact(path: Path, policy: TorchPolicy) -> None:
    loaded = load_policy(path, WORLD)
    assert same(loaded.weights(), policy.weights())
    observations = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    assert loaded.logits(observations).tobytes() == policy.logits(observations).tobytes()
    assert read_card(path)["metadata"] == {"seed": 3}
    assert sorted(file.name for file in path.parent.iterdir()) == ["aligned.v1.json", "aligned.v1.safetensors"]


def test_same_policy_same_bytes(path: Path, policy: TorchPolicy, tmp_path: Path) -> None:
    save_policy(tmp_path / "again", policy, WORLD, {"seed": 3})
    for suffix in (".json", ".safetensors"):
        assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"aligned.v1{suffix}").read_bytes()


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(KerfError, match=r"nowhere\.json: cannot be read: No such file"):
        load_policy(path.with_name("nowhere"), WORLD)
    path.with_name("aligned.v1.safetensors").unlink()
    with pytest.raises(KerfError, match=r"aligned\.v1\.safetensors: cannot be read"):
        load_policy(path, WORLD)


def test_a_changed_byte_is_refused(path: Path) -> None:
    file = path.with_name("aligned.v1.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(KerfError, match=r"sha256 must be .*; damaged or replaced"):
        load_policy(path, WORLD)


def test_another_world_is_refused(path: Path) -> None:
    other = Lever()
    other.name, other.observations = "other", (*Lever.observations[:-1], "moon")
    with pytest.raises(KerfError, match=r"observations are those of world 'lever', not of 'other'.*'moon', 'place_2'"):
        load_policy(path, other)


def test_wrong_shapes_are_refused(path: Path, policy: TorchPolicy) -> None:
    edit(path, network=NETWORK.model_dump(mode="json") | {"hidden": [8]})
    with pytest.raises(KerfError, match=r"policy_trunk\.0\.weight must have shape \(8, 7\), got \(16, 7\)"):
        load_policy(path, WORLD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"hiden": [8]}}, "not an exported policy"),
        ({"network": [8]}, "not an exported policy"),
        ({"format": 2}, "format must be 1, got 2"),
    ],
)
def test_a_bad_card_is_refused(path: Path, changes: dict[str, Any], message: str) -> None:
    edit(path, **changes)
    with pytest.raises(KerfError, match=message):
        load_policy(path, WORLD)


def test_a_pickle_is_refused_unopened(path: Path) -> None:
    @dataclasses.dataclass
    class Bomb:
        def __reduce__(self) -> Any:
            return exec, ("raise SystemExit('opened')",)

    bomb = pickle.dumps(Bomb())
    path.with_name("aligned.v1.safetensors").write_bytes(bomb)
    with pytest.raises(KerfError, match="sha256"):
        load_policy(path, WORLD)
    edit(path, sha256=hashlib.sha256(bomb).hexdigest())
    with pytest.raises(KerfError, match="not an exported policy"):
        load_policy(path, WORLD)
    path.with_name("aligned.v1.json").write_bytes(bomb)
    with pytest.raises(KerfError, match="expected JSON"):
        load_policy(path, WORLD)


def test_missing_tensors_are_refused(path: Path, policy: TorchPolicy) -> None:
    weights = policy.weights()
    del weights["value_head.bias"]
    content = save(weights)
    path.with_name("aligned.v1.safetensors").write_bytes(content)
    edit(path, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(KerfError, match="expected the tensors"):
        load_policy(path, WORLD)
