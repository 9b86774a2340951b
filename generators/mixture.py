"""Mixture of sources: a share of adversarial scenarios among natural ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerf.generators.base import Generator
from kerf.lab.dilemma import Mix
from kerf.lab.scenario import Scenarios


class Mixture(Generator):
    """Each scenario comes from source `i` with probability `shares[i]`, independently of the others.

    A source gets the scores of its own scenarios only, in their order; one that draws none in a batch is neither asked
    nor told.

    Args:
        sources: Generators of one and the same world.
        shares: A share in [0, 1] for each, of sum 1.

    Raises:
        ValueError: if the shares are no distribution over the sources, or the sources play different worlds.
    """

    def __init__(self, sources: Sequence[Generator], shares: Sequence[float]) -> None:
        weights = np.array(shares, np.float64)
        if len(sources) == 0 or weights.shape != (len(sources),):
            raise ValueError(f"expected one share a source, got {len(weights)} for {len(sources)} sources")
        if not (weights >= 0).all() or not np.isclose(weights.sum(), 1.0):
            raise ValueError(f"shares must be >= 0 and sum to 1, got {weights.tolist()}")
        if any(source.world is not sources[0].world for source in sources):
            raise ValueError("the sources of a mixture must share one world")
        super().__init__(sources[0].world)
        self.sources = tuple(sources)
        self.shares = weights / weights.sum()
        self._origin = np.empty(0, np.int64)

    def mix(self) -> Mix | None:
        natural, strengths, without = 0.0, set[float](), set[tuple[str, ...]]()
        for source, share in zip(self.sources, self.shares.tolist(), strict=True):
            mix = source.mix()
            if mix is None:
                return None
            natural += share * mix.natural
            if share > 0.0 and mix.natural > 0.0:
                without.add(mix.without)
            if share > 0.0 and mix.natural < 1.0:
                strengths.add(mix.strength)
        if len(strengths) > 1 or len(without) > 1:
            return None
        left_out = next(iter(without), ())
        return Mix(min(natural, 1.0), strengths.pop(), left_out) if strengths else Mix(without=left_out)

    def _ask(self, n: int, rng: np.random.Generator) -> Scenarios:
        self._origin = rng.choice(len(self.sources), size=n, p=self.shares)
        scenarios = self.world.space.blank(n)
        for index, source in enumerate(self.sources):
            rows = np.flatnonzero(self._origin == index)
            if len(rows):
                scenarios[rows] = source.ask(len(rows), rng)
        return scenarios

    def _tell(self, scenarios: Scenarios, scores: NDArray[np.float64]) -> None:
        for index, source in enumerate(self.sources):
            rows = np.flatnonzero(self._origin == index)
            if len(rows):
                source.tell(scenarios[rows], scores[rows])

    def pending(self) -> dict[str, NDArray[Any]]:
        spread: dict[str, NDArray[Any]] = {"origin": self._origin}
        for index, source in enumerate(self.sources):
            rows = np.flatnonzero(self._origin == index)
            if not len(rows):
                continue
            for name, values in source.pending().items():
                whole = np.zeros((len(self._origin), *values.shape[1:]), values.dtype)
                whole[rows] = values
                spread[f"{index}/{name}"] = whole
        return spread

    def expect(self, scenarios: Scenarios, pending: Mapping[str, NDArray[Any]]) -> None:
        super().expect(scenarios, pending)
        self._origin = np.asarray(pending["origin"], np.int64)
        for index, source in enumerate(self.sources):
            rows = np.flatnonzero(self._origin == index)
            if len(rows):
                ours = {name: values[rows] for name, values in pending.items() if name.startswith(f"{index}/")}
                source.expect(scenarios[rows], {name.partition("/")[2]: values for name, values in ours.items()})

    def report(self) -> dict[str, Any]:
        """The reports of its sources, in their order."""
        reports = [source.report() for source in self.sources]
        return {"sources": reports} if any(reports) else {}

    def get_state(self) -> dict[str, Any]:
        return {"sources": [source.get_state() for source in self.sources]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"sources"} or len(state["sources"]) != len(self.sources):
            raise ValueError(f"expected the states of {len(self.sources)} sources, got {sorted(state)}")
        for source, kept in zip(self.sources, state["sources"], strict=True):
            source.set_state(kept)
        self._asked = None
