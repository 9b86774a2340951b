"""Numbers of iterations needed, censored curves, and savings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerf.lab.after.relearning import Needed, needed, restricted_savings, savings, share_saved
from kerf.lab.errors import KerfError

CURVES = st.builds(Needed, st.floats(0, 20), st.just(False)) | st.just(Needed(20.0, censored=True))


def test_the_first_crossing_is_interpolated():
    assert needed([0, 2, 4], [0.0, 0.5, 1.0], 0.75) == Needed(3.0)
    assert needed([0, 2, 4], [0.9, 0.5, 1.0], 0.75) == Needed(0.0)
    assert needed([0, 2, 4, 6], [0.0, 1.0, 0.0, 1.0], 0.5) == Needed(1.0)


def test_a_curve_that_stays_below_is_censored_at_its_end():
    assert needed([0, 2, 4], [0.0, 0.5, 0.7], 0.75) == Needed(4.0, censored=True)
    assert str(needed([0, 2, 4], [0.0, 0.5, 0.7], 0.75)) == ">4"


@pytest.mark.parametrize(("iterations", "scores"), [([], []), ([0, 1], [0.0]), ([0, 1], [0.0, math.nan])])
def test_what_is_no_curve_is_refused(iterations, scores):
    with pytest.raises(KerfError, match="learning curve"):
        needed(iterations, scores, 0.5)


def test_savings_by_hand():
    assert savings(Needed(5.0), Needed(20.0)) == (0.75, 0.75)
    assert savings(Needed(5.0), Needed(20.0, censored=True)) == (0.75, 1.0)
    assert savings(Needed(20.0, censored=True), Needed(10.0)) == (-math.inf, -1.0)
    assert savings(Needed(20.0, censored=True), Needed(20.0, censored=True)) == (-math.inf, 1.0)
    assert savings(Needed(5.0), Needed(0.0)) is None


@given(CURVES, CURVES, st.floats(1, 3))
def test_the_bounds_hold_whatever_a_censored_curve_would_have_needed(again, original, longer):
    bounds = savings(again, original)
    if bounds is None:
        return
    true_again = again.iterations * (longer if again.censored else 1.0)
    true_original = original.iterations * (longer if original.censored else 1.0)
    assert bounds[0] - 1e-9 <= 1.0 - true_again / true_original <= bounds[1] + 1e-9


@given(CURVES, CURVES)
def test_the_share_saved_is_known_for_every_pair(again, original):
    share = share_saved(again, original, 20.0)
    assert -1.0 <= share <= 1.0
    assert share == -share_saved(original, again, 20.0)


def test_restricted_savings_count_censored_curves():
    again, original = [Needed(5.0), Needed(10.0)], [Needed(20.0, censored=True), Needed(20.0, censored=True)]
    assert restricted_savings(again, original) == pytest.approx(1 - 7.5 / 20)
    assert math.isnan(restricted_savings(again, [Needed(0.0), Needed(0.0)]))
    assert np.isfinite(restricted_savings(original, original))
