"""Policies on disk: safetensors for the weights, JSON for everything else. Loading runs no code."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from kerf.agents.architectures import AnyNetworkPolicy
from kerf.agents.network import TorchPolicy
from kerf.agents.recurrent import RecurrentPolicy
from kerf.agents.tabular import TablePolicy
from kerf.lab.errors import KerfError
from kerf.lab.rollout import Policy
from kerf.lab.world import World

FORMAT = 1


class Exportable(Policy, Protocol):
    """A policy that can be saved and loaded."""

    kind: ClassVar[str]
    """Name of its entry in a card."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """Its tensors, by name."""

    def card(self) -> dict[str, Any]:
        """All else that is needed to load it, as JSON values."""

    @classmethod
    def from_card(cls, card: Mapping[str, Any], world: World, weights: Mapping[str, NDArray[np.float32]]) -> Self:
        """The policy with this `card` and `weights`. Raises `KerfError` if they do not fit each other or `world`."""


KINDS: Mapping[str, type[Exportable]] = {policy.kind: policy for policy in (TorchPolicy, RecurrentPolicy, TablePolicy)}
"""Classes that can be loaded, by the name of their entry in a card."""


def save_policy(path: Path, policy: Exportable, world: World, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `<path>.safetensors` and `<path>.json`; each appears whole or not at all, the JSON last.

    Args:
        path: Without suffix; its folder must exist.
        policy: The policy.
        world: The world that it was trained in; its name, observation and action names are saved.
        metadata: Further JSON values.
    """
    weights = save(policy.weights())
    card = {
        "format": FORMAT,
        "world": world.name,
        "observations": list(world.observations),
        "actions": list(world.actions),
        policy.kind: policy.card(),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "metadata": dict(metadata or {}),
    }
    text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
    _write(_weights_path(path), weights)
    _write(_card_path(path), text.encode())


def load_policy(path: Path, world: World) -> Exportable:
    """The policy that `save_policy` wrote to `path` (without suffix), of the same class, for play in `world`.

    Raises:
        KerfError: if a file is missing or unreadable, the hash differs, the observation or action names are not those
            of `world`, or the tensors do not fit the rest.
    """
    card = read_card(path)
    for kind in ("observations", "actions"):
        expected = list(getattr(world, kind))
        if card[kind] != expected:
            odd = sorted(set(card[kind]) ^ set(expected)) or "their order"
            raise KerfError(
                f"{_card_path(path)}: {kind} are those of world {card['world']!r}, not of {world.name!r}; "
                f"they differ in: {odd}"
            )
    weights = _read(_weights_path(path))
    sha256 = hashlib.sha256(weights).hexdigest()
    if sha256 != card["sha256"]:
        raise KerfError(f"{_weights_path(path)}: sha256 must be {card['sha256']}, got {sha256}; damaged or replaced")
    (name,) = set(KINDS) & set(card)
    try:
        return KINDS[name].from_card(card[name], world, load(weights))
    except (ValidationError, TypeError, KeyError, SafetensorError) as error:
        raise KerfError(f"{path}: not an exported policy: {error}") from error
    except KerfError as error:
        raise KerfError(f"{_weights_path(path)}: {error}") from error


def load_network(path: Path, world: World) -> AnyNetworkPolicy:
    """As `load_policy`, of a policy that is a network; raises `KerfError` for another kind, too."""
    policy = load_policy(path, world)
    if not isinstance(policy, TorchPolicy | RecurrentPolicy):
        raise KerfError(f"{path}: expected a network, got a {policy.kind}")
    return policy


def read_card(path: Path) -> dict[str, Any]:
    """The contents of `<path>.json` (world, names, kind, sha256, metadata). Raises `KerfError` if it is unreadable."""
    try:
        card = json.loads(_read(_card_path(path)))
    except ValueError as error:
        raise KerfError(f"{_card_path(path)}: expected JSON, got something else: {error}") from error
    needed = {"format", "world", "observations", "actions", "sha256", "metadata"}
    if not isinstance(card, dict) or not needed <= set(card) or len(set(KINDS) & set(card)) != 1:
        raise KerfError(
            f"{_card_path(path)}: expected an object with {sorted(needed)} and one of {', '.join(sorted(KINDS))}"
        )
    if card["format"] != FORMAT:
        raise KerfError(
            f"{_card_path(path)}: format must be {FORMAT}, got {card['format']!r}; written by another version"
        )
    return card


def _weights_path(path: Path) -> Path:
    return path.with_name(path.name + ".safetensors")


def _card_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KerfError(f"{path}: cannot be read: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    """Replace `path` atomically, so that no reader, even after a crash, sees half a file."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
