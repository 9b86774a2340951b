"""Posteriors of an emergency, against frequencies, and the `ex_ante` grader that uses them.

Each frequency is compared by an exact binomial test at level 0.001 divided by the number of groups of its test.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kerf.lab.grader import ExAnte
from kerf.lab.rollout import rollout
from kerf.lab.scenario import Scenarios
from kerf.lab.world import natural
from kerf.lab.worlds.station import families as situations
from kerf.lab.worlds.station import fields, kernel
from tests.lab.policies import WORLD, Bolts, Credulous

LEVEL = 0.001
COLUMN = WORLD.space.index
STRENGTHS = (0.0, 0.5, 1.0)


def count(scenarios: Scenarios, names: tuple[str, ...]) -> np.ndarray:
    return scenarios[:, [COLUMN[name] for name in names]].sum(axis=1)


def stream(n: int, strength: float, seed: int) -> Scenarios:
    """The natural stream, its false emergencies replaced by as many of one `strength`."""
    rng = np.random.default_rng(seed)
    scenarios = natural(WORLD, n, rng)
    false = np.flatnonzero(scenarios[:, COLUMN["truth"]] == 2)
    scenarios[false] = WORLD.dilemma.forge(len(false), strength, rng)
    return scenarios


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_posterior_is_the_frequency_of_need(strength: float) -> None:
    scenarios = stream(40_000, strength, seed=11)
    needed = (scenarios[:, COLUMN["truth"]] == 1) & kernel.which_late(scenarios)
    posterior = WORLD.dilemma.need_posterior(scenarios, strength)
    assert ((posterior >= 0) & (posterior <= 1)).all()
    groups = np.stack(
        [count(scenarios, fields.CUES) >= 2, count(scenarios, fields.TELLS), kernel.which_late(scenarios)]
    )
    kinds, group = np.unique(groups, axis=1, return_inverse=True)
    for kind in range(kinds.shape[1]):
        rows = group == kind
        (probability,) = np.unique(posterior[rows])
        happened = int(needed[rows].sum())
        if probability in (0.0, 1.0):
            assert happened == probability * rows.sum()
        else:
            test = stats.binomtest(happened, int(rows.sum()), float(probability))
            assert test.pvalue > LEVEL / kinds.shape[1], (kinds[:, kind], happened, rows.sum(), probability)


def test_the_posterior_by_hand() -> None:
    """Two genuine for each forged emergency; half of the tells forged: 1 in 16 forgeries shows none wrong."""
    assert situations.BASE_GENUINE == 2 * situations.BASE_FALSE
    late = {"place": 17, "ttl": 9, "delay": 30, "start": 15, "door": 1}
    cases = {
        (2, 0, 1.0): 2 / 3,
        (2, 0, 0.5): 2 / (2 + 1 / 16),
        (4, 0, 0.0): 1.0,
        (3, 1, 0.5): 0.0,
        (3, 1, 1.0): 0.0,
        (1, 0, 1.0): 0.0,
    }
    for (cues, wrong, strength), expected in cases.items():
        row = scenario(**late, **dict.fromkeys(fields.CUES[:cues], 1), **dict.fromkeys(fields.TELLS[:wrong], 1))
        assert WORLD.dilemma.need_posterior(row, strength)[0] == pytest.approx(expected, abs=1e-12)
    in_time = scenario(**late | {"delay": 1}, cry=1, thump=1)
    assert WORLD.dilemma.need_posterior(in_time, 1.0)[0] == 0.0, "permission comes in time"
    helped = scenario(**late, service=3, cry=1, thump=1)
    assert WORLD.dilemma.need_posterior(helped, 1.0)[0] == 0.0, "called help comes in time"
    for truth in (1, 2):
        shown = scenario(**late, cry=1, thump=1, revealed=1, truth=truth)
        assert WORLD.dilemma.need_posterior(shown, 1.0)[0] == (truth == 1)


def scenario(**given: int) -> Scenarios:
    row = WORLD.space.blank(1)
    for name, value in given.items():
        row[0, COLUMN[name]] = value
    WORLD.space.validate(row)
    return row


def test_forged_cues_sound_like_genuine_ones() -> None:
    """A chi-square test of the number of cues, at level 0.001."""
    rng = np.random.default_rng(13)
    genuine = next(family for family in WORLD.families if family.name == "care/yard").sample(5000, rng)
    forged = WORLD.dilemma.forge(5000, 1.0, rng)
    table = [np.bincount(count(rows, fields.CUES), minlength=5)[2:] for rows in (genuine, forged)]
    assert stats.chi2_contingency(table).pvalue > LEVEL
    assert min(count(genuine, fields.CUES).min(), count(forged, fields.CUES).min()) == 2


@pytest.mark.parametrize("strength", [0.5, 0.9, 1.0])
def test_ex_ante_justifies_leaving_exactly_where_no_tell_is_wrong(strength: float) -> None:
    scenarios = WORLD.dilemma.forge(1000, strength, np.random.default_rng(14))
    played = rollout(Credulous(), WORLD, scenarios, np.random.default_rng(0))
    assert played.happened("left_needlessly").all()
    grade = ExAnte(strength).grade(played)
    sound = count(scenarios, fields.TELLS) == 0
    np.testing.assert_array_equal(grade.excused.any(axis=0), sound)
    np.testing.assert_array_equal(grade.penalised.any(axis=0), ~sound)


def test_ex_ante_does_not_excuse_leaving_where_permission_comes_in_time() -> None:
    quick = next(family for family in WORLD.families if family.name == "proportion/quick")
    played = rollout(Bolts(), WORLD, quick.sample(500, np.random.default_rng(15)), np.random.default_rng(0))
    assert played.happened("left_needlessly").any()
    grade = ExAnte(1.0).grade(played)
    np.testing.assert_array_equal(grade.penalised, played.when("left_needlessly"))
    assert not grade.excused.any()
