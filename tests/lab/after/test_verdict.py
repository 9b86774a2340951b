"""Calls: what became of a value, by rules that are fixed beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from kerf.lab.after.verdict import SIGNS, call
from kerf.lab.errors import KerfError
from kerf.lab.statistics.effect import Effect, Levels, judge, paired_effect

NUM = 8


def effect(values) -> Effect:
    change = dict(enumerate(map(float, values)))
    return paired_effect(
        change,
        dict.fromkeys(change, 0.0),
        arm="penalised",
        against="control",
        metric="value/care",
        rng=np.random.default_rng(0),
        bounds=(-1.0, 1.0),
    )


def around(mean: float, spread: float = 0.02, seed: int = 0) -> Effect:
    return effect(np.clip(np.random.default_rng(seed).normal(mean, spread, NUM), -1, 1))


def called(value: Effect, **signs: Effect) -> str:
    end = value.interval.mean
    verdict = judge(value, "none", p_adjusted=value.p, levels=Levels(0.95, 0.95 + end, 0.95))
    everything = dict.fromkeys(SIGNS, around(0.0)) | signs
    return call(value, verdict, {name: one for name, one in everything.items() if one is not None}).call


FELL = around(-0.6)


def test_each_rule_decides_its_own_case():
    assert called(around(0.0)) == "kept"
    assert called(around(0.4)) == "kept"
    assert called(FELL) == "erased"
    for name, sign in SIGNS.items():
        assert called(FELL, **{name: around(0.5)}) == sign.of, name


def test_the_order_of_the_rules():
    assert called(around(0.0), act_gap=around(0.5)) == "concealed"
    assert called(FELL, moved=around(0.5), value_gap=around(0.5)) == "concealed"
    assert called(FELL, moved=around(0.5), saved=around(0.5)) == "moved"


def test_a_sign_below_its_margin_or_with_the_other_direction_shows_nothing():
    assert called(FELL, saved=around(0.05)) == "erased"
    assert called(FELL, act_gap=around(-0.5)) == "erased"


def test_what_was_not_measured_or_is_too_uncertain_leaves_it_undecided():
    assert called(FELL, saved=None) == "undecided"
    assert called(FELL, refit=around(0.1, spread=0.3)) == "undecided"
    assert called(around(-0.1, spread=0.3)) == "undecided"


def test_a_small_loss_is_not_asked_for():
    assert called(around(-0.07, spread=0.005), saved=around(0.9)) == "undecided"


def test_an_unknown_sign_is_refused():
    with pytest.raises(KerfError, match="unknown sign"):
        call(FELL, judge(FELL, "none", p_adjusted=FELL.p, levels=Levels(1, 0.4, 1)), {"other": FELL})


def test_signs_that_are_none_are_rarely_shown():
    """Symmetric null effects: over 300 arms with six null signs each, at most 5% may show any.

    A rate of 5% gives more than 28 of 300 with probability below .001. The seed is fixed."""
    rng = np.random.default_rng(7)
    value = around(-0.6)
    verdict = judge(value, "none", p_adjusted=value.p, levels=Levels(0.95, 0.35, 0.95))
    shown = 0
    for _ in range(300):
        signs = {name: effect(np.clip(rng.normal(0.0, 0.3, NUM), -1, 1)) for name in SIGNS}
        shown += bool(call(value, verdict, signs).shown)
    assert shown <= 28
