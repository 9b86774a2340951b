"""Every world keeps the contract of worlds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kerf.lab.scenario import Scenarios
from kerf.lab.testing import UncompiledContract, WorldContract
from kerf.lab.world import World, natural
from kerf.lab.worlds import get_world
from kerf.lab.worlds.absent import Absent
from kerf.lab.worlds.boat import Boat
from kerf.lab.worlds.candy import Candy
from kerf.lab.worlds.coins import Coins
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.sources import GENUINE
from kerf.lab.worlds.dog import Dog
from kerf.lab.worlds.drug import Drug
from kerf.lab.worlds.endgame import Endgame
from kerf.lab.worlds.grader import Grader
from kerf.lab.worlds.lander import Lander
from kerf.lab.worlds.merge import Merge
from kerf.lab.worlds.pacman import Pacman
from kerf.lab.worlds.register import Register
from kerf.lab.worlds.shards import Shards
from kerf.lab.worlds.station import Station, kernel
from kerf.lab.worlds.toasters import Toasters
from tests.lab.dilemmas import NAMES, world_of
from tests.lab.small_worlds import ExactLever
from tests.renamed_world import Quay
from tests.toy_world import Lever

ONCE = dict.fromkeys(("left_unpermitted", "needless", "rescued", "by_door", "by_window"), 1)


class TestLever(WorldContract):
    at_most = ONCE

    def make_world(self) -> World:
        return Lever()


class TestExactLever(WorldContract):
    at_most = ONCE
    num_draws = 1000

    def make_world(self) -> World:
        return ExactLever()


class TestStation(WorldContract):
    at_most = {event: 1 for event in Station.events if event != "ignored_stop"}  # noqa: RUF012  # never written to
    num_followed = 2
    lead = 5.0
    tolerance = 0.03

    def make_world(self) -> World:
        return Station()

    def shows_hidden(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        return scenarios[:, Station.space.column("revealed")] == 1

    def needed(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        return (scenarios[:, Station.space.column("truth")] == 1) & kernel.which_late(scenarios)

    def genuine(self, n: int, rng: np.random.Generator) -> Scenarios:
        """Of all variants that forgeries come in: some save at a cost to the agent's own task."""
        return next(rows[self.needed(rows)][:n] for rows in [natural(self.world, 6 * n, rng)])


class TestAbsent(WorldContract):
    at_most = {"reached": 1}  # noqa: RUF012  # never written to
    num_draws = 1000

    def make_world(self) -> World:
        return Absent()


class TestGrader(WorldContract):
    at_most = {"made": 6, "broke": 1}  # noqa: RUF012  # never written to
    num_draws = 1000

    def make_world(self) -> World:
        return Grader()


class TestRegister(WorldContract):
    at_most = {"helped": 2, "counted": 2, "tampered": 1}  # noqa: RUF012  # never written to
    num_draws = 1000
    num_episodes = 480  # chance rarely tampers

    def make_world(self) -> World:
        return Register()


class TestBoat(WorldContract):
    at_most = {"finished": 1}  # noqa: RUF012  # never written to
    num_draws = 1000
    num_episodes = 16

    def make_world(self) -> World:
        return Boat()


class TestMerge(WorldContract):
    at_most = {"took_over": 1, "stopped": 1}  # noqa: RUF012  # never written to
    num_draws = 1000

    def make_world(self) -> World:
        return Merge()


class TestCoins(WorldContract):
    at_most = dict.fromkeys(("gold", "silver", "junk", "arrived", "faked_display", "shown_gold"), 1)
    num_draws = 1000

    def make_world(self) -> World:
        return Coins()


class TestLander(WorldContract):
    at_most = dict.fromkeys(("landed", "landed_pad", "catastrophe", "crashed", "hit_people", "aborted"), 1)
    num_draws = 1000
    num_episodes = 480  # chance aborts sooner than it falls

    def make_world(self) -> World:
        return Lander()


class TestPacman(WorldContract):
    at_most = {"ate_dot": 4, "ate_ghost": 2, "caught": 1, "cleared": 1}  # noqa: RUF012  # never written to
    num_draws = 1000

    def make_world(self) -> World:
        return Pacman()


class TestShards(WorldContract):
    at_most = {"reached": 1, "binned": 1, "bananas": 1, "apples": 1, "covered": 1}  # noqa: RUF012  # never written to
    num_draws = 1000

    def make_world(self) -> World:
        return Shards()


class TestDrug(WorldContract):
    at_most = {"cured": 1, "addicted": 1}  # noqa: RUF012  # never written to
    num_draws = 1000

    def make_world(self) -> World:
        return Drug()


class TestEndgame(WorldContract):
    at_most = dict.fromkeys(("mated", "drawn", "stalemated", "rook_lost"), 1)
    num_draws = 1000
    num_followed = 1

    def make_world(self) -> World:
        return Endgame()


class TestToasters(WorldContract):
    at_most = {"made_diamond": 1, "made_toaster": 1}  # noqa: RUF012  # never written to
    num_draws = 1000

    def make_world(self) -> World:
        return Toasters()


class TestDog(WorldContract):
    at_most = dict.fromkeys(("stood", "came", "ate", "took", "slipped"), 1)
    num_draws = 1000
    num_episodes = 480  # chance rarely takes the food

    def make_world(self) -> World:
        return Dog()


class TestCandy(WorldContract):
    at_most = dict.fromkeys(("candy", "visited", "relieved", "arrived"), 1)
    num_draws = 1000

    def make_world(self) -> World:
        return Candy()


class DilemmaContract(WorldContract):
    """Options for dilemmas: probability of a tell, and base rates."""

    world: DilemmaWorld

    def shows_hidden(self, scenarios: Scenarios) -> NDArray[np.bool_]:
        return scenarios[:, self.world.space.column("revealed")] == 1

    def tell_rate(self, tell: str, strength: float) -> float:
        return next(signal for signal in self.world.settings.tells if signal.name == tell).forged(strength)

    @property
    def forgery_rate(self) -> float:
        return self.world.settings.false

    def genuine(self, n: int, rng: np.random.Generator) -> Scenarios:
        rows = super().genuine(n, rng)
        assert (rows[:, self.world.space.column("truth")] == GENUINE).all()
        return rows


class TestDilemmas(DilemmaContract):
    @pytest.fixture(autouse=True, params=NAMES)
    def _one_of(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make_world(self) -> World:
        return world_of(self.name)


class TestQuay(DilemmaContract):
    gate = {**WorldContract.gate, "value": 0.8}  # noqa: RUF012  # two cues leave the expert in some doubt

    def make_world(self) -> World:
        return Quay()


class TestStationUncompiled(UncompiledContract):
    rounding = 0.0

    def make_world(self) -> World:
        return get_world("station")
