"""What a cell costs besides training and measuring, once its worker has done another one: counted, not timed.

Counted are calls of functions outside of `train()` and of the battery, which do not depend on how busy the machine is.
A relapse (a battery or metadata read anew, an algorithm built twice, modules imported late, ...) costs many.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kerf.agents.algorithm import KerfAlgorithm
from kerf.lab.battery import Battery
from kerf.runs.execution.measurements import CELL_NOISE_DRAWS
from kerf.runs.execution.unit import run_unit
from kerf.runs.recipe.files import load_recipe
from kerf.runs.records.store import ALIGNED, Store, Unit
from tests.runs.execution.test_forked_workers import TOY

MOST_CALLS = 110_000
"""Of functions: a third more than there are."""


class Counting:
    """Counts the calls of all functions, but not within those that are `apart`; and how often some were called.

    Attributes:
        times: Of those that are `apart` or `watched`, by name.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.times = Counter[str]()
        self._patch, self._profiler, self._counts = patch, cProfile.Profile(), False

    def watched(self, owner: object, name: str, apart: bool = False) -> None:
        inner = getattr(owner, name)

        def told(*args: object, **kwargs: object) -> object:
            self.times[name] += self._counts
            if not (apart and self._counts):
                return inner(*args, **kwargs)
            self._profiler.disable()
            try:
                return inner(*args, **kwargs)
            finally:
                self._profiler.enable()

        self._patch.setattr(owner, name, told)

    def calls(self, of: Callable[[], object]) -> int:
        """How many functions `of` calls, and these call."""
        self._counts = True
        self._profiler.enable()
        of()
        self._profiler.disable()
        self._counts = False
        return int(pstats.Stats(self._profiler).total_calls)  # type: ignore[attr-defined]


def test_a_cell_after_the_first_costs_little_besides_training_and_measuring(write, tmp_path, monkeypatch):
    recipe, store = load_recipe(write(TOY)), Store(Path(tmp_path))

    def do(arm: str) -> None:
        for _ in run_unit(recipe, Unit(arm, 0), store):
            pass

    counting = Counting(monkeypatch)
    counting.watched(KerfAlgorithm, "train", apart=True)
    counting.watched(Battery, "measure", apart=True)
    counting.watched(KerfAlgorithm, "setup")
    counting.watched(Battery, "__init__")
    counting.watched(os, "fsync")
    do(ALIGNED)
    do("exposure")
    modules = set(sys.modules)
    calls = counting.calls(lambda: do("penalised"))
    assert set(sys.modules) == modules
    times = counting.times
    assert times["train"] == recipe.iterations
    on_the_way = recipe.iterations // recipe.measure_every
    assert times["measure"] == on_the_way + CELL_NOISE_DRAWS, "not again where it starts"
    assert (times["setup"], times["__init__"]) == (1, 0), "one algorithm is built, and no battery"
    files = len(list((store.path / "cells" / "penalised" / "seed-0").iterdir()))
    assert times["fsync"] <= files + 5, "each file once, weights twice; two folders; a line of timing"
    assert 1_000 < calls < MOST_CALLS
