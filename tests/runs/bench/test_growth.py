"""The exponent of growth, on timings of which it is known. Seeds are fixed, so rates stay what they are."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.runs.bench.growth import FALSE_ALARMS, LEVEL, Growth, growth

SIZES = 2.0 ** np.arange(5)
NOISE = 0.05
"""Of the logarithm of a timing, as on a quiet machine or worse; whole repetitions differ by 30% besides."""


def planted(exponent: float, seed: int, noise: float = NOISE, repetitions: int = 5, fixed: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    slower = np.exp(0.3 * rng.standard_normal((repetitions, 1)))
    wrong = np.exp(noise * rng.standard_normal((repetitions, len(SIZES))))
    return (fixed + SIZES**exponent) * slower * wrong


def grown(exponent: float, seed: int, **kwargs: float) -> Growth:
    return growth(SIZES, planted(exponent, seed, **kwargs), np.random.default_rng(seed))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("fixed", [0.0, 1.0])
def test_without_noise_the_exponent_is_found(exponent: float, fixed: float) -> None:
    found = grown(exponent, 0, noise=0.0, fixed=fixed)
    assert found.exponent == pytest.approx(exponent, abs=0.011)  # the grid's step is 0.02
    assert found.fixed / planted(exponent, 0, noise=0.0, fixed=fixed)[:, 0].min() < 2
    assert found.too_fast == (exponent > 1.0)


def test_linear_growth_passes_but_for_the_stated_rate() -> None:
    """40 studies: with one false alarm in 1,000 each, even one would come about in 4% of such tests, two in 0.1%."""
    found = [grown(1.0, seed) for seed in range(40)]
    assert FALSE_ALARMS == 1 / 1000
    assert sum(one.too_fast for one in found) <= 1
    assert not any(one.too_noisy for one in found)


def test_the_interval_holds_the_exponent_as_often_as_it_says() -> None:
    """At 95% each, fewer than 33 of 40 would come about once in 10,000 (binomial)."""
    found = [grown(1.0, seed) for seed in range(40)]
    assert LEVEL == 0.95
    assert sum(one.low <= 1.0 <= one.high for one in found) >= 33


@pytest.mark.parametrize("exponent", [1.5, 2.0])
def test_faster_growth_is_caught_behind_a_fixed_cost_and_noise(exponent: float) -> None:
    assert sum(grown(exponent, seed).too_fast for seed in range(20)) >= 19


def test_noise_that_could_hide_anything_is_called_so_and_breaks_nothing() -> None:
    for seed in range(10):
        found = grown(1.0, seed, noise=0.5, repetitions=3)
        assert found.too_noisy
        assert not found.too_fast


def test_a_cost_that_should_not_grow_at_all() -> None:
    sizes, rng = np.array([1.0, 2.0, 4.0]), np.random.default_rng(0)
    noise = np.exp(NOISE * rng.standard_normal((5, 3)))
    flat = growth(sizes, np.ones(3) * noise, rng, bound=0.0, fixed=False)
    linear = growth(sizes, sizes * noise, rng, bound=0.0, fixed=False)
    assert not flat.too_fast
    assert linear.too_fast
    assert linear.exponent == pytest.approx(1.0, abs=0.15)


def test_a_machine_that_slows_down_by_the_repetition_changes_nothing() -> None:
    seconds = planted(1.0, 3)
    slowing = seconds * np.linspace(1.0, 9.0, len(seconds))[:, None]
    quick, slow = (growth(SIZES, timings, np.random.default_rng(0)) for timings in (seconds, slowing))
    assert quick.exponent == slow.exponent
    assert quick.noise == pytest.approx(slow.noise)
