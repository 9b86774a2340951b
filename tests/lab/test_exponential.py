"""Exponential and logarithm in vectors, against numpy's in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerf.lab.compiled import compiled
from kerf.lab.exponential import LARGEST, SMALLEST, exp, log


@compiled
def each_exp(x: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = exp(x[i])


@compiled
def each_log(x: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = log(x[i])


def test_exp_is_exp() -> None:
    x = np.concatenate([np.linspace(SMALLEST, LARGEST, 200_001), np.linspace(-1.0, 1.0, 100_001)]).astype(np.float32)
    got = np.empty_like(x)
    each_exp(x, got)
    assert np.abs(got / np.exp(x.astype(np.float64)) - 1.0).max() < 2e-7


def test_log_is_log() -> None:
    x = np.concatenate([np.linspace(0.1, 20.0, 200_001), np.geomspace(1.2e-38, 3e38, 200_001)]).astype(np.float32)
    got, wanted = np.empty_like(x), np.log(x.astype(np.float64))
    each_log(x, got)
    assert (np.abs(got - wanted) - 2e-7 * np.abs(wanted)).max() < 1e-7


def test_what_lies_outside_is_nothing_or_without_bound() -> None:
    x = np.tile(np.array([np.nan, np.inf, -np.inf, 0.0, -200.0, 200.0], np.float32), 11)
    got = np.empty_like(x)
    each_exp(x, got)
    np.testing.assert_array_equal(got, np.tile([np.nan, np.inf, 0.0, 1.0, 0.0, np.inf], 11))
    np.testing.assert_array_equal([exp.py_func(number) for number in x[:6]], got[:6])


def test_uncompiled_they_are_the_same_to_rounding() -> None:
    x = np.linspace(0.01, 30.0, 200).astype(np.float32)
    got = np.empty_like(x)
    each_exp(x, got)
    np.testing.assert_allclose([exp.py_func(number) for number in x], got, rtol=3e-7)
    each_log(x, got)
    np.testing.assert_allclose([log.py_func(number) for number in x], got, rtol=3e-7, atol=1e-7)
