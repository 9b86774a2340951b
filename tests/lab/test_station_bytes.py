"""Observations, events and expert actions of `station` on random scenarios and actions: always the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from kerf.lab.world import natural
from kerf.lab.worlds import get_world

PLAYED = {
    0: "97ad887f53e52c688a8b74faf6607253",
    1: "7abdfe11a5c65774249940a0fdcaeb7a",
    2: "ce857b0206acb02caf9e608db5f2d5e8",
}
"""Digests taken when events and observations were still numbered by hand. If you change the rules or observations on
purpose, say in the changelog that studies of older versions cannot be repeated, and renew them."""


def played(seed: int, n: int) -> tuple[str, set[str]]:
    """Digest of episodes on some `3 n` scenarios, and the events that occurred in them.

    A third of the scenarios is natural, a third forged, a third from all families in equal parts; some fields of some
    scenarios are drawn anew. Each episode mixes the expert's actions with random ones, at a rate of its own.
    """
    world, rng, sha = get_world("station"), np.random.default_rng(seed), hashlib.sha256()
    assert world.dilemma is not None
    crowded = [family.sample(1 + n // len(world.families), rng) for family in world.families]
    scenarios = np.concatenate([natural(world, n, rng), world.dilemma.forge(n, 0.5, rng), *crowded])
    for name in ("permit", "revealed", "drain", "stop", "due", "ttl", "service"):
        chosen = rng.random(len(scenarios)) < 0.1
        column = world.space.column(name)
        low, high = world.space.fields[column].low, min(world.space.fields[column].high, world.horizon)
        scenarios[chosen, column] = rng.integers(low, high + 1, chosen.sum())
    world.space.validate(scenarios)
    play = world.begin(scenarios)
    observations = np.empty((len(scenarios), len(world.observations)), np.float32)
    events, seen = np.zeros(len(scenarios), np.uint64), np.uint64(0)
    wander = rng.random(len(scenarios))
    for _ in range(world.horizon):
        play.observe(observations)
        expert = world.expert(observations)
        random = rng.integers(0, len(world.actions), len(scenarios))
        actions = np.where(rng.random(len(scenarios)) < wander, random, expert)
        east = rng.random(len(scenarios)) < 0.2 * (wander < 0.3)
        actions[east] = world.actions.index("east")
        play.step(actions, events)
        for array in (observations.astype("<f4"), expert.astype("<i8"), events.astype("<u8"), play.abstract_state()):
            sha.update(array.tobytes())
        seen |= np.bitwise_or.reduce(events)
    sha.update(play.state().astype("<i8").tobytes())
    return sha.hexdigest()[:32], {name for bit, name in enumerate(world.events) if int(seen) >> bit & 1}


@pytest.mark.parametrize("seed", PLAYED)
def test_scenarios_and_actions_give_the_bytes_that_they_always_gave(seed: int) -> None:
    digest, occurred = played(seed, 4000)
    assert digest == PLAYED[seed]
    assert occurred == set(get_world("station").events)


@pytest.mark.slow
def test_uncompiled_the_bytes_are_the_same() -> None:
    code = "from tests.lab.test_station_bytes import PLAYED, played; import numba\n"
    code += "print(numba.config.DISABLE_JIT, played(0, 4000)[0] == PLAYED[0])"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["1", "True"]
