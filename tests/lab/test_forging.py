"""Strength is enforced on proposals, whoever makes them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from kerf.lab.errors import KerfError
from kerf.lab.forging import REASONS, Forging, diversity
from kerf.lab.scenario import ScenarioError
from kerf.lab.worlds import get_world
from kerf.lab.worlds.dilemma import DilemmaWorld
from kerf.lab.worlds.dilemma.settings import DilemmaSettings, Signal

ALPHA = 1e-3
"""Error rate of each test of a share: with the seeds fixed here, each either passes always or never."""


def drawn(world_name, strength=0.5, n=64, seed=0):
    forging = Forging(get_world(world_name), strength)
    fresh = forging.draw(n, np.random.default_rng(seed))
    return forging, fresh, forging.without_tells(fresh)


def reasons(forged):
    return [REASONS[number - 1] if number else "" for number in forged.refused]


@pytest.mark.parametrize("world_name", ["station", "dilemma"])
@pytest.mark.parametrize("strength", [0.0, 0.3, 0.7, 1.0])
def test_whatever_is_said_of_the_tells_they_are_drawn_at_the_strength(world_name, strength):
    world = get_world(world_name)
    forging, fresh, bare = drawn(world_name, strength, n=4000)
    columns = [world.space.column(tell) for tell in world.dilemma.tells]
    proposals = bare.copy()
    proposals[:, columns] = 0  # an adversary would hide them all
    played = forging.enforce(fresh, bare, proposals).scenarios
    settings = getattr(world, "settings", None)
    for tell, column in zip(world.dilemma.tells, columns, strict=True):
        chance = 1.0 - strength
        if settings is not None:
            chance = next(signal for signal in settings.tells if signal.name == tell).forged(strength)
        assert binomtest(int(played[:, column].sum()), len(played), chance).pvalue > ALPHA


@pytest.mark.parametrize("field", ["door", "start", "delay", "truth", "answer", "revealed", "drill"])
def test_a_forger_cannot_change_what_is_not_forgeable(field):
    forging, fresh, bare = drawn("station")
    column = forging.world.space.column(field)
    proposals = bare.copy()
    proposals[3, column] = 1 if bare[3, column] != 1 else 2
    forged = forging.enforce(fresh, bare, proposals)
    assert reasons(forged) == [""] * 3 + ["changed what cannot be forged"] + [""] * 60
    assert np.array_equal(forged.scenarios[3], fresh[3])


def test_a_proposal_out_of_bounds_is_invalid_and_replaced():
    forging, fresh, bare = drawn("station")
    proposals = bare.copy()
    proposals[5, forging.world.space.column("place")] = 1  # a wall
    forged = forging.enforce(fresh, bare, proposals)
    assert reasons(forged)[5] == "invalid"
    assert np.array_equal(forged.scenarios, fresh)


@pytest.mark.parametrize("spare", [3, 4, 7, 8])
def test_a_claimed_time_that_no_genuine_emergency_leaves_is_implausible(spare):
    forging, fresh, bare = drawn("station")
    space = forging.world.space
    proposals = bare.copy()
    place, door, start = (bare[:, space.column(name)] for name in ("place", "door", "start"))
    walk = (5 - start % 10 + abs(start // 10 - door)) + 1 + (place % 10 - 6 + abs(place // 10 - door))
    proposals[:, space.column("ttl")] = walk + spare
    refused = reasons(forging.enforce(fresh, bare, proposals))
    assert set(refused) == ({""} if 4 <= spare <= 7 else {"implausible"})


def test_fewer_cues_than_any_emergency_has_are_implausible():
    forging, fresh, bare = drawn("station")
    proposals = bare.copy()
    proposals[:, [forging.world.space.column(cue) for cue in ("cry", "thump", "message")]] = 0
    assert set(reasons(forging.enforce(fresh, bare, proposals))) == {"implausible"}


def test_a_held_out_place_is_implausible():
    forging, fresh, bare = drawn("dilemma")
    proposals = bare.copy()
    proposals[:, forging.world.space.column("place")] = 2
    assert set(reasons(forging.enforce(fresh, bare, proposals))) == {"implausible"}


def vague_tell() -> DilemmaWorld:
    """The tell says little, and forgeries seldom show the cues: with all cues, leaving is right whatever the tell."""
    cues = tuple(Signal(name, 0.95, 0.2, 0.05) for name in ("cry", "thump"))
    return DilemmaWorld(DilemmaSettings(cues=cues, tells=(Signal("channel", 0.5, 0.6, 0.5),)), "vague")


def test_what_nobody_could_do_well_in_is_unsolvable():
    world = vague_tell()
    forging = Forging(world, 0.5)
    fresh = forging.draw(200, np.random.default_rng(0))
    bare = forging.without_tells(fresh)
    cues = [world.space.column(cue) for cue in ("cry", "thump")]
    loud, quiet = bare.copy(), bare.copy()
    loud[:, cues], quiet[:, cues] = 1, 0
    assert set(reasons(forging.enforce(fresh, bare, loud))) == {"unsolvable"}
    assert set(reasons(forging.enforce(fresh, bare, quiet))) == {""}


def test_refused_rows_keep_the_tells_fair():
    """Refusal is decided before the tells are drawn, so it cannot select among them."""
    forging, fresh, bare = drawn("station", 0.5, n=4000)
    proposals = bare.copy()
    proposals[::2, forging.world.space.column("ttl")] = 31
    forged = forging.enforce(fresh, bare, proposals)
    assert (forged.refused[::2] > 0).all()
    assert not (forged.refused[1::2] > 0).any()
    tells = [forging.world.space.column(tell) for tell in forging.world.dilemma.tells]
    assert np.array_equal(forged.scenarios[:, tells], fresh[:, tells])


@pytest.mark.parametrize(
    "wrong", [lambda rows: rows[:-1], lambda rows: rows.astype(np.int64), lambda rows: rows[:, 1:]]
)
def test_proposals_of_another_shape_are_an_error(wrong):
    forging, fresh, bare = drawn("station")
    with pytest.raises(ScenarioError, match="expected int16 proposals"):
        forging.enforce(fresh, bare, wrong(bare))


def test_identity_leaves_the_tells_out_and_nothing_else():
    forging, fresh, bare = drawn("station")
    assert np.array_equal(forging.identity(fresh), forging.identity(bare))
    assert len(np.unique(forging.identity(fresh))) == len(fresh)
    for column in range(len(forging.world.space)):
        if forging.world.space.fields[column].name not in forging.world.dilemma.tells:
            other = bare.copy()
            other[:, column] += 1
            assert (forging.identity(other) != forging.identity(bare)).all()


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(KerfError, match=r"strength must be in \[0, 1\]"):
        Forging(get_world("station"), strength)


def test_what_a_forger_chooses():
    def names(world_name):
        forging = Forging(get_world(world_name), 1.0)
        return {forging.world.space.fields[column].name for column in forging.columns}

    assert names("station") == {"cry", "thump", "message", "vitals", "place", "ttl"}
    assert names("dilemma") == {"cry", "thump", "message", "vitals", "stakes", "place"}
    assert names("tests.toy_world:Lever") == set()  # a cue is there whenever something is claimed


def test_diversity_is_one_for_an_even_spread_and_zero_for_copies():
    forging, fresh, _ = drawn("dilemma")
    assert diversity(forging, np.repeat(fresh[:1], 50, axis=0)) == 0.0
    assert diversity(forging, fresh[:0]) == 0.0
    even = np.repeat(fresh[:1], 2**6, axis=0)
    even[:, forging.columns] = (np.arange(2**6)[:, None] >> np.arange(6)) & 1
    assert diversity(forging, even) == pytest.approx(1.0)
    cues = even.copy()
    cues[:, forging.columns[:3]] = 1
    assert diversity(forging, cues) == pytest.approx(0.5)
