"""Every table that a command prints, from made-up records: at any width no number is cut and no line is too long."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import RenderableType

from kerf.lab.exact.certificate import AdequacyClaim, Certificate
from kerf.lab.exact.decomposition import Decomposition
from kerf.lab.metrics import attack_metric
from kerf.lab.statistics.psychometric import Psychometric, PsychometricIntervals
from kerf.lab.statistics.tests import Interval
from kerf.lab.worlds import get_world
from kerf.runs.attacks.latent_report import Inside, LatentReport
from kerf.runs.attacks.summary import summary_table
from kerf.runs.attacks.table import AttackReport, Grid, kinds_table
from kerf.runs.attacks.transfer import TransferGap
from kerf.runs.bench import exact as bench_exact
from kerf.runs.bench import generators as bench_generators
from kerf.runs.bench import learning as bench_learning
from kerf.runs.bench import train as bench_train
from kerf.runs.bench.learning import Learnt
from kerf.runs.bench.scale_table import growth_table
from kerf.runs.compare.comparison import Comparison, Difference, Setting
from kerf.runs.compare.table import text as comparison_text
from kerf.runs.exact import Examination, Examined
from kerf.runs.exact.certify import Certified
from kerf.runs.exact.curves import FARTHEST, Curves
from kerf.runs.exact.detect import Detection
from kerf.runs.exact.table import ExactReport, losses_table
from kerf.runs.oracles.command import answer
from kerf.runs.oracles.oracle import Checked, Oracle, drawn, exact
from kerf.runs.recipe.files import load_recipe
from kerf.runs.recipe.text import list_text, recipe_text, theory_table
from kerf.runs.recipe.theory import Threshold
from kerf.runs.report.effects import effects_frame, study_ends
from kerf.runs.report.judged import judge_primaries
from kerf.runs.report.table import Report, to_text
from kerf.runs.report.thresholds import theory_against_measured
from kerf.runs.reproduce import command as reproduce_command
from kerf.runs.reproduce.entry import Checked as Reproduced
from kerf.runs.reproduce.entry import Entry, above, equal
from kerf.runs.sweep.findings import front
from kerf.runs.sweep.report import SweepReport
from tests.runs.attacks.test_attacks import attacks_frame, skills_frame
from tests.runs.sweep.asking import asked, recipe
from tests.runs.sweep.test_figures import grid
from tests.runs.test_table import PLANTED, PRIMARIES, study

NARROW = (60, 80, 100, 140)
WIDE = 400

NUMBER = re.compile(r"[-+]?\d[\d,.]*%?")
DIGEST = re.compile(r"\b[0-9a-f]{40,}\b")

RNG = np.random.default_rng(5)
ARMS = ("continued", "exposure-alone", "penalised-at-tenth", "penalised-watched")
MACHINE = {"cpu": "A Processor of Many Words @ 2.50 GHz", "load": 1.25, "cores": 16, "held_to": ""}
SPREAD = {"median": 123456.7, "low": 12345.6, "high": 234567.8}
RATIO = {"median": 12.34, "low": 10.12, "high": 15.67}


def interval(scale: float = 1.0) -> Interval:
    mean, half = RNG.normal(0, scale), RNG.random() * scale
    return Interval(mean, mean - half, mean + half, 10, True)


def attack_grid() -> Grid:
    kinds = ("illuminate", "learned", "mutation", "natural", "replay", "scripted", "search", "uniform")
    success = {(arm, kind): 0.9 * float(RNG.random()) for arm in ("aligned", *ARMS) for kind in kinds}
    attacks = attacks_frame(success).assign(scenarios_to_first=1234.0, scenarios_to_half=math.inf)
    skills = skills_frame(ARMS)
    rows = [skills]
    for arm in ARMS:
        for iteration, of in ((0, "aligned"), (10, arm)):
            part = attacks[attacks["arm"] == of]
            metric = [attack_metric(label, 1.0) for label in part["generator"]]
            rows.append(
                part.assign(arm=arm, iteration=iteration, env_steps=iteration, metric=metric, score=part["success"])[
                    list(skills.columns)
                ]
            )
    last = skills.assign(iteration=skills["iteration"].replace({skills["iteration"].max(): 10}))
    effects = effects_frame(pd.concat([last, *rows[1:]]), "continued", arms=list(ARMS))
    effects = effects[effects["metric"].str.startswith("attack/")].reset_index(drop=True)
    gap = TransferGap(ARMS[2], "illuminate", 0.75, 0.12, 0.34, -0.05, None, "too little success", 3, 2)
    return Grid((4096, 512, "elicit", 0), attacks, effects, [gap])


def latent(grid_of_attacks: Grid) -> LatentReport:
    names = {attack_metric(kind, 1.0): attack_metric("latent", at) for kind, at in (("search", 0.1), ("uniform", 0.5))}
    effects = grid_of_attacks.effects
    effects = effects[effects["metric"].isin(names)].assign(metric=lambda frame: frame["metric"].map(names))
    least = {arm: float(RNG.random()) for arm in ("aligned", *ARMS)}
    return LatentReport([Inside(1.0, 1024, effects, least, [0.1, 0.5])], {"tabular": "a table"})


def examination() -> Examination:
    cells, certified, detections, shapes = [], [], [], []
    for arm in ("aligned", *ARMS):
        for seed in range(2):
            parts = Decomposition(*RNG.normal(0, 10, 11).tolist())
            cells += [Examined(arm, seed, parts, 12.5, 11.25)] if arm != "aligned" else []
            detections += [Detection(arm, seed, s, *RNG.random(6).tolist()) for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
        for value in ("care", "corrigibility", "deference", "discernment", "needless"):
            worst = "dilemma(truth=genuine, cues=3, tells=0, stakes=2, watched=1)"
            certificate = Certificate("a claim", False, float(RNG.random()), worst, float(RNG.random()), 1234)
            certified.append(Certified(arm, value, value != "needless", {0: certificate, 1: certificate}))
        fit = Psychometric(0.123, 1.234, 0.01, 0.02, 3.0, True)
        fits = PsychometricIntervals((fit, fit), interval(), interval(), interval(), interval())
        shapes.append(Curves(arm, (0, 1), fits, RNG.normal(0, 1, (2, FARTHEST + 1))))
    claim = AdequacyClaim("ideal utility", 10.0, 0.5, 0.8)
    adequate = {arm: claim.judge([1.0, 9.9]) for arm in ARMS}
    return Examination(
        "dilemma",
        get_world("dilemma").dilemma.words,
        True,
        4096,
        tuple(cells),
        tuple(certified),
        tuple(detections),
        tuple(shapes),
        adequate,
    )


def comparison() -> Comparison:
    settings = [Setting(f"arms.{arm}.training.learning_rate", 0.00012345, 0.0012345) for arm in ARMS]
    settings.append(Setting("battery.strengths", [0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 1.0]))
    metrics = ("value/care", "false_exit/1", "competence", "utility/ideal")
    found = [Difference(arm, "continued", m, interval(20), interval(20), interval(20)) for arm in ARMS for m in metrics]
    return Comparison(Path("out/first"), Path("out/second"), "dilemma", tuple(settings), (0, 1), tuple(found))


def full_report() -> Report:
    measures = study(6, PLANTED)
    theory = {
        arm: {"adversarial_share": 0.25, "strength": 0.75, "penalty": 10.0, "threshold": 4.56, "reading": reading}
        for arm, reading in (("exposure", "goes on helping"), ("penalised", "does not help: forgeries force it"))
    }
    noise = pd.DataFrame({"seed": [0] * 3, "metric": ["value/care"] * 3, "draw": [0, 1, 2], "score": [0.9, 0.92, 0.94]})
    return Report(
        effects_frame(measures, "continued"),
        judge_primaries(measures, PRIMARIES),
        noise,
        theory=theory_against_measured(study_ends(measures), theory, "value/care", list(theory)),
    )


def sweep_report(tmp_path: Path, mode: str, *overs: str, **settings: Any) -> RenderableType:
    spec = asked(recipe(tmp_path), mode, *overs, **settings)
    outcomes = grid(spec, lambda strength, penalty: -0.8 * strength * penalty / 16)
    again = front(spec, outcomes) if mode == "pareto" else []
    return SweepReport(spec, outcomes, again, ["care has lost 0.3 by strength 0.8, and not at 0.6 yet"])


def bench_train_tables() -> list[RenderableType]:
    time = dict.fromkeys(bench_train.PARTS, 0.25)
    contenders = {
        name: {"label": f"a contender called {name}", "steps_per_second": SPREAD, "time": time}
        for name in ("kernel", "kerf", "stock", "limit", "sb3")
    }
    group = {
        "title": "Training end to end in station",
        "versions": {"ray": "2.9.0"},
        "contenders": contenders,
        "ratios": dict.fromkeys(("stock", "limit", "sb3"), RATIO),
    }
    sizes = {"num_scenarios": 2048, "num_epochs": 4, "minibatch_size": 4096, "repetitions": 5, "hidden": [64, 64]}
    fields: dict[str, Any] = {**dict.fromkeys(Learnt.__dataclass_fields__, 0.125), "passed": True, "steps": 12345}
    learnt = [Learnt(**fields | {"way": way, "seed": seed}) for way in bench_learning.WAYS for seed in range(2)]
    figures = {
        "machine": MACHINE,
        "sizes": sizes,
        "groups": {"station": group},
        "once": {"battery": 0.51, "help": 0.21},
        "learning": bench_learning.figures(learnt),
    }
    return list(bench_train.tables(figures))


def bench_rows() -> dict[str, RenderableType]:
    detail = "4,096 situations, 12,345 scenarios"
    solved = {"what": "dilemma: all policies", "seconds": 1.234, "limit": 5, "detail": detail}
    asking = {
        "what": "illuminate",
        "num_scenarios": 4096,
        "seconds": {name: seconds / 1e8 for name, seconds in SPREAD.items()},
        "iteration": RATIO,
        "share": {"median": 0.012, "low": 0.01, "high": 0.02},
        "bound": 0.05,
        "broken": True,
    }
    growth = {
        "what": "scenarios in a batch: a rollout of station",
        "sizes": [64, 128, 65536],
        "seconds": [[0.1, 0.2, 12.345]],
        "fixed": 0.012,
        "noise": 0.034,
        "exponent": 1.01,
        "low": 0.98,
        "high": 1.04,
        "bound": 1,
        "tolerance": 0.07,
        "too_noisy": False,
        "too_fast": True,
    }
    sizes = {"repetitions": 5}
    return {
        "bench exact": bench_exact._table({"machine": MACHINE, "rows": [solved], "memory_gib": 1.23}),
        "bench generators": bench_generators._table({"machine": MACHINE, "sizes": sizes, "rows": [asking]}),
        "bench scale": growth_table({"machine": MACHINE, "rows": [growth]}),
    }


def kinds() -> RenderableType:
    cell = {
        "descriptors": {"cues": [1, 3], "place": [0, 57], "delay of permission": [12, 24]}, "plays": 12345,
        "success": 0.456, "elite": "station(start=45, door=5, truth=false, place=57, ttl=20, cry=1, thump=1, delay=26)",
    }  # fmt: skip
    made = kinds_table({"cells": [cell], "descriptors": list(cell["descriptors"]), "coverage": 0.5})
    assert made is not None
    return made


def checked() -> Checked:
    oracle = Oracle(3, "the share of something that is long enough to be wrapped", "a = b / (c + d)", lambda: ())
    rows = exact("what is predicted of it", -1.23456e-05, -1.23457e-05), drawn("another", 123456.7, 123450.1, 12.34)
    return Checked(oracle, rows, 1.2)


def reproduced() -> Reproduced:
    entry = Entry(
        "a-name", "a title", "what was claimed, 79% and 0.9%", "a source, arXiv 1234.56789", "", "", True, list
    )
    figures = equal("some share of something that is wrapped", -100, -100.1), above("an order", ".79-.01", [0.123] * 8)
    return Reproduced(entry, figures, 1.2)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Sequence[tuple[str, RenderableType, Counter[str]]]:
    """What each command prints, and the numbers of it where there is width enough."""
    folder = tmp_path_factory.mktemp("widths")
    attacks = attack_grid()
    theory = Threshold("penalised-at-tenth", 0.1, 0.75, 10.0, 4.567, 0.5)
    made: Mapping[str, Sequence[RenderableType]] = {
        "check": [recipe_text(load_recipe(name), Path("out/x")) for name in ("turner", "smoke")],
        "recipes": [list_text()],
        "run": [theory_table({"penalised-at-tenth": theory})],
        "show --full": [full_report()],
        "attack": [AttackReport([attacks]), kinds()],
        "attack --all": [summary_table(attacks.attacks, list(ARMS))],
        "attack --latent": [latent(attacks)],
        "exact": [ExactReport(examination()), ExactReport(examination(), by_seed=True)],
        "sweep dose": [sweep_report(folder, "dose", "strength=0,1", "penalty=0,16", limit="care=-0.3")],
        "sweep threshold": [sweep_report(folder, "threshold", "strength=0:1", limit="care=-0.3")],
        "sweep pareto": [sweep_report(folder, "pareto", "strength=0:1", "penalty=1:16:log", floors=("care=-0.5",))],
        "compare": [comparison_text(comparison(), ["value/care", "false_exit/1", "competence", "utility/ideal"])],
        "oracles": [answer(checked())],
        "reproduce": [reproduce_command.answer(reproduced())],
        "bench train": bench_train_tables(),
        **{name: [table] for name, table in bench_rows().items()},
    }
    return [(command, table, numbers(to_text(table, WIDE))) for command, tables in made.items() for table in tables]


def test_each_figure_of_a_loss_stands_under_its_heading():
    found = examination()
    table = losses_table(found)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["regret"] == ["1.25"] * len(ARMS)
    firsts = [cell.parts for cell in found.cells if cell.seed == 0]
    assert columns["open"] == [f"{parts.low:.2f} to {parts.high:.2f}" for parts in firsts]
    assert {len(cells) for cells in columns.values()} == {len(ARMS)}


def numbers(text: str) -> Counter[str]:
    return Counter(word.rstrip(",.") for word in NUMBER.findall(DIGEST.sub("", text)))


@pytest.mark.parametrize("width", NARROW)
def test_no_number_is_cut_and_no_line_is_too_long(tables, width):
    wrong = []
    for command, renderable, whole in tables:
        narrow = to_text(renderable, width)
        if longest := [line for line in narrow.splitlines() if len(line) > width]:
            wrong.append(f"{command}: a line of {len(longest[0])}: {longest[0]}")
        if missing := whole - numbers(narrow):
            wrong.append(f"{command}: {dict(missing)} are cut\n{narrow}")
        if "…" in narrow:
            wrong.append(f"{command}: …\n{narrow}")
    assert not wrong, f"{len(wrong)} at {width}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("width", [80, 100, WIDE])
def test_names_of_settings_that_differ_are_whole(width):
    found = comparison()
    paths = [f"arms.{arm}.training.learning_rate" for arm in ARMS]
    assert max(map(len, paths)) > 40
    printed = to_text(comparison_text(found, ["value/care"]), width)
    assert [path for path in paths if path not in printed] == []
