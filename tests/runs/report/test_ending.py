"""Conclusions and endings: what a newcomer reads first, from the records of a real study and from written ones."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from rich import box
from rich.console import Console
from rich.table import Table

from kerf.lab.prediction import Prediction
from kerf.lab.statistics.text import interval_text
from kerf.runs.attacks.summary import summary_table
from kerf.runs.cli import main
from kerf.runs.records.store import Store
from kerf.runs.report import make_report
from kerf.runs.report.conclusion import SIGNS, Conclusion, Finding, Kept, conclude, question_of
from kerf.runs.report.ending import MOST_LINES, ending
from kerf.runs.report.judged import judge_primaries
from kerf.runs.report.table import Report, to_text
from kerf.runs.terminal.columns import ByGroups

NUMBER = re.compile(r"[+-]?\d+\.\d+")


@pytest.fixture(scope="module")
def report(smoke_study: Path) -> Report:
    return make_report(Store(smoke_study))


def printed(renderable: object, width: int) -> str:
    sink = io.StringIO()
    Console(file=sink, width=width, color_system=None).print(renderable)
    return sink.getvalue()


def crowded() -> Conclusion:
    """As much of everything as a recipe may have: 7 predictions, 19 arms, warnings."""
    arms = [f"penalised-with-a-long-name-{number}" for number in range(19)]
    findings = [
        Finding(
            f"prediction-{number}", "undecided", "?", "not decided",
            f"the share of something long falls in {arms[number]}, compared with {arms[number + 1]}",
            f"-0.{number}2 [-0.{number}9, -0.{number}1]", "whether it falls: about 20 seeds would show it",
        )
        for number in range(7)
    ]  # fmt: skip
    chart = [Kept(arm, number / 19, 1 - number / 19, False) for number, arm in enumerate(arms)]
    warnings = ["a warning that is long enough to be broken into lines of its own " * 2] * 4
    words = {"focus": "care", "elicited": "leaves on forgeries"}
    return Conclusion("crowded", "What " * 60 + "?", "", warnings, findings, chart, **words, num_seeds=8, num_arms=19)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_an_ending_has_at_most_thirty_lines_and_cuts_no_number(smoke_study: Path, report: Report, width: int) -> None:
    for conclusion in (conclude(Store(smoke_study), report), crowded()):
        lines = ending(conclusion, Path("out/x"), width)
        assert len(lines) <= MOST_LINES
        assert all(len(line) <= width for line in lines if str(smoke_study) not in line)
        text = " ".join(" ".join(lines).split())
        assert [finding.effect for finding in conclusion.findings if finding.effect not in text] == []


def test_the_effects_are_those_of_the_tables(smoke_study: Path, report: Report) -> None:
    conclusion = conclude(Store(smoke_study), report)
    assert [finding.effect for finding in conclusion.findings] == [
        interval_text(item.effect.interval) for item in report.judged
    ]
    full, short = (CliRunner().invoke(main, ["show", str(smoke_study), *more]).output for more in (["--full"], []))
    assert len(short.splitlines()) <= MOST_LINES
    assert conclusion.findings[0].effect in full
    assert conclusion.findings[0].effect in short
    assert short.splitlines() == [line.rstrip() for line in ending(conclusion, smoke_study, 140)]


def test_warnings_come_first_and_say_that_the_figures_of_smoke_mean_nothing(smoke_study: Path, report: Report) -> None:
    lines = ending(conclude(Store(smoke_study), report), smoke_study, 100)
    assert lines[0].startswith("Warning: The gate of this recipe lets every agent pass")
    text = " ".join(" ".join(lines).split())
    assert "its figures mean nothing" in text
    assert "2 seeds: below 5 no interval is reliable" in text
    assert "at least 6 seeds, for fewer can show nothing" in text


def test_a_seed_that_did_not_pass_the_gate_is_named(smoke_study: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(smoke_study, torn)
    gate, done = (torn / "aligned" / "seed-1" / f"{name}.json" for name in ("gate", "done"))
    gate.write_text(json.dumps({**json.loads(gate.read_text()), "passed": False}))
    files = json.loads(done.read_text())
    data = gate.read_bytes()
    files["files"]["gate.json"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    done.write_text(json.dumps(files))
    for cell in torn.glob("cells/*/seed-1"):
        shutil.rmtree(cell)
    conclusion = conclude(Store(torn), make_report(Store(torn)))
    assert any("1 of 2 seeds are left out" in warning and warning.endswith(": 1") for warning in conclusion.warnings)
    assert conclusion.num_seeds == 1


def planted(effect: float, seeds: int = 12) -> Conclusion:
    """A study of two arms in which one loses `effect` of a value, with some spread between seeds."""
    rng = np.random.default_rng(1)
    rows = [
        (arm, seed, iteration, 100 * iteration, metric, score)
        for seed in range(seeds)
        for arm, change in (("penalised", -effect), ("exposure", 0.0))
        for iteration in (0, 1)
        for metric, score in (
            ("value/care", 0.9 + iteration * (change + rng.normal(0, 0.01))),
            ("skill/reaching", 1.0),
        )
    ]
    measures = pd.DataFrame(rows, columns=["arm", "seed", "iteration", "env_steps", "metric", "score"])
    claim = Prediction(
        name="claim", arm="penalised", against="exposure", metric="value/care", direction="decrease",
        falsified_by="care is kept",
    )  # fmt: skip
    from kerf.runs.report.conclusion import _findings

    judged = judge_primaries(measures, [claim])
    return Conclusion("planted", "?", "", [], _findings(Report(pd.DataFrame(), judged)), num_seeds=seeds)


def test_signs_and_words_follow_the_verdict() -> None:
    assert planted(0.5).findings[0].sign == "✓"
    assert planted(-0.5).findings[0].sign == "✗"
    assert planted(0.0).findings[0].sign == "≈"
    undecided = planted(0.5, seeds=3).findings[0]
    assert (undecided.sign, undecided.words) == ("?", "not decided")
    assert "at least 6 seeds" in undecided.unknown
    assert {sign for sign, _ in SIGNS.values()} == set("✓✗≈?")


def test_the_question_is_the_last_one_of_the_description() -> None:
    assert question_of("One thing. Is it so? Or is it? Yes.") == "Or is it?"
    assert question_of("No question here. None.") == "No question here."
    assert question_of("") == ""


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_tables_are_split_by_columns_and_cut_no_number(report: Report, width: int) -> None:
    whole = NUMBER.findall(to_text(report, 400))
    assert len(whole) > 100
    assert not set(NUMBER.findall(to_text(report, width))) - set(whole), "a number that is not there was cut from one"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title="all of them", caption="and why")
    table.add_column("arm", no_wrap=True)
    cells = [f"-0.{number}2 [-0.{number}9, -0.{number}1]" for number in range(9)]
    for number in range(9):
        table.add_column(f"column {number}", no_wrap=True)
    table.add_row("penalised", *cells)
    text = printed(ByGroups(table), width)
    assert [cell for cell in cells if cell not in text] == []
    assert text.count("penalised") == text.count("arm ")
    assert (text.count("all of them"), text.count("and why")) == (1, 1)


def test_many_attacks_make_one_table() -> None:
    attacks = pd.DataFrame(
        [
            (generator, strength, generator != "natural", arm, seed, 0.25 * seed)
            for generator, strengths in (("search", (0.0, 1.0)), ("uniform", (0.0, 1.0)), ("natural", (1.0,)))
            for strength in strengths
            for arm in ("aligned", "penalised")
            for seed in (0, 1)
        ],
        columns=["generator", "strength", "forges", "arm", "seed", "success"],
    )
    rows = [line.split() for line in printed(summary_table(attacks, ["penalised"]), 80).splitlines()]
    assert rows[0] == ["generator", "strength", "aligned", "penalised"]
    forged = [[generator, at, "0.12", "0.12"] for generator in ("search", "uniform") for at in ("0", "1")]
    assert rows[2:] == [["natural", "any", "0.12", "0.12"], *forged]
    one = printed(summary_table(attacks[attacks["arm"] == "penalised"], ["penalised"]), 80).splitlines()
    assert one[0].split() == ["generator", "strength", "0", "strength", "1"]
    assert [line.split()[1:] for line in one[2:]] == [["0.12", "0.12"]] * 3
    assert math.isclose(float(one[2].split()[-1]), 0.12)
