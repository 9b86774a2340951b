"""Cells: a grid over descriptors of forgeries, which shows the kinds that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from kerf.generators.edits import edit
from kerf.lab.errors import KerfError, unknown_name
from kerf.lab.forging import Forging
from kerf.lab.scenario import Scenarios
from kerf.lab.world import World

MOST_CELLS = 2**14
_SURVEY = 0x63656C6C73
"""Seed of the edits that the range of a descriptor is estimated from."""

Measure = Callable[[Scenarios], NDArray[np.float64]]


def descriptor_names(world: World, names: Sequence[str] | None) -> tuple[str, ...] | None:
    """The descriptors that `names` asks for; None: every field that a forger chooses, which only a sample of forgeries
    tells.

    Raises:
        KerfError: for an unknown descriptor.
    """
    space, declared = world.space, world.dilemma.descriptors
    if names is None and not declared:
        return None
    names = tuple(declared) if names is None else names
    unknown = [name for name in names if name not in declared and name not in space.index]
    if unknown:
        raise unknown_name(f"descriptor of {space.name}", unknown[0], {*declared, *space.index})
    if tells := set(names) & set(world.dilemma.tells):
        raise KerfError(f"descriptors: {sorted(tells)[0]} is a tell, which is nature's and no kind of forgery")
    return tuple(names)


class Cells:
    """A grid over descriptors of forgeries.

    Args:
        forging: The rules of forging.
        names: Descriptors that the world declares (`kerf.lab.dilemma.Dilemma.descriptors`), or fields of its scenarios;
            None: all that it declares, or else every field that a forger chooses.
        most: The most cells along a descriptor; one with no more distinct values has a cell for each.

    Attributes:
        names: Of the descriptors.
        shape: Number of cells along each.
        low, high: Least and greatest value in each cell of each descriptor.

    Raises:
        KerfError: for an unknown descriptor, or more than `MOST_CELLS` cells.
    """

    def __init__(self, forging: Forging, names: Sequence[str] | None, most: int) -> None:
        space, declared = forging.world.space, forging.world.dilemma.descriptors
        known = descriptor_names(forging.world, names)
        self.names = tuple(space.fields[column].name for column in forging.columns) if known is None else known
        self._descriptors = tuple(declared.get(name) or _field(space.column(name)) for name in self.names)
        edited = edit(forging, forging.survey, np.random.default_rng(_SURVEY), 0.5)
        surveyed = np.concatenate((forging.survey, edited[forging.plausible(edited)]))
        self._inner: list[NDArray[np.float64]] = []
        self.low: list[list[float]] = []
        self.high: list[list[float]] = []
        for descriptor in self._descriptors:
            seen = np.unique(descriptor(surveyed))
            few = len(seen) <= most
            inner = (seen[1:] + seen[:-1]) / 2 if few else np.linspace(seen[0], seen[-1], most + 1)[1:-1]
            self._inner.append(inner)
            self.low.append((seen if few else np.append(seen[0], inner)).tolist())
            self.high.append((seen if few else np.append(inner, seen[-1])).tolist())
        self.shape = tuple(len(inner) + 1 for inner in self._inner)
        if len(self) > MOST_CELLS:
            raise KerfError(
                f"descriptors: {' x '.join(self.names)} make {len(self):,} cells, at most {MOST_CELLS:,}; name fewer "
                "descriptors, or set `cells` lower"
            )

    def __len__(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def of(self, scenarios: Scenarios) -> NDArray[np.int64]:
        """The cell of each of `scenarios` `(n, F)`, `(n,)`."""
        cell = np.zeros(len(scenarios), np.int64)
        for descriptor, inner in zip(self._descriptors, self._inner, strict=True):
            cell = cell * (len(inner) + 1) + np.searchsorted(inner, descriptor(scenarios), side="right")
        return cell

    def ranges(self, cell: int) -> dict[str, list[float]]:
        """Range of each descriptor in a cell: name -> [least, greatest]."""
        places = np.unravel_index(cell, self.shape) if self.shape else ()
        return {
            name: [self.low[index][place], self.high[index][place]]
            for index, (name, place) in enumerate(zip(self.names, map(int, places), strict=True))
        }


def _field(column: int) -> Measure:
    return lambda scenarios: scenarios[:, column].astype(np.float64)
