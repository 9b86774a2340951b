"""Tabular policies: a row of logits for each situation, so that nothing generalises between situations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kerf.lab.distinct import row_hash
from kerf.lab.errors import KerfError
from kerf.lab.exact.evaluation import action_probs
from kerf.lab.rollout import Policy
from kerf.lab.scenario import Scenarios
from kerf.lab.world import Listed, World

LOGITS = "logits"
"""Name of a table's only tensor."""


class Situations:
    """All situations of a world of one decision.

    Args:
        world: It must enumerate its situations (`kerf.lab.world.Listed`) and have one step.

    Attributes:
        world: The same.
        scenarios: `(m, F)`, one for each situation.
        observations: `(m, D)` float32, of each situation.

    Raises:
        KerfError: for another world.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.scenarios: Scenarios = listed(world).situations()
        self.observations = np.empty((len(self.scenarios), len(world.observations)), np.float32)
        world.begin(self.scenarios).observe(self.observations)
        hashes = _hashes(self.observations)
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]
        if (self._hashes[1:] == self._hashes[:-1]).any():
            raise ValueError(f"world {world.name}: two of its situations look the same")

    def __len__(self) -> int:
        return len(self.scenarios)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the situations, in order."""
        return self.world.space.digest(self.scenarios)

    def rows(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """Index of the situation of each of the observations `(n, D)`, `(n,)`.

        Raises:
            KerfError: for an observation that is not exactly equal to one of them.
        """
        found = np.minimum(np.searchsorted(self._hashes, _hashes(observations)), len(self) - 1)
        rows = self._order[found]
        unknown = np.flatnonzero((self.observations[rows] != observations).any(axis=1))
        if len(unknown):
            seen = observations[unknown[0]]
            named = ", ".join(f"{self.world.observations[i]}={seen[i]:g}" for i in np.flatnonzero(seen))
            raise KerfError(
                f"world {self.world.name}: a table has rows for its {len(self):,} situations alone, and was shown "
                f"another one: {named or 'nothing but zeros'}"
            )
        return rows


class TablePolicy:
    """A policy with a row of logits for each situation.

    Args:
        situations: Of the world that it plays in.
        weights: `(m, A)` float64 logits; -inf marks an action that is never taken. Copied.

    Raises:
        KerfError: for another shape, or a row without a finite logit.
    """

    kind: ClassVar[str] = "table"

    def __init__(self, situations: Situations, weights: NDArray[np.float64]) -> None:
        shape = (len(situations), len(situations.world.actions))
        if weights.shape != shape:
            raise KerfError(f"table: {LOGITS} must have shape {shape}, got {weights.shape}; another world?")
        if not np.isfinite(weights.max(axis=1)).all():
            raise KerfError("table: a row of logits is no distribution")
        self.situations = situations
        self._logits = np.array(weights, np.float64)

    @classmethod
    def copy_of(cls, policy: Policy, world: World) -> TablePolicy:
        """The tabular twin of `policy`: the same distribution over actions in every situation of `world`.

        Raises:
            KerfError: if the world does not enumerate its situations.
            ValueError: if the policy returns logits that are no distribution.
        """
        situations = Situations(world)
        action_probs(policy, situations.observations)
        return cls(situations, np.asarray(policy.logits(situations.observations), np.float64))

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n, D)` float32 -> `(n, A)` float32. Raises `KerfError` for an observation that is no situation's."""
        return self._logits[self.situations.rows(observations)].astype(np.float32)

    def weights(self) -> dict[str, NDArray[np.float64]]:
        """A copy of the logits `(m, A)`, by name."""
        return {LOGITS: self._logits.copy()}

    def card(self) -> dict[str, Any]:
        """All else that is needed to load it."""
        return {"situations": self.situations.digest}

    @classmethod
    def from_card(cls, card: Mapping[str, Any], world: World, weights: Mapping[str, NDArray[Any]]) -> TablePolicy:
        """The policy with this `card` and `weights`. Raises `KerfError` if they do not fit `world`."""
        situations = Situations(world)
        if card["situations"] != situations.digest:
            raise KerfError(f"table: its situations are not those of world {world.name!r}")
        if set(weights) != {LOGITS}:
            raise KerfError(f"table: expected the tensor {LOGITS!r}, got {sorted(weights)}")
        return cls(situations, weights[LOGITS])


def listed(world: World) -> Listed:
    """`world`, checked to be a world of one decision that enumerates its situations.

    Raises:
        KerfError: for any other.
    """
    if not isinstance(world, Listed):
        raise KerfError(
            f"world {world.name} does not list its situations (kerf.lab.world.Listed); "
            "tables and exact gradients need that"
        )
    if world.horizon != 1:
        raise KerfError(f"world {world.name} has {world.horizon} steps; tables and exact gradients need a world of one")
    return world


def _hashes(observations: NDArray[np.float32]) -> NDArray[np.uint64]:
    positive = np.ascontiguousarray(observations, np.float32) + np.float32(0.0)  # -0.0 becomes 0.0
    return row_hash(positive.view(np.uint32), 0)
