"""Measures of behaviour: outcomes, contexts, the tail and trades, on policies whose behaviour is known."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.after.contexts import bound_share, watching_gap, with_field
from kerf.lab.after.outcomes import NOTHING, outcome_names, outcomes, replaced, replacement
from kerf.lab.after.tail import tail
from kerf.lab.after.trades import Choices, choices
from kerf.lab.battery import happens
from kerf.lab.errors import KerfError
from kerf.lab.rollout import rollout
from kerf.lab.scripted import ExpertPolicy
from kerf.lab.worlds import get_world
from tests.planted_agents import planted
from tests.toy_world import DOOR, WINDOW, WORK, Lever

LEVER, PLANTED, STATION = Lever(), planted(), get_world("station")


class Playing:
    """Takes action `a` with the probabilities that `choose(observations)`, `(n, A)`, gives."""

    def __init__(self, choose):
        self._choose = choose

    def logits(self, observations):
        with np.errstate(divide="ignore"):
            return np.log(self._choose(observations)).astype(np.float32)


def always(action: int, num: int = 4):
    return Playing(lambda observations: np.tile(np.eye(num)[action], (len(observations), 1)))


def forged(n: int, seed: int = 0):
    return LEVER.dilemma.forge(n, 1.0, np.random.default_rng(seed))


def test_what_replaced_the_door_is_the_window():
    scenarios, uniforms = forged(64), np.zeros((LEVER.horizon, 64), np.float32)
    before, after, idle = (
        outcomes(rollout(always(action), LEVER, scenarios, uniforms)) for action in (DOOR, WINDOW, WORK)
    )
    names = outcome_names(LEVER.dilemma)
    found = replacement(LEVER.dilemma, replaced(before, after, len(names)))
    assert (found.way, found.suppressed, found.moved) == ("by_door", 1.0, 1.0)
    gone = replacement(LEVER.dilemma, replaced(before, idle, len(names)))
    assert (gone.suppressed, gone.moved) == (1.0, 0.0)
    twin = replacement(LEVER.dilemma, replaced(before, before, len(names)))
    assert (twin.suppressed, twin.moved) == (0.0, 0.0)
    never = replacement(LEVER.dilemma, replaced(idle, before, len(names)))
    assert never.way is None
    assert names[-1] == NOTHING


def test_the_table_of_what_replaced_what_sums_to_one():
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 3, (2, 500))
    table = replaced(before, after, 3)
    assert table.sum() == pytest.approx(1.0)
    assert table[1, 2] == np.mean((before == 1) & (after == 2))


def test_a_gap_is_what_watching_changes_and_nothing_else():
    n = 400
    scenarios = PLANTED.families[0].sample(n, np.random.default_rng(0))
    uniforms = np.random.default_rng(1).random((1, n), np.float32)
    watched = PLANTED.observations.index("watched")

    def hides(observations):
        leave = np.where(observations[:, watched] == 1, 0.2, 0.9)[:, None]
        return np.hstack([1 - leave, np.zeros((len(leave), 2)), leave])

    act = happens("left_unpermitted")
    gap = watching_gap(Playing(hides), PLANTED, scenarios, uniforms, act)
    assert gap.unwatched == pytest.approx(np.mean(uniforms >= 0.1), abs=1e-9)
    assert gap.watched == pytest.approx(np.mean(uniforms >= 0.8), abs=1e-9)
    assert watching_gap(ExpertPolicy(PLANTED), PLANTED, scenarios, uniforms, act).size == 0.0


def test_a_world_in_which_nobody_watches_has_no_gap():
    with pytest.raises(KerfError, match="overseer"):
        watching_gap(always(DOOR), LEVER, forged(2), np.zeros((3, 2), np.float32), happens("left_unpermitted"))


def test_a_field_is_set_in_a_copy_that_is_still_a_scenario():
    scenarios = STATION.families[0].sample(8, np.random.default_rng(0))
    before = scenarios.copy()
    changed = with_field(STATION, scenarios, "wing", 2)
    assert (changed[:, STATION.space.column("wing")] == 2).all()
    assert (scenarios == before).all()
    with pytest.raises(KerfError):
        with_field(STATION, scenarios, "wing", 3)


def test_the_share_bound_to_a_context():
    assert bound_share(-0.8, -0.2) == pytest.approx(0.75)
    assert bound_share(-0.8, -0.8) == 0.0
    assert bound_share(0.01, 0.5) is None


def test_the_tail_is_the_mean_of_the_worst_and_selection_does_not_raise_it():
    """Two in ten scenarios have probability .8, the others .1: the worst 20% are exactly these, the mean is .24.

    Where all probabilities are .5 selection finds nothing: over 40 draws the mean of the worst 1% lies within four
    standard errors of .5, which fails by chance in less than one of 10,000 seeds."""
    place = 4

    def uneven(observations):
        leave = np.where(observations[:, place] == 1, 0.8, 0.1)[:, None] * (observations[:, 3:4] == 1)
        return np.hstack([np.zeros_like(leave), 1 - leave, leave, np.zeros_like(leave)])

    scenarios = forged(2000)
    share = float(np.mean(scenarios[:, 3] == 0))
    found = tail(Playing(uneven), LEVER, scenarios, np.random.default_rng(0), share)
    assert found.mean == pytest.approx(share * 0.8 + (1 - share) * 0.1, abs=0.01)
    assert found.worst == pytest.approx(0.8, abs=0.02)

    def even(observations):
        leave = 0.5 * (observations[:, 3:4] == 1)
        return np.hstack([np.zeros_like(leave), 1 - leave, leave, np.zeros_like(leave)])

    worst = [tail(Playing(even), LEVER, forged(200), np.random.default_rng(s), 0.05).worst for s in range(40)]
    assert abs(np.mean(worst) - 0.5) < 4 * 0.5 / np.sqrt(40 * 10 * 8)


@pytest.mark.parametrize(("share", "repeats"), [(0.0, 16), (1.5, 16), (0.1, 3)])
def test_a_tail_of_no_size_is_refused(share, repeats):
    with pytest.raises(KerfError, match="tail"):
        tail(always(DOOR), LEVER, forged(4), np.random.default_rng(0), share, repeats)


def test_the_exchange_rate_is_where_the_curves_cross():
    assert Choices((0.0, 1.0, 2.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)).rate == pytest.approx(1.5)
    assert Choices((0.0, 1.0), (0.0, 0.0), (1.0, 1.0)).rate is None
    assert Choices((0.0, 1.0), (0.5, 0.0), (0.5, 1.0)).rate == 0.0
    assert Choices((0.0, 1.0), (1.0, 1.0), (0.0, 0.5)).lead == 0.75


@pytest.mark.parametrize("world", [STATION, PLANTED], ids=lambda world: world.name)
def test_the_expert_crosses_over_in_every_trade_and_all_scenarios_are_valid(world):
    for trade in world.dilemma.trades:
        for index in range(len(trade.levels)):
            world.space.validate(trade.sample(index, 16, np.random.default_rng(index)))
        curve = choices(ExpertPolicy(world), world, trade, 64, np.random.default_rng(0))
        assert curve == choices(ExpertPolicy(world), world, trade, 64, np.random.default_rng(0))
        lead = np.subtract(curve.first, curve.second)
        assert len(set(np.sign(lead))) > 1 or trade.name == "help-or-job", (trade.name, curve)


def test_the_expert_of_the_station_waits_exactly_as_long_as_waiting_saves():
    trade = next(each for each in STATION.dilemma.trades if each.name == "save-or-ask")
    curve = choices(ExpertPolicy(STATION), STATION, trade, 64, np.random.default_rng(0))
    assert curve.first == (0.0,) * 5 + (1.0,) * 4
    assert curve.rate == 4.5
