"""The oracles come out as predicted; one that does not is named; and they notice when the lab is broken."""

from __future__ import annotations

import io
import json
import math

import pytest
from click.testing import CliRunner
from rich.console import Console

from kerf.lab.errors import KerfError
from kerf.runs.cli import main
from kerf.runs.oracles import ORACLES
from kerf.runs.oracles.command import FAILED, PASSED, ask
from kerf.runs.oracles.oracle import Oracle, Row
from kerf.runs.terminal.console import PLAIN_WIDTH
from tests.mutate_oracles import KILLED, MUTATIONS, fate


@pytest.mark.parametrize("oracle", [pytest.param(oracle, id=str(oracle.number)) for oracle in ORACLES])
def test_it_comes_out_as_predicted(oracle):
    checked = oracle.check()
    assert [row for row in checked.rows if not row.passed] == []
    assert checked.passed
    assert len({row.what for row in checked.rows}) == len(checked.rows), "two figures of one name"
    for row in checked.rows:
        assert math.isfinite(row.predicted)
        assert row.tolerance >= 0
        assert row.reason


def test_there_are_eleven():
    assert [oracle.number for oracle in ORACLES] == list(range(1, 12))


@pytest.mark.parametrize("number", [4, 10])
def test_what_is_drawn_is_drawn_alike_each_time(number):
    (oracle,) = (oracle for oracle in ORACLES if oracle.number == number)
    assert oracle.check().rows == oracle.check().rows


# ---- the command


def asked(numbers, json_file=None, oracles=ORACLES) -> tuple[int, str]:
    """Exit code, and what is printed where there is no terminal."""
    shown = io.StringIO()
    return ask(numbers, json_file, Console(file=shown, width=PLAIN_WIDTH), oracles), shown.getvalue()


def test_it_prints_and_writes_every_figure(tmp_path):
    code, printed = asked((5, 2), tmp_path / "oracles.json")
    assert code == PASSED
    figures = json.loads((tmp_path / "oracles.json").read_text())
    assert figures["passed"]
    assert figures["failed"] == []
    assert [oracle["number"] for oracle in figures["oracles"]] == [2, 5]
    for oracle in figures["oracles"]:
        assert f"{oracle['number']:>2}  {oracle['title']}  pass\n" in printed
        assert oracle["formula"] in printed
        for row in oracle["rows"]:
            (line,) = (line for line in printed.splitlines() if line.strip().startswith(row["what"]))
            assert line.rstrip().endswith("pass")
            assert row["reason"] in line
            for figure in (row["predicted"], row["measured"]):
                assert f" {figure:.6g} " in line
    assert "All 2 oracles match their predictions" in printed
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= PLAIN_WIDTH


WRONG = Oracle(12, "Two and two", "2 + 2 = 5", lambda: [Row("sum", 5.0, 4.0, 0.5, "for a joke")])
RIGHT = Oracle(13, "Infinities", "1 / 0 = 1 / 0", lambda: [Row("inf", math.inf, math.inf, 0.0, "they are equal")])


def test_one_that_fails_is_named_and_the_others_are_asked_all_the_same(tmp_path):
    code, printed = asked((), tmp_path / "oracles.json", (WRONG, RIGHT))
    assert code == FAILED
    assert "12  Two and two  FAIL\n" in printed
    assert "13  Infinities  pass\n" in printed
    assert printed.splitlines()[-1].startswith("FAILED: 1 of 2 oracles in 0 s: 12 (Two and two)")
    figures = json.loads((tmp_path / "oracles.json").read_text())
    assert not figures["passed"]
    assert figures["failed"] == [12]
    assert figures["oracles"][0]["rows"][0] == {
        "what": "sum",
        "predicted": 5.0,
        "measured": 4.0,
        "tolerance": 0.5,
        "reason": "for a joke",
        "passed": False,
    }
    assert figures["oracles"][1]["rows"][0]["predicted"] == "inf"


@pytest.mark.parametrize(("failing", "code"), [(True, 1), (False, 0)])
def test_the_exit_code_says_whether_one_failed(monkeypatch, failing, code):
    monkeypatch.setattr("kerf.runs.oracles.command.ORACLES", (WRONG,) if failing else (RIGHT,))
    assert CliRunner().invoke(main, ["oracles"]).exit_code == code


@pytest.mark.parametrize(
    ("predicted", "measured", "passes"),
    [
        (1.0, 1.1, True),
        (1.0, 1.11, False),
        (1.0, 0.89, False),
        (1.0, math.nan, False),
        (math.nan, math.nan, False),
        (math.inf, 1.0, False),
        (math.inf, -math.inf, False),
    ],
)
def test_a_figure_passes_within_its_tolerance_alone(predicted, measured, passes):
    row = Row("figure", predicted, measured, 0.1 + 1e-12, "of a test")
    assert row.passed is passes


def test_an_oracle_without_figures_does_not_pass():
    assert not Oracle(1, "Nothing", "", list).check().passed


def test_one_that_is_not_there_or_a_file_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(KerfError, match="oracle 12: expected a number from 1 to 11"):
        asked((3, 12))
    with pytest.raises(KerfError, match="nowhere is no folder"):
        asked((3,), tmp_path / "nowhere" / "oracles.json")
    result = CliRunner().invoke(main, ["oracles", "0"])
    assert result.exit_code == 2
    assert "kerf: oracle 0: expected a number from 1 to 11" in result.output


# ---- the oracles themselves


def test_every_oracle_has_a_mutation_and_all_of_them_can_be_made():
    assert {mutation.oracle for mutation in MUTATIONS} == {oracle.number for oracle in ORACLES}
    assert [mutation for mutation in MUTATIONS if not mutation.found or mutation.old == mutation.new] == []


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.oracle}: {mutation.about}")
def test_a_broken_lab_is_noticed(mutation):
    assert fate(mutation).outcome == KILLED
