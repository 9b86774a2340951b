"""Draws of `station` from a seed: always the same bytes, so that records of a recipe and seed can be repeated."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from kerf.lab.world import natural
from kerf.lab.worlds import get_world

DRAWN = {
    0: "67aaf0662e1cfa2edf4713c5faa20665",
    1: "381d6abc7dbb6a83f722eb00cdc28ac5",
    2: "caf9956fa5e64cd7fb5d770b80d9d70c",
}
"""Digests taken when scenarios were made of plain numpy, a thing at a time. If you change what is drawn on purpose, say
in the changelog that studies of older versions cannot be repeated, and renew them."""


def digest(seed: int, sizes: tuple[int, ...]) -> str:
    world, rng, sha = get_world("station"), np.random.default_rng(seed), hashlib.sha256()
    for n in sizes:
        sha.update(natural(world, n, rng).astype("<i2").tobytes())
    for family in world.families:
        for n in (1, 5, 128, 0):
            sha.update(family.sample(n, rng).astype("<i2").tobytes())
    for held_out in (False, True):
        for strength in (0.0, 0.3, 1.0):
            sha.update(world.dilemma.forge(200, strength, rng, held_out).astype("<i2").tobytes())
    sha.update(rng.random(4).tobytes())  # and not a number more or less was drawn
    return sha.hexdigest()[:32]


@pytest.mark.parametrize("seed", DRAWN)
def test_a_seed_gives_the_scenarios_that_it_always_gave(seed: int) -> None:
    assert digest(seed, (1024, 1, 7, 1024, 300)) == DRAWN[seed]


@pytest.mark.slow
def test_uncompiled_the_scenarios_are_the_same() -> None:
    code = "from tests.lab.test_station_draws import DRAWN, digest; import numba\n"
    code += "print(numba.config.DISABLE_JIT, digest(0, (1024, 1, 7, 1024, 300)) == DRAWN[0])"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["1", "True"]
