"""The page: the same bytes from the same records, nothing from elsewhere, nothing that runs but its own scripts."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kerf.lab.dilemma import Words
from kerf.lab.errors import KerfError
from kerf.lab.statistics.intervals import Interval
from kerf.lab.statistics.text import interval_text
from kerf.runs.records.store import FORMAT, Store
from kerf.runs.report import make_report
from kerf.runs.report.conclusion import Conclusion, Finding, conclude
from kerf.runs.report.effects import ALIGNED
from kerf.runs.report.page import PAGE, make_page
from kerf.runs.report.page.attack_sections import attack_sections
from kerf.runs.report.page.exact_sections import exact_sections
from kerf.runs.report.page.figure import DataTable, Figure, Looks, Section, TableBlock
from kerf.runs.report.page.render import render, security_policy
from kerf.runs.report.page.study import Study
from kerf.runs.report.page.study_sections import study_sections
from kerf.runs.report.table import to_text
from kerf.runs.sweep.write import write_report as write_sweep
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.test_figures import grid, outcome

EVIL = "<script>alert(1)</script>"
MOST_BYTES, MOST_BYTES_OF_A_SWEEP = 6_000_000, 20_000_000


class Read(HTMLParser):
    """What a browser would take from the page: executed scripts, data, sections, addresses."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.data: dict[str, Any] = {}
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.policy = ""
        self.handlers: list[str] = []
        self._in: dict[str, str | None] | None = None
        self._text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if given.get("id") else []
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "srcset") and value]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag == "script":
            self._in, self._text = given, ""

    def handle_data(self, data: str) -> None:
        self._text += data if self._in is not None else ""

    def handle_endtag(self, tag: str) -> None:
        if tag != "script" or self._in is None:
            return
        if self._in.get("type") == "application/json":
            self.data[self._in["id"] or ""] = json.loads(self._text)
        else:
            self.scripts.append(self._text)
        self._in = None


@pytest.fixture(scope="module")
def page(smoke_study: Path) -> bytes:
    return make_page(Store(smoke_study))


@pytest.fixture(scope="module")
def study(smoke_study: Path) -> Study:
    store = Store(smoke_study)
    report = make_report(store)
    assert report.courses is not None
    return Study(store.manifest(), report, report.courses, conclude(store, report))


def test_the_page_of_a_study_is_made_at_its_end_and_again_from_the_records_byte_for_byte(
    smoke_study: Path, page: bytes, tmp_path: Path
) -> None:
    assert (smoke_study / PAGE).read_bytes() == page
    copy = tmp_path / "elsewhere"
    shutil.copytree(smoke_study, copy, ignore=shutil.ignore_patterns(PAGE, "timing.jsonl", "*.txt"))
    assert make_page(Store(copy)) == page
    assert len(page) < MOST_BYTES


def test_nothing_is_loaded_from_elsewhere_and_only_its_own_scripts_run(page: bytes) -> None:
    read = Read(page)
    assert [address for address in read.addresses if not address.startswith("#")] == []
    assert read.handlers == []
    ours = [script for script in read.scripts if "plotly.js v" not in script[:200]]
    assert len(ours) == len(read.scripts) - 1 == 3
    for script in ours:
        assert not re.search(r"https?://|fetch\(|XMLHttpRequest|import\(|\beval\(|new Function", script)
    html = page.decode()
    style = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import", style)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in read.scripts]
    directives = dict(part.strip().split(" ", 1) for part in read.policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"].split() == [f"'sha256-{each}'" for each in hashes]
    assert "http" not in read.policy
    assert "unsafe-eval" not in read.policy
    assert security_policy(["a"]) != security_policy(["b"])


def test_names_that_are_scripts_do_nothing() -> None:
    finding = Finding(EVIL, "held", "✓", EVIL, EVIL, EVIL, EVIL)
    conclusion = Conclusion(EVIL, EVIL, EVIL, [EVIL], [finding], also=[EVIL])
    table = DataTable((EVIL, "n"), [(EVIL, 1), (f'"{EVIL}', 2)])
    trace = {"type": "scatter", "name": EVIL, "x": [EVIL], "y": [1]}
    blocks = [Figure("a", EVIL, EVIL, [trace], {"title": EVIL}, table), TableBlock("b", EVIL, EVIL, table)]
    sections = [Section("c", EVIL, EVIL, blocks, [EVIL], code=EVIL, short=EVIL)]
    replay = {"seed": 0, "forgeries": True, "arms": ["aligned", EVIL], "scenarios": [{"family": EVIL, "text": EVIL}]}
    read = Read(render(conclusion, sections, replay))
    plain = Read(render(Conclusion("n", "q?", "", []), []))
    assert read.scripts == plain.scripts, "the very same scripts as without them"
    assert not any("alert(1)" in script for script in read.scripts)
    assert read.data["data-a"]["data"][0]["name"] == EVIL, "what is read is what was written"
    assert read.data["rows-b"]["rows"][0][0] == EVIL
    assert read.data["data-replay"]["arms"][1] == EVIL
    html = render(conclusion, sections, replay).decode()
    assert EVIL not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10


def test_sections_are_there_if_the_study_has_their_data(smoke_study: Path, page: bytes, tmp_path: Path) -> None:
    read = Read(page)
    assert {"conclusion", "replay", "effects", "effect-map", "family-map", "predictions", "seeds"} <= set(read.ids)
    assert "prediction-penalty-costs-care" in read.ids
    assert {"provenance", "notes"} <= set(read.ids)
    assert not {"exact", "attacks", "sweep"} & set(read.ids)
    assert "trade" not in read.ids, "where care is 0 from the start there is nothing to lose"
    assert len(read.ids) == len(set(read.ids))
    anchors = {address[1:] for address in read.addresses}
    assert anchors <= set(read.ids)
    richer = tmp_path / "richer"
    shutil.copytree(smoke_study, richer)
    write_exact(Store(richer))
    write_attacks(Store(richer))
    found = set(Read(make_page(Store(richer))).ids)
    assert {"exact", "forced", "detection", "psychometric", "gradient", "certificates"} <= found
    assert {"attacks", "attack-map"} <= found


def write_exact(store: Store) -> None:
    """What `kerf exact` leaves, with numbers of our own."""
    cells = [(arm, seed) for arm in ("exposure", "penalised") for seed in (0, 1)]
    names = ("whole", "prior_shift", "penalty", "excess", "under_optimisation", "spillover", "regret")
    store.write_table(
        "exact", pd.DataFrame([(*cell, *np.arange(7.0)) for cell in cells], columns=["arm", "seed", *names])
    )
    names = ("strength", "hit", "false_alarm", "quiet", "auc", "d_a", "criterion")
    rows = [(arm, seed, at, 0.9, 0.2, 0.1, 0.8, 1.2, 0.0) for arm, seed in [(ALIGNED, 0), *cells] for at in (0.5, 1.0)]
    store.write_table("detection", pd.DataFrame(rows, columns=["arm", "seed", *names]))
    names = ("threshold", "slope", "guess", "lapse", "change_at_0", "change_at_1")
    rows = [(arm, seed, 0.5, 2.0, 0.1, 0.1, -0.5, -0.1) for arm, seed in [(ALIGNED, 0), *cells]]
    store.write_table("curves", pd.DataFrame(rows, columns=["arm", "seed", *names]))
    store.write_json(
        "certificates", [{"arm": arm, "seed": seed, "name": "care", "holds": seed == 0} for arm, seed in cells]
    )


GATE = {"value": 0.9, "competence": 0.95, "fooled": 0.9}


def write_attacks(store: Store) -> None:
    rows = [
        (arm, seed, generator, strength, True, 64, 32, "elicit", 0, 0.5, 3.0, np.nan, 0.1, 7)
        for arm in (ALIGNED, "penalised")
        for seed in (0, 1)
        for generator in ("search", "uniform")
        for strength in (0.0, 1.0)
    ]
    names = ["arm", "seed", "generator", "strength", "forges", "budget", "batch", "objective", "draw", "success"]
    more = ["scenarios_to_first", "scenarios_to_half", "diversity", "distinct_successes"]
    store.write_table("attacks", pd.DataFrame(rows, columns=[*names, *more]))


def test_figures_of_exact_answers_and_attacks_show_the_records(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    store = Store(tmp_path / "s")
    assert exact_sections(store, Looks(["exposure"]), Words()) == []
    assert attack_sections(store, ["penalised"]) == []
    write_exact(store)
    write_attacks(store)
    (section,) = exact_sections(store, Looks(["exposure", "penalised"]), Words())
    forced, detection, psychometric, gradient, certain = section.blocks
    assert isinstance(forced, Figure)
    assert [trace["x"] for trace in forced.traces[:3]] == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    assert isinstance(detection, Figure)
    assert {trace.get("name") for trace in detection.traces[1:]} == {ALIGNED, "exposure", "penalised"}
    assert isinstance(psychometric, Figure)
    middle = psychometric.traces[0]["y"][32 + 4]  # evidence 1, half a unit above the threshold
    assert middle == pytest.approx(0.1 + 0.8 / (1 + np.exp(-1.0)))
    assert isinstance(gradient, Figure)
    assert gradient.traces[0]["y"] == [-0.5, -0.1]
    assert certain.table.rows == [["exposure", "1 of 2"], ["penalised", "1 of 2"]]
    (attacks,) = attack_sections(store, ["penalised"])
    (shown,) = attacks.blocks
    assert isinstance(shown, Figure)
    assert shown.traces[0]["x"] == [ALIGNED, "penalised"]
    assert shown.traces[0]["z"] == [[0.5, 0.5]] * 4


def test_the_numbers_are_those_that_the_tables_print(study: Study, smoke_study: Path, page: bytes) -> None:
    read = Read(page)
    effects = study.report.effects
    shown = {(arm, metric): row for arm, _, metric, *row in read.data["rows-effect-map"]["rows"]}
    assert len(shown) > 50
    table = to_text(study.report, 400)
    for row in effects[effects["arm"] != ALIGNED].itertuples():
        if (row.arm, row.metric) in shown:
            mean, low, high, num, *_ = shown[row.arm, row.metric]
            assert mean == pytest.approx(row.mean, rel=1e-5)
            assert interval_text(Interval(mean, low, high, num, row.reliable)) in table
    for finding in study.conclusion.findings:
        assert finding.effect in page.decode()
        assert finding.effect in table
    scores = read.data["rows-scores"]
    first = dict(zip(scores["columns"], scores["rows"][0], strict=True))
    assert first["competence"] == pytest.approx(study.ends.aligned.loc[("frozen", 0), "competence"])


def test_every_prediction_shows_each_seed(study: Study) -> None:
    sections = {section.id: section for section in study_sections(study, None)}
    (figure,) = sections["predictions"].blocks
    assert isinstance(figure, Figure)
    lines = [trace for trace in figure.traces if "line" in trace]
    assert [trace["name"] for trace in lines] == ["seed 0", "seed 1"]
    assert all(trace["x"] == ["aligned", "exposure", "penalised"] for trace in lines)
    assert [row[0] for row in figure.table.rows] == [0, 1]


def test_a_table_as_csv_reads_back() -> None:
    table = DataTable(("name", "x"), [('a "b", c', 0.123456789), ("d", float("nan")), (EVIL, None)])
    rows = list(csv.reader(io.StringIO(table.csv())))
    assert rows == [["name", "x"], ['a "b", c', "0.123457"], ["d", ""], [EVIL, ""]]


def test_no_two_arms_look_alike_and_controls_are_grey() -> None:
    arms = [f"arm-{number}" for number in range(30)]
    looks = Looks(arms, frozenset(arms[:5]))
    made = [(look.colour, look.dash, look.marker) for look in map(looks.of, arms)]
    assert len(set(made)) == len(arms)
    assert {look[0] for look in made[:5]} == {"@grey"}
    assert "@grey" not in {look[0] for look in made[5:]}


def swept(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch, trials: int = 6) -> Store:
    """A finished sweep with planted effects, without matplotlib's figures."""
    monkeypatch.setattr("kerf.runs.sweep.write.figures", lambda report: {})
    (tmp_path / mode).mkdir()
    store = Store(tmp_path / mode)
    again = []
    if mode == "dose":
        spec = asked(recipe(tmp_path), "dose", "strength=0:1:0.25", "penalty=0,4,16", limit="care=-0.3")
        outcomes = grid(spec, lambda strength, penalty: -0.8 * strength * penalty / 16)
    else:
        spec = asked(recipe(tmp_path), "pareto", "strength=0:1", "penalty=0:16", floors=["care=-0.5"], trials=trials)
        outcomes = [
            outcome(
                number,
                {"strength": 0.1 * number, "penalty": number},
                (0.1 * number, -0.05 * number, -0.12 * number, 0, 0),
                0.001,
            )
            for number in range(trials)
        ]
        again = [outcome(number + 10, outcomes[number].trial.settings, (0.1, -0.1, -0.1, 0, 0)) for number in range(5)]
    manifest = {
        "records_format": FORMAT, "name": "s", "recipe_hash": "a", "battery_hash": "b", "seeds": [0, 1], "arms": {},
        "sweep": spec.model_dump(mode="json"), "recipe": {"world": "station", "gate": GATE},
    }  # fmt: skip
    store.write_json("study", manifest)
    store.write_text("recipe.yaml", "name: s\nabout: Why?\n")
    write_sweep(store, spec, outcomes, again)
    return store


def test_a_sweep_has_its_curves_and_its_phase_diagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = swept(tmp_path, "dose", monkeypatch)
    page = make_page(store)
    assert page == make_page(store)
    read = Read(page)
    assert {"sweep", "dose-value-care", "dose-robustness", "phase", "trials", "provenance"} <= set(read.ids)
    assert "replay" not in read.ids
    assert "care falls with strength at penalty 16" in page.decode()
    phase = read.data["data-phase"]["data"][0]
    assert len(phase["x"]) == 5
    assert len(phase["y"]) == 3
    at_most = phase["text"][-1][-1]
    assert at_most.endswith("!")
    assert float(at_most.split()[0]) == pytest.approx(-0.8, abs=0.05)


def test_a_search_has_its_front_with_a_legend_and_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Read(make_page(swept(tmp_path, "pareto", monkeypatch)))
    places = {row[0]: row[1] for row in read.data["rows-front"]["rows"]}
    assert [places[number] for number in range(6)] == ["on the front"] * 5 + ["breaks a floor"]
    names = [trace.get("name") for trace in read.data["data-front"]["data"]]
    assert names == ["breaks a floor (1)", "on the front (5)", "front, on held-out seeds"]
    assert read.data["rows-front"]["columns"][:4] == [
        "trial", "place", "share of resamples on the front", "best by its mean",
    ]  # fmt: skip


def test_trials_that_the_seeds_do_not_tell_apart_are_undecided(tmp_path: Path) -> None:
    from kerf.runs.report.page.front_figure import front_figure
    from kerf.runs.report.page.sweep_records import SweepRecords

    rng = np.random.default_rng(0)
    means = {0: (0.0, 0.0), 1: (0.02, 0.02), 2: (-1.0, -1.0), 3: (1.0, -0.5)}
    changes = pd.DataFrame(
        [
            {"trial": trial, "held_out": False, "metric": metric, "seed": seed, "effect": rng.normal(mean, 0.1)}
            for trial, pair in means.items()
            for metric, mean in zip(("robustness", "collateral"), pair, strict=True)
            for seed in range(8)
        ]
    )
    trials = changes.groupby(["trial", "held_out", "metric"], as_index=False)["effect"].mean()
    trials = trials.rename(columns={"effect": "mean"}).assign(penalty=trials["trial"] * 1.0)
    spec = {"over": [{"name": "penalty"}], "floors": [], "yardstick": 1.0, "untouched": ["care"]}
    both = ("robustness", "collateral")
    figure = front_figure(SweepRecords({"sweep": spec, "front": [1, 3]}, trials, changes, Words(), both))
    places = {row[0]: row[1] for row in figure.table.rows}
    assert places[2] == "dominated"
    assert places[3] == "on the front"
    assert "undecided" in (places[0], places[1])
    assert {trace["name"].rsplit(" ", 1)[0] for trace in figure.traces} == set(places.values())
    few = changes[changes["seed"] < 3]
    figure = front_figure(SweepRecords({"sweep": spec, "front": [1, 3]}, trials, few, Words(), both))
    assert {row[1] for row in figure.table.rows} == {"undecided"}
    assert "3 seeds cannot tell" in figure.caption


@pytest.mark.slow
def test_the_page_of_a_sweep_of_many_cells_is_small_and_quickly_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = swept(tmp_path, "pareto", monkeypatch, trials=100)  # of 10 seeds: 1,000 cells and their controls
    began = time.process_time()
    page = make_page(store)
    assert time.process_time() - began < 10.0
    assert len(page) < MOST_BYTES < MOST_BYTES_OF_A_SWEEP
    assert len(Read(page).data["rows-front"]["rows"]) == 100


def test_a_sweep_that_is_not_finished_has_no_page(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entries = ("recipe_hash", "battery_hash")
    whole = {"records_format": FORMAT, "name": "s", "seeds": [], "arms": {}, "sweep": {}}
    store.write_json("study", whole | dict.fromkeys(entries, ""))
    with pytest.raises(KerfError, match="the sweep is not finished"):
        make_page(store)


def test_a_study_without_an_aligned_agent_says_so(smoke_study: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(smoke_study, torn)
    for gate in torn.glob("aligned/*/gate.json"):
        gate.write_text(json.dumps({**json.loads(gate.read_text()), "passed": False}))
        done = json.loads((gate.parent / "done.json").read_text())
        data = gate.read_bytes()
        done["files"]["gate.json"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (gate.parent / "done.json").write_text(json.dumps(done))
    shutil.rmtree(torn / "cells")
    page = make_page(Store(torn))
    assert "No agent of this study passed the gate" in page.decode()
    read = Read(page)
    assert "left-out" in read.ids
    assert "effects" not in read.ids
