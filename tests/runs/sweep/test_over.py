"""What `--over` takes, and what it refuses."""

from __future__ import annotations

import pytest

from kerf.lab.errors import KerfError
from kerf.runs.sweep.over import parse_over


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("strength=0:1:0.1", "strength", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("penalty=0,1,4,16", "penalty", (0.0, 1.0, 4.0, 16.0)),
        ("penalty=16,1e-3", "penalty", (0.001, 16.0)),
        ("adversarial_share=0,0.5", "arms.penalised.adversarial_share", (0.0, 0.5)),
        ("anchor = 0.1", "arms.penalised.anchor", (0.1,)),
        ("arms.penalised-0.5.adversarial_share=0:0.4:0.2", "arms.penalised-0.5.adversarial_share", (0.0, 0.2, 0.4)),
        ("iterations=10:20:5", "iterations", (10.0, 15.0, 20.0)),
        ("strength=0:1:0.3", "strength", (0.0, 0.3, 0.6, 0.9)),
    ],
)
def test_lists_and_grids(text, path, values):
    axis = parse_over(text, "penalised")
    assert (axis.path, axis.values) == (path, values)
    assert axis.ends == (values[0], values[-1])


def test_ranges():
    axis = parse_over("strength=0:1", "penalised")
    assert (axis.values, axis.ends, axis.log) == (None, (0.0, 1.0), False)
    assert axis.grid(5) == (0.0, 0.25, 0.5, 0.75, 1.0)
    log = parse_over("penalty=0.1:10:log", "penalised")
    assert log.log
    assert log.grid(3) == (0.1, 1.0, 10.0)


def test_the_dose_zero_is_added_once():
    assert parse_over("penalty=4,1", "penalised").with_zero().values == (0.0, 1.0, 4.0)
    assert parse_over("penalty=0,4", "penalised").with_zero().values == (0.0, 4.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("strength", "expected NAME=VALUES"),
        ("strength=", "expected NAME=VALUES"),
        ("strength=1:0", "which is empty"),
        ("strength=1:1", "which is empty"),
        ("penalty=0:30:log", "must begin above 0"),
        ("strength=0:1:0", "the step must be > 0"),
        ("strength=0:1:2", "is larger than the range"),
        ("strength=0:1:1e-6", "expected at most 1000"),
        ("strength=0:1:0.1:4", "expected A:B"),
        ("strength=a,b", "expected a number, got 'a'"),
        ("strength=0,.nan", "expected a number"),
        ("penalty=1,1", "expected different values"),
        ("penalty=true", "expected a number"),
    ],
)
def test_mistakes_end_in_a_sentence(text, sentence):
    with pytest.raises(KerfError, match=sentence):
        parse_over(text, "penalised")
