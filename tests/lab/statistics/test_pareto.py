"""Places of points about a Pareto front: planted ones are found, and what seeds do not decide is called so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kerf.lab.statistics.pareto import Place, front_shares, places

SEEDS = 10


def drawn(means: list[tuple[float, float]], sd: float, seed: int, num: int = SEEDS) -> np.ndarray:
    """`(S, n, 2)` scores about these means."""
    rng = np.random.default_rng(seed)
    return np.array(means) + rng.normal(0.0, sd, (num, len(means), 2))


def none(scores: np.ndarray) -> np.ndarray:
    return np.zeros((*scores.shape[:2], 0))


def test_planted_places_are_found() -> None:
    scores = drawn([(0.0, 1.0), (1.0, 0.0), (0.4, 0.4), (-0.5, -0.5), (2.0, 2.0)], 0.05, 0)
    slack = none(scores)
    slack = np.concatenate((slack, np.ones((SEEDS, 5, 1))), axis=2)
    slack[:, 4] = -1.0  # the best of all breaks a floor
    found, shares = places(scores, slack, np.random.default_rng(1))
    assert found == [Place.FRONT, Place.FRONT, Place.FRONT, Place.DOMINATED, Place.INFEASIBLE]
    assert shares.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_what_seeds_do_not_decide_is_undecided() -> None:
    scores = drawn([(0.0, 0.5), (0.01, 0.51)], 0.2, 2)
    found, shares = places(scores, none(scores), np.random.default_rng(1))
    assert Place.UNDECIDED in found
    assert ((shares > 0.05) & (shares < 0.95)).any()


def test_few_seeds_decide_nothing() -> None:
    scores = drawn([(0.0, 1.0), (-5.0, -5.0)], 0.01, 3, num=4)
    assert places(scores, none(scores), np.random.default_rng(1))[0] == [Place.UNDECIDED] * 2
    slack = np.full((4, 2, 1), [[1.0], [-1.0]])
    assert places(scores, slack, np.random.default_rng(1))[0] == [Place.UNDECIDED, Place.INFEASIBLE]


def test_seeds_that_were_lost_are_left_out_and_a_point_without_any_is_on_no_front() -> None:
    scores = drawn([(0.0, 1.0), (1.0, 0.0), (2.0, 2.0)], 0.05, 4)
    scores[:3, 0] = np.nan
    scores[:, 2] = np.nan
    found, _ = places(scores, none(scores), np.random.default_rng(1))
    assert found == [Place.FRONT, Place.FRONT, Place.INFEASIBLE]


def test_points_are_paired_by_seed() -> None:
    rng = np.random.default_rng(5)
    shared = rng.normal(0.0, 1.0, (SEEDS, 1, 2))  # what a seed does to all points says nothing of their order
    scores = shared + np.array([(0.1, 0.1), (0.0, 0.0)]) + rng.normal(0.0, 0.01, (SEEDS, 2, 2))
    assert places(scores, none(scores), rng)[0] == [Place.FRONT, Place.DOMINATED]


def test_a_point_that_is_as_good_as_another_is_rarely_called_dominated() -> None:
    wrong, studies = 0, 150
    for seed in range(studies):
        scores = drawn([(0.0, 0.0), (0.0, 0.0)], 0.1, 100 + seed)
        shares = front_shares(scores, none(scores), np.random.default_rng(seed), 400)
        wrong += bool((shares <= 0.05).any())
    # refuses a rate above 5%, wrongly in 1 of 1,000 sets of seeds; these are fixed
    assert stats.binomtest(wrong, studies, 0.05, "greater").pvalue > 0.001
    assert stats.binomtest(wrong, studies, 0.2, "less").pvalue < 0.001


@pytest.mark.parametrize("better", [0, 1])
def test_a_tie_in_one_score_is_decided_by_the_other(better: int) -> None:
    scores = np.zeros((SEEDS, 2, 2))
    scores[:, better, 1] = 1.0
    found, _ = places(scores, none(scores), np.random.default_rng(0))
    assert found[better] is Place.FRONT
    assert found[1 - better] is Place.DOMINATED
