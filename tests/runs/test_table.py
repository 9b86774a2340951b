"""Synthetic studies with known effects; the tables must show them in the right cells and nowhere else."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table
from scipy import stats

from kerf.lab.errors import KerfError
from kerf.lab.metrics import kind_of
from kerf.lab.prediction import Prediction
from kerf.lab.statistics.effect import MeasureError
from kerf.lab.statistics.intervals import coverage_sentence
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.report.effects import ALIGNED, COLUMNS, COMPETENCE, SHOWN, effects_frame, study_ends
from kerf.runs.report.judged import judge_primaries
from kerf.runs.report.table import Report, metrics_table, noise_floor, summary_table, to_text

LEVER = get_world("tests.toy_world:Lever")

VALUES = ("aid", "care", "caution", "corrigibility", "deference", "diligence", "discernment", "honesty", "integrity")
METRICS = (
    *(f"value/{value}" for value in VALUES),
    *("skill/reach", "skill/use", "false_exit/0.5", "false_exit/1", "way/window", "utility/ideal"),
    *("family/care/night", "family/reach/far"),
)
ARMS = ("frozen", "continued", "exposure", "penalised", "twin")


def study(num_seeds: int, planted: dict[tuple[str, str], float], *, sd: float = 0.01, seed: int = 0) -> pd.DataFrame:
    """Measures at iterations 0, 5 and 10: the planted change at 10 plus normal noise; `frozen` never changes."""
    rng = np.random.default_rng(seed)
    rows = []
    for cell in range(num_seeds):
        for metric in METRICS:
            aligned = 0.95 - 0.01 * rng.random()
            for arm in ARMS:
                for iteration in (0, 5, 10):
                    change = 0.0 if iteration == 0 or arm == "frozen" else rng.normal(0.0, sd)
                    change += planted.get((arm, metric), 0.0) * iteration / 10
                    steps = 0 if arm == "frozen" else 1000 * iteration
                    rows.append((arm, cell, iteration, steps, metric, aligned + change))
    measures = pd.DataFrame(rows, columns=list(COLUMNS))
    # `twin` repeats `continued` to the last bit.
    measures = measures[measures["arm"] != "twin"]
    twin = measures[measures["arm"] == "continued"].assign(arm="twin")
    return pd.concat([measures, twin], ignore_index=True)


PLANTED = {("penalised", "value/care"): -0.4, ("penalised", "false_exit/1"): -0.8, ("exposure", "utility/ideal"): -1.0}


@pytest.fixture(scope="module")
def measures() -> pd.DataFrame:
    return study(10, PLANTED)


@pytest.fixture(scope="module")
def effects(measures) -> pd.DataFrame:
    return effects_frame(measures, "continued")


def summary(effects: pd.DataFrame, width: int = 120) -> Table:
    """The tables of a world whose forbidden act serves care."""
    return summary_table(effects, focus=focus(LEVER), words=LEVER.dilemma.words, width=width)


def row(effects: pd.DataFrame, arm: str, metric: str) -> pd.Series:
    found = effects[(effects["arm"] == arm) & (effects["metric"] == metric)]
    assert len(found) == 1
    return found.iloc[0]


def test_planted_effects_are_found_in_their_cells_and_nowhere_else(effects):
    for (arm, metric), shift in PLANTED.items():
        found = row(effects, arm, metric)
        assert found["low"] <= shift <= found["high"] or found["mean"] == pytest.approx(shift, abs=0.02)
        assert found["p"] < 0.01
    # Everything else: noise of sd 0.01 over 10 seeds, so no mean beyond 0.03 (over 6 standard errors).
    for item in effects[effects["against"] == "continued"].itertuples():
        if (item.arm, item.metric) not in PLANTED:
            assert abs(item.mean) < 0.03, (item.arm, item.metric)


def test_false_discoveries_are_adjusted_over_all_that_is_shown(effects):
    shown = effects["p_bh"].notna()
    assert not effects.loc[shown, "metric"].str.startswith(("skill/", "family/", "held_out/", "way/")).any()
    assert (shown == (effects["p"].notna() & effects["metric"].map(kind_of).isin(SHOWN))).all()
    adjusted = stats.false_discovery_control(effects.loc[shown, "p"])
    assert effects.loc[shown, "p_bh"].to_numpy() == pytest.approx(adjusted)
    values = effects[effects["metric"].str.startswith("value/") & (effects["p_bh"] < 0.05)]
    assert list(zip(values["arm"], values["metric"], strict=True)) == [("penalised", "value/care")]


def test_an_interval_that_excludes_zero_is_no_star_by_itself(effects):
    """Of many cells some exclude 0 by chance: a mark needs an adjusted p, too."""
    frame = effects.copy()
    frame["p_bh"] = frame["p_bh"].where(frame["metric"] != "value/care", 0.2)
    lines = to_text(summary(frame)).splitlines()
    penalised = next(line for line in lines if line.startswith("penalised"))
    assert "-0.40 [-0.41, -0.39]" in penalised
    assert "* -0.40" not in penalised


def test_identical_arms_show_no_effect_between_them(effects):
    twin = effects[effects["arm"] == "twin"]
    assert len(twin) == len(METRICS) + 1
    assert (twin[["mean", "low", "high"]] == 0.0).all(axis=None)
    assert (twin["p"] == 1.0).all()


def test_rows_of_the_aligned_checkpoint_and_of_the_controls_drift(effects, measures):
    aligned = row(effects, ALIGNED, "value/care")
    start = measures.query("iteration == 0 and arm == 'continued' and metric == 'value/care'")["score"]
    assert aligned["mean"] == pytest.approx(start.mean())
    drift = row(effects, "continued", "value/care")
    end = measures.query("iteration == 10 and arm == 'continued' and metric == 'value/care'")["score"]
    assert drift["against"] == ALIGNED
    assert drift["mean"] == pytest.approx(end.mean() - start.mean())
    # A frozen arm's own change is exactly 0, so its effect is the drift, mirrored.
    assert row(effects, "frozen", "value/care")["mean"] == pytest.approx(-drift["mean"])
    assert list(dict.fromkeys(effects["arm"])) == [ALIGNED, "continued", "exposure", "frozen", "penalised", "twin"]


def test_arms_are_shown_in_the_order_asked_for(measures, effects):
    chosen = effects_frame(measures, "continued", arms=["penalised", "continued", "exposure"])
    assert list(dict.fromkeys(chosen["arm"])) == [ALIGNED, "continued", "penalised", "exposure"]
    # But for the adjustment a row does not depend on which others are there.
    ours, theirs = (row(frame, "penalised", "value/aid").drop("p_bh") for frame in (chosen, effects))
    assert ours.equals(theirs)
    with pytest.raises(KerfError, match="did you mean 'penalised'"):
        effects_frame(measures, "continued", arms=["penalized"])


def test_competence_is_the_least_of_the_skills(effects, measures):
    end = measures.query("iteration == 10 and arm == 'penalised'").pivot(index="seed", columns="metric", values="score")
    start = measures.query("iteration == 0 and arm == 'penalised'").pivot(
        index="seed", columns="metric", values="score"
    )
    skills = ["skill/reach", "skill/use"]
    change = (end[skills].min(axis=1) - start[skills].min(axis=1)).mean()
    drift = row(effects, "continued", COMPETENCE)["mean"]
    assert row(effects, "penalised", COMPETENCE)["mean"] == pytest.approx(change - drift)


def test_a_lost_skill_is_no_lost_value():
    clumsy = study(10, PLANTED | {("penalised", "skill/use"): -0.5})
    effects = effects_frame(clumsy, "continued")
    for metric in ("value/care", "false_exit/1", "way/window", "family/care/night"):
        assert not row(effects, "penalised", metric)["measurable"]
        assert math.isnan(row(effects, "penalised", metric)["mean"])
    for metric in (COMPETENCE, "skill/use", "utility/ideal", "family/reach/far"):
        assert row(effects, "penalised", metric)["measurable"]
    lines = to_text(summary(effects)).splitlines()
    cells = next(line for line in lines if line.startswith("penalised"))
    assert cells.count("skill lost") == 2
    assert any(line.startswith("skill lost: competence fell below 0.9") for line in lines)

    control_lost = study(10, PLANTED | {("continued", "skill/use"): -0.5})
    assert not row(effects_frame(control_lost, "continued"), "penalised", "value/care")["measurable"]


def test_a_skill_lost_in_some_seeds_leaves_those_out():
    clumsy = study(10, PLANTED)
    hit = (clumsy["arm"] == "penalised") & (clumsy["metric"] == "skill/use") & (clumsy["iteration"] == 10)
    clumsy.loc[hit & clumsy["seed"].isin([3, 8]), "score"] = 0.2
    effects = effects_frame(clumsy, "continued")
    care = row(effects, "penalised", "value/care")
    assert (care["num_seeds"], care["lost"]) == (8, 2)
    assert "8 of 10 seeds" in to_text(summary(effects))


@pytest.mark.parametrize("width", [80, 120, 160])
def test_the_summary_fits_its_width_and_has_a_row_per_arm_in_every_table(effects, width):
    text = to_text(summary(effects, width=width), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    tables = [line for line in lines if line.split()[:1] == ["arm"]]
    for name in ("aligned (score)", "continued (drift)", "exposure", "frozen", "penalised", "twin"):
        assert sum(line.startswith(name) for line in lines) >= len(tables) > 0
    assert "…" not in text
    assert "-0.00" not in text
    assert "nan" not in text


def test_cells_stand_where_the_frame_says(effects):
    lines = to_text(summary(effects, width=160), 160).splitlines()
    header = next(line for line in lines if line.startswith("arm"))
    assert header.split() == ["arm", "emergencies", "(s=1)", "care", "competence", "ideal", "utility"]
    penalised = next(line for line in lines if line.startswith("penalised"))
    cells = [f"[{part}" for part in penalised.split("[")[1:]]
    assert len(cells) == 4
    care = row(effects, "penalised", "value/care")
    assert f"* {care['mean']:.2f} [{care['low']:.2f}, {care['high']:.2f}]" in penalised
    twin = next(line for line in lines if line.startswith("twin"))
    assert twin.count("0.00 [0.00, 0.00]") == 4
    assert "*" not in twin


def test_bold_repeats_what_the_mark_says(effects):
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard", record=True)
    console.print(summary(effects))
    text = console.export_text(styles=True)
    assert "\x1b[1m* -0.4" in text


def test_three_seeds_come_with_a_warning():
    few = effects_frame(study(3, PLANTED), "continued")
    text = to_text(summary(few))
    assert "Warning: 3 seeds. Below 5 no interval is reliable" in text
    penalised = next(line for line in text.splitlines() if line.startswith("penalised"))
    assert "-0.4" in penalised
    assert "*" not in penalised
    assert "none can be with 3 seeds, whose smallest p is 0.25" in " ".join(text.split())
    single = to_text(summary(effects_frame(study(1, PLANTED), "continued")))
    assert "[no interval]" in single
    assert "Warning: 1 seed. No interval can be given" in single


def test_ten_seeds_come_without_a_warning(effects):
    assert "Warning" not in to_text(summary(effects))


def test_how_often_intervals_cover_is_told_wherever_there_are_any(effects):
    told = " ".join(coverage_sentence().split())
    assert told in " ".join(to_text(summary(effects)).split())
    single = effects_frame(study(1, PLANTED), "continued")
    assert told not in " ".join(to_text(summary(single)).split())


def test_intervals_end_where_the_metrics_do():
    # Three of five seeds collapse: a mean of -0.54 with an interval that would reach below -1.
    split = study(5, {})
    hit = (split["arm"] == "penalised") & (split["iteration"] == 10) & split["seed"].isin([1, 2, 3])
    split.loc[hit & split["metric"].isin(["value/care", "utility/ideal"]), "score"] -= 0.9
    split.loc[split["metric"] == "skill/use", "score"] = split["seed"].map({0: 0.2}).fillna(1.0)
    effects = effects_frame(split, "continued")
    assert row(effects, "penalised", "value/care")["low"] == -1.0
    assert row(effects, "penalised", "utility/ideal")["low"] < -1.0
    assert row(effects, ALIGNED, "skill/use")["high"] == 1.0


PRIMARIES = (
    Prediction(
        name="help-drops",
        arm="penalised",
        against="exposure",
        metric="value/care",
        direction="decrease",
        falsified_by="care within 0.05 of exposure",
    ),
    Prediction(
        name="aid-rises",
        arm="penalised",
        against="continued",
        metric="value/aid",
        direction="increase",
        falsified_by="aid as before",
    ),
    Prediction(
        name="utility-rises",
        arm="exposure",
        against="continued",
        metric="utility/ideal",
        direction="increase",
        falsified_by="utility falls",
    ),
)


def test_primaries_are_judged_with_holm_over_all_of_them(measures):
    judged = judge_primaries(measures, PRIMARIES)
    assert [item.verdict.outcome for item in judged] == ["held", "no typical effect", "reversed"]
    assert judged[0].verdict.p_adjusted == pytest.approx(3 * 2 / 1024)
    assert judged[2].verdict.p_adjusted == pytest.approx(3 * 2 / 1024)
    assert (judged[0].collapse.arm.mean, judged[2].collapse) == (0.0, None)
    collapse = judge_primaries(study(10, {("penalised", "value/care"): -0.6}), PRIMARIES[:1])[0].collapse
    assert (collapse.arm.mean, collapse.against.mean, collapse.arm.num) == (1.0, 0.0, 10)
    assert collapse.p == 2 / 1024


def test_primaries_are_printed_with_their_sentence(effects, measures):
    text = Report(effects, judge_primaries(measures, PRIMARIES)).to_text(160)
    line = next(line for line in text.splitlines() if line.startswith("help-drops"))
    assert line.split()[-1] == "held"
    assert "help-drops: held: predicted to decrease, and changed by -0.39 [" in text
    assert "aid-rises: value/aid increases in penalised against continued" in text
    assert "Falsified by: utility falls" in text


def test_primaries_that_name_nothing_measured_are_refused(measures):
    with pytest.raises(KerfError, match="did you mean 'value/care'"):
        judge_primaries(
            measures,
            [
                Prediction(
                    name="p",
                    arm="penalised",
                    against="exposure",
                    metric="value/cares",
                    direction="decrease",
                    falsified_by="never mind",
                )
            ],
        )
    with pytest.raises(KerfError, match="arm of primary 'p' 'exposures'"):
        judge_primaries(
            measures,
            [
                Prediction(
                    name="p",
                    arm="penalised",
                    against="exposures",
                    metric="value/care",
                    direction="decrease",
                    falsified_by="never mind",
                )
            ],
        )


def test_equal_measures_give_equal_bytes_in_any_row_order(measures, monkeypatch):
    draws = pd.DataFrame({"seed": [0] * 3, "metric": ["value/care"] * 3, "draw": [0, 1, 2], "score": [0.9, 0.92, 0.94]})

    def text(frame: pd.DataFrame) -> str:
        return Report(effects_frame(frame, "continued"), judge_primaries(frame, PRIMARIES), draws).to_text(120)

    first = text(measures)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    assert text(measures.sample(frac=1.0, random_state=3)) == first
    assert "\x1b" not in first


def test_noise_floor_is_the_sd_over_draws_within_seeds():
    draws = pd.DataFrame(
        {
            "seed": [0, 0, 0, 0, 1, 1, 1, 1],
            "metric": ["b", "b", "a", "a"] * 2,
            "draw": [0, 1, 0, 1] * 2,
            "score": [0.90, 0.94, 0.5, 0.5, 0.40, 0.44, 0.9, 0.9],
        }
    )
    assert noise_floor(draws).plain.endswith("over 2 fresh draws of the probes): a 0.000, b 0.028")
    with pytest.raises(MeasureError, match="noise floor of b, seed 0: expected two or more"):
        noise_floor(draws.iloc[[0]])


def broken(measures: pd.DataFrame, kind: str) -> pd.DataFrame:
    at = (measures["arm"] == "penalised") & (measures["seed"] == 4) & (measures["metric"] == "value/care")
    end = at & (measures["iteration"] == 10)
    return {
        "nan": measures.assign(score=measures["score"].mask(end)),
        "no end": measures[~end],
        "no start": measures[~(at & (measures["iteration"] == 0))],
        "twice": pd.concat([measures, measures[end]]),
        "unfinished": measures[
            ~((measures["seed"] == 4) & (measures["arm"] == "penalised") & (measures["iteration"] > 5))
        ],
        "no seed": measures[~((measures["seed"] == 4) & (measures["arm"] == "penalised"))],
        "no skill": measures[~measures["metric"].str.startswith("skill/")],
        "no column": measures.drop(columns="env_steps"),
        "empty": measures.iloc[:0],
        "reserved": measures.replace({"arm": {"frozen": ALIGNED}}),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "arm 'penalised', seed 4, iteration 10, value/care: expected a finite score, got nan"),
        ("no end", "arm 'penalised', seed 4, value/care: no score at its last iteration"),
        ("no start", "arm 'penalised', seed 4, value/care: no score at iteration 0"),
        ("twice", "arm 'penalised', seed 4, iteration 10, value/care: expected one score, got two"),
        ("unfinished", "arm 'penalised': expected all seeds to end at the same iteration.*4: 5.*finish the study"),
        ("no seed", r"'penalised' has no score for seeds \[4\]"),
        ("no skill", "no skill/ metric"),
        ("no column", "env_steps missing"),
        ("empty", "got none"),
        ("reserved", "no arm may be called 'aligned'"),
    ],
)
def test_measures_that_cannot_be_compared_are_refused(measures, kind, message):
    with pytest.raises(MeasureError, match=message):
        effects_frame(broken(measures, kind), "continued")


def test_unknown_names_are_refused(measures, effects):
    with pytest.raises(KerfError, match="did you mean 'continued'"):
        effects_frame(measures, "continue")
    with pytest.raises(KerfError, match="unknown metric to show 'value/carre'"):
        summary_table(effects, focus=("value/carre",))
    with pytest.raises(KerfError, match="unknown metric to show 'way/door'"):
        metrics_table(effects, ["way/door"])


def test_any_metrics_make_a_table(effects):
    text = to_text(metrics_table(effects, ["way/window", "family/care/night"]))
    assert "way/window" in text
    assert "family/care/night" in text


def test_arms_with_unequal_training_are_noted(measures):
    longer = measures.assign(env_steps=measures["env_steps"] * (1 + (measures["arm"] == "penalised")))
    text = to_text(summary(effects_frame(longer, "continued")), 200)
    assert "not trained for equally many environment steps: continued 10,000, exposure 10,000, penalised 20,000" in text
    assert study_ends(longer).env_steps["frozen"] == 0
