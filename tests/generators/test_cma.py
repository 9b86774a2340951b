"""The evolution strategy, against known properties."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kerf.generators.cma import CMA, FARTHEST, LEAST_SPREAD, MOST_SPREAD


def climb(cma, score, generations, n=64, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(generations):
        points = cma.sample(n, rng)
        cma.update(points, score(points))
    return cma


def spreads(cma):
    return cma.sigma * np.sqrt(np.linalg.eigvalsh(cma.covariance))


def test_it_starts_as_the_standard_normal():
    points = CMA(5).sample(20_000, np.random.default_rng(0))
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=0.04)  # six standard errors
    np.testing.assert_allclose(np.cov(points.T), np.eye(5), atol=0.06)


@pytest.mark.parametrize("n", [16, 64, 1024])
def test_it_climbs_a_skewed_hill_as_far_as_its_least_spread_lets_it(n):
    top = np.array([1.0, -2.0, 0.5, 0.0])
    steep = np.array([1.0, 100.0, 0.1, 10.0])
    cma = climb(CMA(4), lambda points: -((points - top) ** 2 @ steep), 60, n)
    np.testing.assert_allclose(cma.mean[[0, 1, 3]], top[[0, 1, 3]], atol=0.25)
    assert spreads(cma).min() >= LEAST_SPREAD * 0.999


def test_it_finds_directions_that_hang_together():
    cma = climb(CMA(2), lambda points: -(100 * (points[:, 0] - points[:, 1]) ** 2) - points.sum(axis=1) ** 2, 40)
    assert cma.covariance[0, 1] > 0.0


def test_scores_that_are_all_equal_teach_nothing():
    cma = climb(CMA(3), lambda points: np.zeros(len(points)), 20)
    assert cma.get_state() == CMA(3).get_state()


def test_only_the_order_of_scores_counts():
    first, second = (climb(CMA(3), score, 10) for score in (lambda p: p.sum(axis=1), lambda p: np.exp(p.sum(axis=1))))
    assert first.get_state() == second.get_state()


def test_one_success_among_failures_pulls_towards_it():
    cma, points = CMA(3), np.random.default_rng(0).standard_normal((64, 3))
    scores = np.zeros(64)
    scores[7] = 1.0
    cma.update(points, scores)
    np.testing.assert_allclose(cma.mean, np.clip(points[7], -FARTHEST, FARTHEST))


def test_a_slope_without_end_stays_within_bounds():
    cma = climb(CMA(3), lambda points: points[:, 0], 200)
    assert cma.mean[0] == FARTHEST
    assert (np.abs(cma.mean) <= FARTHEST).all()
    assert spreads(cma).max() <= MOST_SPREAD * 1.001
    assert spreads(cma).min() >= LEAST_SPREAD * 0.999


def test_a_restored_one_goes_on_as_the_original():
    original, restored = climb(CMA(4), lambda points: 1.0 * (points[:, 0] > 1.0), 5), CMA(4)
    restored.set_state(json.loads(json.dumps(original.get_state())))
    for cma in (original, restored):
        climb(cma, lambda points: -(points**2).sum(axis=1), 5, seed=1)
    assert original.get_state() == restored.get_state()
    with pytest.raises(ValueError, match="reshape"):
        CMA(5).set_state(original.get_state())
