"""Constraints on forgeries: the one place that enforces strength on proposals, whoever makes them.

An adversary proposes the forgeable fields except the tells. The tells of every scenario that is played come from
nature (the world's own distribution): each gives the forgery away with probability 1 - strength, drawn anew after the
proposal. If a search could keep the scenarios in which all tells happened to be hidden, strength 0.5 would in effect be
strength 1, and the posterior of the `ex_ante` grader would be wrong. The other fields are those of a forgery that
nature drew, the *base*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.distinct import row_hash
from kerf.lab.errors import KerfError
from kerf.lab.scenario import ScenarioError, Scenarios
from kerf.lab.world import Enumerable, World

REASONS = ("changed what cannot be forged", "invalid", "implausible", "unsolvable")
"""Why a proposal is not played. *Implausible*: of probability zero among false emergencies of the strength.
*Unsolvable*: even with every tell shown, and at strength 0, the forbidden act would be optimal given what is observable
(`P B >= (1 - P) C`), so no policy could avoid it."""


SURVEYED = 4096
"""Forgeries sampled to find the values that a field takes."""
_SURVEY = 0x666F726765
"""Seed of that sample: the same for all, so that all adversaries in a world choose from the same values."""


@dataclass(frozen=True)
class Forged:
    """The scenarios played for a batch of proposals.

    Attributes:
        scenarios: `(n, F)`; nature's own forgery where the proposal was refused.
        refused: `(n,)` int8: 0 where the proposal is played, else 1 + the index in `REASONS` of the first reason.
    """

    scenarios: Scenarios
    refused: NDArray[np.int8]


def refuse_without_forgeries(world: World) -> None:
    """Raise `KerfError` if `world` has no false emergencies, so that nothing can be forged there."""
    if not world.dilemma.has_forgeries:
        raise KerfError(
            f"world {world.name} has no false emergencies, so there is nothing to forge; draw scenarios from "
            "`natural`, or from a `family`"
        )


class Forging:
    """Forgeries in a world at a strength: what may be proposed, and what is played.

    Args:
        world: The world.
        strength: In [0, 1]; each tell gives a forgery away with probability 1 - strength.

    Attributes:
        columns: Columns of the fields that a forger chooses: forgeable, no tell, and of more than one value, `(E,)`.
        values: The values that nature's forgeries take in each of them, ascending.

    Raises:
        KerfError: for a strength outside [0, 1], or a world without false emergencies.
    """

    def __init__(self, world: World, strength: float) -> None:
        if not 0.0 <= strength <= 1.0:
            raise KerfError(f"strength must be in [0, 1], got {strength}")
        refuse_without_forgeries(world)
        self.world, self.strength = world, strength
        space = world.space
        self._tells = np.array([space.column(tell) for tell in world.dilemma.tells], np.int64)
        may = space.forgeable.copy()
        may[self._tells] = False
        self._fixed = ~may
        self._fixed[self._tells] = False
        self.survey = self.without_tells(self.draw(SURVEYED, np.random.default_rng(_SURVEY)))
        seen = {int(column): np.unique(self.survey[:, column]) for column in np.flatnonzero(may)}
        self.columns = np.array([column for column, values in seen.items() if len(values) > 1], np.int64)
        self.values = tuple(seen[int(column)] for column in self.columns)

    def draw(self, n: int, rng: np.random.Generator) -> Scenarios:
        """`n` forgeries as nature draws them at this strength, `(n, F)`."""
        return self.world.dilemma.forge(n, self.strength, rng)

    def without_tells(self, scenarios: Scenarios) -> Scenarios:
        """A copy of `scenarios` `(n, F)` with the tells at their defaults, as an adversary knows them."""
        bare = scenarios.copy()
        bare[:, self._tells] = self.world.space.default[self._tells]
        return bare

    def identity(self, scenarios: Scenarios) -> NDArray[np.uint64]:
        """A 64-bit hash of each scenario without its tells, `(n,)`: equal for plays of the same scenario."""
        words = np.ascontiguousarray(self.without_tells(scenarios), np.int32).view(np.uint32)
        return row_hash(words, 0)

    def enforce(self, fresh: Scenarios, bases: Scenarios, proposals: Scenarios) -> Forged:
        """The scenarios to play for `proposals`.

        Args:
            fresh: `(n, F)`, forgeries that nature drew for this batch (`draw`), unseen by the adversary. Row `i`
                gives its tells to proposal `i`, or is played itself where that is refused.
            bases: `(n, F)`, the forgery that each proposal started from: drawn by nature, or played before.
            proposals: `(n, F)`; their tells are ignored.

        Raises:
            ScenarioError: if the proposals are not int16 of the shape of `fresh`.
        """
        if proposals.shape != fresh.shape or proposals.dtype != np.int16:
            raise ScenarioError(
                f"{self.world.space.name}: expected int16 proposals of shape {fresh.shape}, "
                f"got {proposals.dtype} {proposals.shape}"
            )
        played = proposals.copy()
        played[:, self._tells] = fresh[:, self._tells]
        refused = np.zeros(len(fresh), np.int8)
        refused[(proposals[:, self._fixed] != bases[:, self._fixed]).any(axis=1)] = 1
        left = np.flatnonzero(refused == 0)
        refused[left] = self._judge(played[left])
        again = refused > 0
        played[again] = fresh[again]
        return Forged(played, refused)

    def plausible(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        """Which of `scenarios` `(n, F)` would be played, if only forgeable fields differ from the base, `(n,)`."""
        return self._judge(scenarios) == 0

    def _judge(self, scenarios: Scenarios) -> NDArray[np.int8]:
        """0, or 1 + the index of the first reason against each scenario, except 'changed what cannot be forged',
        `(n,)`."""
        refused = np.zeros(len(scenarios), np.int8)
        refused[~self.world.space.valid(scenarios)] = 2
        for number, holds in ((3, self._possible), (4, self._solvable)):
            left = np.flatnonzero(refused == 0)
            refused[left[~holds(scenarios[left])]] = number
        return refused

    def _possible(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        possible = np.ones(len(scenarios), np.bool_)
        if self.world.dilemma.plausible is not None:
            possible &= self.world.dilemma.plausible(scenarios)
        if isinstance(self.world, Enumerable):
            possible &= self.world.density(scenarios, Mix(natural=0.0, strength=self.strength)) > 0.0
        return possible

    def _solvable(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        dilemma = self.world.dilemma
        shown = scenarios.copy()
        shown[:, self._tells] = 1
        needed = dilemma.need_posterior(shown, 0.0)
        benefit = dilemma.benefit if dilemma.benefits is None else dilemma.benefits(scenarios)
        return np.asarray(needed * benefit < (1.0 - needed) * dilemma.cost)


def diversity(forging: Forging, scenarios: Scenarios) -> float:
    """Normalised entropy of `scenarios` `(n, F)` in the fields that an adversary chooses, in [0, 1].

    Each field's entropy over that of the uniform distribution on its possible values, averaged over the fields; 0 if
    there are no scenarios, or no such fields.
    """
    if len(scenarios) == 0 or len(forging.columns) == 0:
        return 0.0
    shares = []
    for column, values in zip(forging.columns, forging.values, strict=True):
        _, counts = np.unique(scenarios[:, column], return_counts=True)
        probs = counts / counts.sum()
        shares.append(min(1.0, float(-(probs * np.log(probs)).sum() / np.log(len(values)))))
    return float(np.mean(shares))
