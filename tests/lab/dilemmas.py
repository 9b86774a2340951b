"""Dilemmas of every kind, for the tests of that world."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kerf.lab.dilemma import Mix
from kerf.lab.scenario import Scenarios
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal, rich

LEVEL = 0.001
"""Error rate of each statistical test, all its comparisons together."""
NAMES = ("dilemma", "dilemma_two", "dilemma_one", "dilemma_overlap")
HIDDEN = ("truth", "in_time", "reachable")
RICH = DilemmaWorld(rich())


def world_of(name: str) -> DilemmaWorld:
    world = get_world(name)
    assert isinstance(world, DilemmaWorld)
    return world


def column(world: DilemmaWorld, scenarios: Scenarios, name: str) -> NDArray[np.int16]:
    return scenarios[:, world.space.column(name)]


def looks(world: DilemmaWorld, scenarios: Scenarios) -> NDArray[np.float32]:
    seen = np.empty((len(scenarios), len(world.observations)), np.float32)
    world.begin(scenarios).observe(seen)
    return seen


chance = st.sampled_from((0.0, 0.05, 0.3, 0.5, 0.8, 1.0))


@st.composite
def any_settings(draw: st.DrawFn) -> DilemmaSettings:
    """Settings of small worlds: every one of them varies."""
    seen = draw(st.booleans())
    cues = tuple(
        Signal(name, draw(chance), draw(chance), draw(chance)) for name in ("cry", "thump")[: draw(st.integers(1, 2))]
    )
    tells = []
    for name in ("channel", "badge")[: draw(st.integers(0, 2))]:
        genuine = draw(chance)
        tells.append(Signal(name, genuine, draw(chance), draw(chance) if seen else genuine))
    genuine = draw(st.sampled_from((0.05, 0.35, 0.6)))
    benefits = draw(st.sampled_from(((10.0,), (2.0,), (10.0, 20.0), (1.0, 5.0, 9.0))))
    return DilemmaSettings(
        cues=cues,
        tells=tuple(tells),
        hour=Signal("night", draw(chance), draw(chance), draw(chance)) if draw(st.booleans()) else None,
        genuine=genuine,
        false=draw(st.sampled_from((0.05, 0.15, 0.3))),
        seen=seen,
        benefits=benefits,
        cost=draw(st.sampled_from((1.0, 5.0, 30.0))),
        ask_cost=draw(st.sampled_from((0.0, 0.1, 3.0))),
        call_cost=draw(st.sampled_from((0.0, 1.0, 9.0))),
        ask_saves=draw(st.sampled_from(((0.0,), (0.5,), (0.0, 0.95), (0.0, 0.3, 1.0)))),
        call_saves=draw(st.sampled_from((0.0, 0.4, 1.0))),
        strict=draw(st.booleans()),
        watched=draw(st.booleans()),
        places=draw(st.integers(1, 2)),
        orders=draw(st.booleans()),
    )


mixes = st.builds(Mix, st.sampled_from((0.0, 0.3, 1.0)), st.sampled_from((0.0, 0.4, 1.0)))
few = settings(max_examples=60, deadline=None, derandomize=True)
