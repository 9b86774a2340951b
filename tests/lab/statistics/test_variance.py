"""Variance components: by hand, and planted ones that are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from kerf.lab.statistics.variance import variance_components


def test_components_by_hand() -> None:
    found = variance_components([[0.0, 0.2, 0.4], [0.0, 0.2, 0.4]])  # batteries agree
    assert (found.seed, found.probe, found.residual) == pytest.approx((0.04, 0.0, 0.0), abs=1e-15)
    found = variance_components([[0.1, 0.1], [0.3, 0.3]])  # seeds agree
    assert (found.seed, found.probe, found.residual) == pytest.approx((0.0, 0.02, 0.0), abs=1e-15)
    assert (found.seed_sd, found.probe_sd) == pytest.approx((0.0, math.sqrt(0.02)), abs=1e-7)
    found = variance_components([[0.0, 1.0], [1.0, 0.0]])  # nothing but residual, so both estimates are below 0
    assert (found.seed, found.probe, found.residual) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("effects", [[[0.1, 0.2]], [[0.1], [0.2]], [0.1, 0.2], [[0.1, math.nan], [0.1, 0.2]]])
def test_too_few_or_no_numbers_are_refused(effects: list[object]) -> None:
    with pytest.raises(ValueError, match="expected finite effects"):
        variance_components(effects)


def test_planted_components_are_found() -> None:
    """Mean of 2000 simulated studies of 3 batteries and 8 seeds; a z test, error rate 0.001 each.

    The seed's part is so large that its estimate is hardly ever below 0, and the mean of estimates is then unbiased.
    """
    rng = np.random.default_rng(11)
    seed_sd, probe_sd, residual_sd = 0.3, 0.1, 0.03
    found = []
    for _ in range(2000):
        effects = (
            -0.2
            + rng.normal(0, seed_sd, 8)
            + rng.normal(0, probe_sd, (3, 1))
            + rng.normal(0, residual_sd, (3, 8))
        )  # fmt: skip
        parts = variance_components(effects)
        found.append((parts.seed, parts.probe, parts.residual))
    means, errors = np.mean(found, axis=0), stats.sem(found)
    assert (np.abs(means - np.square([seed_sd, probe_sd, residual_sd])) < stats.norm.ppf(0.9995) * errors).all()


def test_where_batteries_agree_no_probe_error_is_found() -> None:
    """1000 studies without any: the estimate is 0 in about half of them, and small in the others."""
    rng = np.random.default_rng(12)
    found = [
        variance_components(rng.normal(0, 0.3, 20) + rng.normal(0, 0.02, (3, 20))).probe_sd ** 2 for _ in range(1000)
    ]
    assert np.mean(found) == pytest.approx(0.02**2, rel=0.1)
