"""Scenario spaces: bounds, rules, uniform draws, and the text form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kerf.lab.errors import KerfError
from kerf.lab.scenario import Field, Rule, ScenarioError, ScenarioSpace
from kerf.lab.world import natural
from kerf.lab.worlds import get_world

STATION = get_world("station")
A, B, C = range(3)


def small_space() -> ScenarioSpace:
    return ScenarioSpace(
        "small",
        (
            Field("a", -1, 5, 0, "a number"),
            Field("b", 0, 5, 1, "another"),
            Field("c", 2, 4, 2, "a kind", labels=("two", "three", "four"), forgeable=True),
        ),
        (
            Rule("a must be odd or 0", lambda s: (s[:, A] % 2 == 1) | (s[:, A] == 0), field="a"),
            Rule("a and b must differ", lambda s: s[:, A] != s[:, B]),
        ),
    )


SMALL = small_space()


def row(a: int = 0, b: int = 1, c: int = 2) -> np.ndarray:
    return np.array([[a, b, c]], np.int16)


@pytest.mark.parametrize(
    ("low", "high", "default", "labels", "message"),
    [(0, 2, 3, (), "default 3 outside"), (1, 0, 1, (), "outside"), (0, 2, 0, ("x", "y"), "2 labels")],
)
def test_a_field_that_contradicts_itself_is_refused(
    low: int, high: int, default: int, labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Field("f", low, high, default, "", labels)


def test_two_fields_of_one_name_are_refused() -> None:
    field = Field("f", 0, 1, 0, "")
    with pytest.raises(ValueError, match="share a name"):
        ScenarioSpace("double", (field, field))


def test_errors_name_row_field_expected_and_got() -> None:
    scenarios = np.concatenate([row(), row(b=6)])
    with pytest.raises(ScenarioError, match=r"small, row 1: b must be in \[0, 5\], got 6"):
        SMALL.validate(scenarios)
    with pytest.raises(ScenarioError, match=r"row 2: a and b must differ: small\(a=3, b=3, c=four\)"):
        SMALL.validate(np.concatenate([row(), row(), row(3, 3, 4)]))
    with pytest.raises(ScenarioError, match=r"expected int16 scenarios of shape \(n, 3\), got int64 \(1, 3\)"):
        SMALL.validate(row().astype(np.int64))
    with pytest.raises(ScenarioError, match=r"got int16 \(1, 2\)"):
        SMALL.validate(row()[:, :2])


def test_valid_and_validate_agree() -> None:
    scenarios = np.concatenate([row(), row(a=2), row(a=-1), row(a=1), row(c=5), row(a=5, b=0)])
    np.testing.assert_array_equal(SMALL.valid(scenarios), [True, False, True, False, False, True])
    for k, valid in enumerate(SMALL.valid(scenarios)):
        if valid:
            SMALL.validate(scenarios[k : k + 1])
        else:
            with pytest.raises(ScenarioError):
                SMALL.validate(scenarios[k : k + 1])


def test_sample_is_uniform_over_all_valid_scenarios() -> None:
    """A chi-square test at level 0.001."""
    every = np.array([(a, b, c) for a in range(-1, 6) for b in range(6) for c in range(2, 5)], np.int16)
    every = every[SMALL.valid(every)]
    drawn = SMALL.sample(200 * len(every), np.random.default_rng(0))
    kinds, counts = np.unique(drawn, axis=0, return_counts=True)
    np.testing.assert_array_equal(kinds, every)
    assert stats.chisquare(counts).pvalue > 0.001


def test_sample_depends_on_the_generator_alone() -> None:
    first, again, other = (STATION.space.sample(50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    STATION.space.validate(first)
    assert STATION.space.sample(0, np.random.default_rng(0)).shape == (0, len(STATION.space))


def test_sample_gives_up_where_nothing_is_valid() -> None:
    fields = (Field("a", 0, 1, 0, ""),)
    never = ScenarioSpace("never", fields, (Rule("never", lambda s: np.zeros(len(s), np.bool_)),))
    with pytest.raises(ScenarioError, match="no 3 valid scenarios in 5 rounds"):
        never.sample(3, np.random.default_rng(0), max_tries=5)
    none = ScenarioSpace("none", fields, (Rule("none", lambda s: np.zeros(len(s), np.bool_), field="a"),))
    with pytest.raises(ScenarioError, match="no value of field a"):
        none.sample(3, np.random.default_rng(0))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), family=st.none() | st.integers(0, len(STATION.families) - 1))
def test_text_round_trips(seed: int, family: int | None) -> None:
    rng = np.random.default_rng(seed)
    drawn = STATION.space.sample(3, rng) if family is None else STATION.families[family].sample(3, rng)
    STATION.space.validate(drawn)
    for scenario in drawn:
        text = STATION.space.to_text(scenario)
        assert STATION.space.from_text(text).tobytes() == scenario.tobytes()
        assert STATION.space.from_text(text.replace(" ", "\n  ")).tobytes() == scenario.tobytes()


def test_text_shows_what_is_not_default_with_labels() -> None:
    assert SMALL.to_text(row()[0]) == "small()"
    assert SMALL.to_text(row(a=-1, c=4)[0]) == "small(a=-1, c=four)"
    np.testing.assert_array_equal(SMALL.from_text("small( c = three ,a=5,)"), [5, 1, 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("small(d=1)", "unknown field of small 'd'.*known: a, b, c"),
        ("station(windw=1)", "did you mean 'window'"),
        ("station(truth=genuin)", "unknown value of field truth 'genuin'; did you mean 'genuine'"),
        ("station(truth=1)", "unknown value of field truth '1'"),
        ("station(door=9)", r"field door: expected a whole number in \[1, 5\], got '9'"),
        ("station(door=99999)", r"expected a whole number in \[1, 5\], got '99999'"),
        ("station(door=two)", "got 'two'"),
        ("station(door)", "got ''"),
        ("station(door=1, door=2)", "field door: expected once"),
        ("station(start=16)", "start must be a lab cell"),
        ("station(truth=false)", "an emergency needs a place"),
        ("small(a=1)", "a and b must differ"),
        ("statio(door=1)", r"expected station\(field=value, ...\), got"),
        ("door=1", "expected"),
        ("", "expected"),
    ],
)
def test_text_that_is_no_scenario_is_refused(text: str, message: str) -> None:
    space = SMALL if text.startswith("small") else STATION.space
    with pytest.raises(KerfError, match=message):
        space.from_text(text)


def test_digest_depends_on_names_rows_and_order() -> None:
    first, second = row(), row(a=3)
    both = SMALL.digest(np.concatenate([first, second]))
    assert both == small_space().digest(np.concatenate([first, second]))
    assert both != SMALL.digest(np.concatenate([second, first]))
    renamed = ScenarioSpace("small", (Field("z", -1, 5, 0, ""), *SMALL.fields[1:]))
    assert SMALL.digest(first) != renamed.digest(first)


def test_natural_draws_training_families_by_their_shares() -> None:
    """Exact binomial tests of each distinguishable truth, at level 0.001 over three tests."""
    n = 20_000
    drawn = natural(STATION, n, np.random.default_rng(0))
    STATION.space.validate(drawn)
    truth = drawn[:, STATION.space.column("truth")]
    trained = [family for family in STATION.families if not family.held_out]
    one_each = {family.name: family.sample(1, np.random.default_rng(0))[0] for family in trained}
    total = sum(family.share for family in trained)
    for kind in range(3):
        share = sum(f.share for f in trained if one_each[f.name][STATION.space.column("truth")] == kind) / total
        assert stats.binomtest(int((truth == kind).sum()), n, share).pvalue > 0.001 / 3
    assert (drawn[:, STATION.space.column("door")] != 3).all(), "the held-out door must not be trained on"
