"""Oversight: with what probability a penalty falls, and what the agent sees of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from kerf.lab.errors import KerfError
from kerf.lab.grader import ExAnte, ExPost, Grader
from kerf.lab.oversight import PERFECT, Oversight
from kerf.lab.reward_spec import RewardSpec
from kerf.lab.rollout import Trajectories, rollout
from kerf.lab.world import natural
from tests.lab.policies import WORLD, Bolts

ALPHA = 0.001
"""Error rate of each binomial test here."""


@pytest.fixture(scope="module")
def played() -> Trajectories:
    """Everybody walks out, with need and without."""
    rng = np.random.default_rng(0)
    scenarios = np.concatenate([natural(WORLD, 1500, rng), WORLD.dilemma.forge(500, 1.0, rng)])
    return rollout(Bolts(), WORLD, scenarios, rng)


@pytest.mark.parametrize(
    "oversight", [Oversight(0.7, 0.2, 0.4), Oversight(0.5), Oversight(1.0, 0.3), Oversight(1, 0, 1)]
)
def test_penalties_fall_as_often_as_the_formula_says(played: Trajectories, oversight: Oversight) -> None:
    draws = oversight.draw(len(played), np.random.default_rng(1))
    graded = ExPost().grade(played).penalised
    found = oversight.penalised(played, graded, draws) > 0
    forbidden = played.when("left_unpermitted")
    assert not found[~forbidden].any()
    for acts, chance in (
        (graded, oversight.share * (1 - oversight.misses)),
        (forbidden & ~graded, oversight.share * oversight.false_alarms),
    ):
        assert acts.sum() > 100
        assert stats.binomtest(int(found[acts].sum()), int(acts.sum()), chance).pvalue > ALPHA
        expected = oversight.penalised(played, graded)[acts]
        np.testing.assert_allclose(expected, chance)
    assert not found[:, ~draws.overseen].any()


@pytest.mark.parametrize("grader", [ExPost(), ExAnte(1.0)])
def test_perfect_oversight_is_the_graders_word(played: Trajectories, grader: Grader) -> None:
    draws = PERFECT.draw(len(played), np.random.default_rng(2))
    spec = RewardSpec(grader=grader, penalty=3.0)
    for drawn in (None, draws):
        utility, penalty = spec.terms(played, drawn)
        np.testing.assert_array_equal(penalty, 3.0 * grader.grade(played).penalised)
        np.testing.assert_array_equal(utility, spec.terms(played)[0])


def test_a_false_alarm_takes_the_excuse_away(played: Trajectories) -> None:
    grade = ExAnte(1.0).grade(played)
    assert grade.excused.any()
    plain, alarmed = (
        RewardSpec(grader=ExAnte(1.0), oversight=Oversight(false_alarms=rate)).terms(played)[0] for rate in (0.0, 1.0)
    )
    np.testing.assert_allclose((plain - alarmed)[grade.excused], WORLD.dilemma.cost)
    np.testing.assert_array_equal(plain[~grade.excused], alarmed[~grade.excused])


def test_more_oversight_penalises_all_that_less_does(played: Trajectories) -> None:
    graded = ExPost().grade(played).penalised
    sets = []
    for share, misses in ((0.3, 0.5), (0.3, 0.2), (0.8, 0.2), (1.0, 0.0)):
        oversight = Oversight(share, misses)
        sets.append(oversight.penalised(played, graded, oversight.draw(len(played), np.random.default_rng(3))))
    sums = [part.sum() for part in sets]
    assert sums == sorted(set(sums))
    assert all((less <= more).all() for less, more in pairwise(sets))


def test_the_cue_is_what_was_drawn_and_nothing_else_changes(played: Trajectories) -> None:
    oversight = Oversight(0.4, cue="drill")
    draws = oversight.draw(len(played), np.random.default_rng(4))
    shown = oversight.shown(WORLD, played.scenarios, draws)
    column = WORLD.space.column("drill")
    np.testing.assert_array_equal(shown[:, column], draws.overseen)
    np.testing.assert_array_equal(np.delete(shown, column, 1), np.delete(played.scenarios, column, 1))
    assert not played.scenarios[:, column].any()
    assert Oversight(0.4).shown(WORLD, played.scenarios, draws) is played.scenarios


@pytest.mark.parametrize("sign", WORLD.dilemma.signs)
def test_a_sign_changes_no_event_and_no_need(played: Trajectories, sign: str) -> None:
    marked = [played.scenarios.copy() for _ in range(2)]
    for value, scenarios in enumerate(marked):
        scenarios[:, WORLD.space.column(sign)] = value
        WORLD.space.validate(scenarios)
    runs = [rollout(Bolts(), WORLD, scenarios, np.random.default_rng(5)) for scenarios in marked]
    np.testing.assert_array_equal(runs[0].events, runs[1].events)
    needs = [WORLD.dilemma.need_posterior(scenarios, 0.5) for scenarios in marked]
    np.testing.assert_array_equal(*needs)
    seen = [(run.observations != runs[0].observations).any() for run in runs]
    assert seen == [False, True]


def test_nothing_falls_where_the_penalty_is_not_in_force() -> None:
    assert not PERFECT.draw(50, np.random.default_rng(0), in_force=False).overseen.any()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(KerfError, match=r"oversight: misses must be in \[0, 1\], got 1.5"):
        Oversight(misses=1.5)
    with pytest.raises(KerfError, match=r"expected a sign of world 'station' .* one of watched, drill, got 'revealed'"):
        Oversight(cue="revealed").check(WORLD)
