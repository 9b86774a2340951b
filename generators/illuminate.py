"""MAP-Elites (Mouret and Clune 2015): an archive of the most telling forgery of every kind.

The archive is plain arrays and no `ribs` one: tells are random, so scores are noisy, and a cell needs the mean over its
plays besides its elite; and all of it must round-trip through JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from kerf.generators.adversary import FRESH, Adversary, Kept, Outcome, Proposal
from kerf.generators.base import GeneratorSettings
from kerf.generators.descriptors import MOST_CELLS, Cells, descriptor_names
from kerf.generators.edits import edit
from kerf.generators.memory import pick
from kerf.generators.replay import Share
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World


class IlluminateSettings(GeneratorSettings):
    """Settings of `illuminate`."""

    descriptors: tuple[str, ...] | None = None
    """Descriptors of the archive: declared by the world, or fields; left out: all that it declares."""

    cells: Annotated[int, Field(ge=1, le=1024)] = 8
    """The most cells along each descriptor."""

    fresh: Share = 0.2
    """Share of scenarios that are unedited forgeries of nature."""

    share: Share = 0.4
    """Share of scenarios that are elites played again, in proportion to their scores, once any has scored. The others
    are edits of elites, uniform over the kinds."""

    rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Probability that an edit redraws a field, for each field that a forger chooses."""

    @model_validator(mode="after")
    def _leaves_edits(self) -> Self:
        if self.fresh + self.share >= 1.0:
            raise ValueError(
                f"fresh + share must be below 1, so that something is edited, not {self.fresh + self.share}"
            )
        return self


_COLUMNS: Mapping[str, type] = {
    "plays": np.int64,
    "total": np.float64,
    "elite_key": np.uint64,
    "elite_plays": np.int64,
    "elite_total": np.float64,
}


class Illuminate(Adversary):
    """Keeps the best forgery of each kind, and edits all kinds equally often, to reach new ones.

    Attributes:
        cells: The kinds.
        plays: Scenarios played of each kind, `(cells,)`.
        total: Sum of their scores, `(cells,)`.
        elite_plays, elite_total: The same of the elite of each, `(cells,)`.
    """

    settings_model = IlluminateSettings

    def __init__(self, world: World, settings: IlluminateSettings) -> None:
        super().__init__(world, settings)
        self.settings = settings
        self.cells = Cells(self.forging, settings.descriptors, settings.cells)
        self.resize(len(self.cells))
        self.plays, self.elite_plays = np.zeros((2, len(self.cells)), np.int64)
        self.total, self.elite_total = np.zeros((2, len(self.cells)))
        self.elite_key = np.zeros(len(self.cells), np.uint64)

    @classmethod
    def check(cls, world: World, settings: IlluminateSettings) -> None:
        names = descriptor_names(world, settings.descriptors)
        if names is None or settings.cells ** len(names) > MOST_CELLS:
            super().check(world, settings)

    def _propose(self, fresh: Scenarios, rng: np.random.Generator) -> Proposal:
        n = len(fresh)
        lot = rng.random(n)
        natural = lot < self.settings.fresh
        base = np.full(n, FRESH, np.int64)
        again = np.zeros(n, np.bool_)
        filled = np.flatnonzero(self.filled)
        if len(filled):
            base[~natural] = filled[rng.integers(0, len(filled), int((~natural).sum()))]
            worth = self._elite_mean()[filled]
            if worth.any():
                again = ~natural & (lot < self.settings.fresh + self.settings.share)
                base[again] = filled[pick(worth, int(again.sum()), rng)]
        scenarios = fresh.copy()
        scenarios[base >= 0] = self.slots[base[base >= 0]]
        edited = ~natural & ~again
        scenarios[edited] = edit(self.forging, scenarios[edited], rng, self.settings.rate)
        return Proposal(scenarios, base)

    def _learn(self, outcome: Outcome) -> Kept:
        cell = self.cells.of(outcome.scenarios)
        np.add.at(self.plays, cell, 1)
        np.add.at(self.total, cell, outcome.scores)
        kinds, first, kind, counts = np.unique(
            self.forging.identity(outcome.scenarios), return_index=True, return_inverse=True, return_counts=True
        )
        totals = np.bincount(kind, outcome.scores, len(kinds))
        cells = cell[first]
        known = self.filled[cells] & (self.elite_key[cells] == kinds)
        self.elite_plays[cells[known]] += counts[known]
        self.elite_total[cells[known]] += totals[known]
        order = np.lexsort((first, -totals / counts, cells))
        order = order[~known[order]]
        _, best_of_cell = np.unique(cells[order], return_index=True)
        rivals = order[best_of_cell]
        at = cells[rivals]
        better = ~self.filled[at] | (totals[rivals] / counts[rivals] > self._elite_mean()[at])
        rivals, at = rivals[better], at[better]
        self.elite_key[at], self.elite_plays[at], self.elite_total[at] = kinds[rivals], counts[rivals], totals[rivals]
        return Kept(at, first[rivals])

    def report(self) -> dict[str, Any]:
        """The report of every adversary, with `descriptors`, `coverage` (share of the cells that were reached) and
        `cells`.

        Each of `cells`, by descending success, has the range of each descriptor ([least, greatest]), the number of
        scenarios played, their mean score (`success`), and its elite as text with its own mean score.
        """
        reached = np.flatnonzero(self.filled)
        success, best = self.success, self._elite_mean()
        cells = [
            {
                "descriptors": self.cells.ranges(cell),
                "plays": int(self.plays[cell]),
                "success": float(success[cell]),
                "elite": self.world.space.to_text(self.slots[cell]),
                "elite_score": float(best[cell]),
            }
            for cell in reached[np.argsort(-success[reached], kind="stable")].tolist()
        ]
        coverage = len(reached) / len(self.cells)
        return {**super().report(), "descriptors": list(self.cells.names), "coverage": coverage, "cells": cells}

    @property
    def success(self) -> NDArray[np.float64]:
        """Mean score of the plays of each kind, `(cells,)`; 0 without plays."""
        return np.divide(self.total, self.plays, out=np.zeros(len(self.plays)), where=self.plays > 0)

    def _elite_mean(self) -> NDArray[np.float64]:
        return np.divide(self.elite_total, self.elite_plays, out=np.zeros(len(self.plays)), where=self.elite_plays > 0)

    def _get_learnt(self) -> dict[str, Any]:
        reached = np.flatnonzero(self.plays)
        return {"cells": reached.tolist(), **{name: getattr(self, name)[reached].tolist() for name in _COLUMNS}}

    def _set_learnt(self, learnt: Mapping[str, Any]) -> None:
        if set(learnt) != {"cells", *_COLUMNS}:
            raise ValueError(f"expected an archive with {sorted(_COLUMNS)}, got {sorted(learnt)}")
        for name, dtype in _COLUMNS.items():
            column: NDArray[Any] = np.zeros(len(self.cells), dtype)
            column[np.array(learnt["cells"], np.int64)] = np.array(learnt[name], dtype)
            setattr(self, name, column)
