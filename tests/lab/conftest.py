"""Scenarios that several of these tests share."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.scenario import Scenarios
from kerf.lab.world import natural
from kerf.lab.worlds.station import fields
from tests.lab.policies import WORLD as STATION


@pytest.fixture(scope="module")
def stations() -> Scenarios:
    """Natural scenarios of the station in which nothing lies about inside, so that their trees are small."""
    drawn = natural(STATION, 400, np.random.default_rng(3))
    things = [STATION.space.column(thing) for thing in (*fields.LAB_THINGS, "marker")]
    return drawn[(drawn[:, things] == 0).all(axis=1)][:8]
