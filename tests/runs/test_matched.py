"""Synthetic studies in which one arm suppresses faster than another; costs are planted per unit of suppression."""

import numpy as np
import pandas as pd
import pytest

from kerf.lab.prediction import Prediction
from kerf.lab.statistics.effect import MeasureError
from kerf.runs.report.effects import COLUMNS, effects_frame
from kerf.runs.report.judged import judge_primaries
from kerf.runs.report.matched import match_primaries, matched_frame, study_courses
from kerf.runs.report.prediction_tables import matched_table
from kerf.runs.report.table import Report, to_text

SPEED = {"frozen": 0.0, "continued": 0.0, "exposure": 0.1, "penalised": 0.2, "worse": 0.2}
COST = {"worse": 0.5}
"""What an arm loses of care per unit of suppression, if not 0.3."""


def study(num_seeds: int = 6, *, exits: tuple[str, ...] = ("0.5", "1.0"), iterations: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(num_seeds):
        for arm, speed in SPEED.items():
            for iteration in range(iterations + 1):
                suppressed = speed * iteration
                scores = {f"false_exit/{strength}": 1.0 - suppressed for strength in exits}
                cost = COST.get(arm, 0.3) + rng.normal(0.0, 0.01)
                scores |= {"value/care": 0.95 - cost * suppressed, "value/aid": 0.9, "skill/reach": 1.0}
                steps = 0 if arm == "frozen" else 100 * iteration
                rows += [(arm, seed, iteration, steps, metric, score) for metric, score in scores.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


PRIMARIES = (
    Prediction(
        name="faster-only",
        arm="penalised",
        against="exposure",
        metric="value/care",
        direction="decrease",
        falsified_by="as much care",
    ),
    Prediction(
        name="costs-more",
        arm="worse",
        against="penalised",
        metric="value/care",
        direction="decrease",
        falsified_by="as much care",
    ),
    Prediction(
        name="against-control",
        arm="penalised",
        against="continued",
        metric="value/care",
        direction="decrease",
        falsified_by="as much care",
    ),
    Prediction(
        name="the-target-itself",
        arm="penalised",
        against="exposure",
        metric="false_exit/1.0",
        direction="decrease",
        falsified_by="as many exits",
    ),
    Prediction(
        name="untrained",
        arm="penalised",
        against="frozen",
        metric="value/care",
        direction="decrease",
        falsified_by="as much care",
    ),
)


@pytest.fixture(scope="module")
def measures() -> pd.DataFrame:
    return study()


def test_what_differs_in_speed_alone_differs_at_equal_steps_only(measures):
    judged = match_primaries(study_courses(measures), judge_primaries(measures, PRIMARIES))
    faster, costlier, control, target, untrained = judged
    # Noise of sd 0.01 in the cost, at a suppression of at most 0.8, over 6 seeds: 0.03 is over 6 standard errors.
    assert faster.effect.interval.mean == pytest.approx(-0.3 * 0.4, abs=0.03)
    assert [matched.level for matched in faster.matched] == [0.25, 0.5, 0.75]
    assert faster.matched[0].effect.interval.mean == pytest.approx(0.0, abs=0.03)
    assert faster.matched[1].not_comparable == tuple(range(6)), "exposure never suppressed more than 0.4"
    for level, matched in zip((0.25, 0.5, 0.75), costlier.matched, strict=True):
        assert matched.effect.interval.mean == pytest.approx(-0.2 * level, abs=0.03)
        assert matched.effect.p == 2 / 64
    assert control.matched[0].not_comparable == tuple(range(6))
    assert not control.matched[0].effect.measurable
    assert target.matched == untrained.matched == ()
    # What is judged stays what was registered.
    assert [item.verdict for item in judged] == [item.verdict for item in judge_primaries(measures, PRIMARIES)]


def test_the_hardest_false_emergencies_say_what_is_suppressed(measures):
    probed = study(exits=("0.25", "1.0", "0.5"))
    assert set(study_courses(probed).aims.values()) == {"false_exit/1.0"}
    aims = study_courses(probed, {"penalised": 0.5, "exposure": 0.75}).aims
    assert (aims["penalised"], aims["exposure"]) == ("false_exit/0.5", "false_exit/1.0"), "0.75 was not probed"
    easier = measures.copy()
    easier.loc[easier["metric"] == "false_exit/0.5", "score"] = 0.0
    ours, theirs = (study_courses(frame).match("penalised", "exposure", "value/care") for frame in (measures, easier))
    assert ours == theirs


def test_without_false_exits_there_is_nothing_to_match():
    courses = study_courses(study(exits=()))
    assert courses.aims == {}
    assert courses.match("penalised", "exposure", "value/care") == ()
    assert matched_frame(courses, [("penalised", "exposure")]).empty


def test_a_skill_counts_as_lost_where_the_arms_are_compared_and_not_at_the_end(measures):
    clumsy = measures.copy()
    late = (clumsy["arm"] == "penalised") & (clumsy["metric"] == "skill/reach")
    # Suppression is matched at 0.25, which the penalised arm reaches between iterations 1 and 2.
    clumsy.loc[late & (clumsy["seed"] == 1) & (clumsy["iteration"] == 4), "score"] = 0.1
    clumsy.loc[late & (clumsy["seed"] == 3) & (clumsy["iteration"] == 2), "score"] = 0.1
    (item,) = match_primaries(study_courses(clumsy), judge_primaries(clumsy, PRIMARIES[:1]))
    assert item.effect.lost == (1,)
    assert item.matched[0].effect.lost == (3,)


def test_the_frame_has_every_value_of_every_contrast_that_can_be_matched(measures):
    courses = study_courses(measures)
    contrasts = [("penalised", "exposure"), ("penalised", "continued"), ("penalised", "exposure")]
    contrasts += [("penalised", "aligned"), ("frozen", "continued")]
    frame = matched_frame(courses, contrasts).set_index(["arm", "against", "metric", "level"])
    assert frame.index.tolist() == [
        (*contrast, metric, level)
        for contrast in contrasts[:2]
        for metric in ("value/aid", "value/care")
        for level in (0.25, 0.5, 0.75)
    ]
    care = frame.loc[("penalised", "exposure", "value/care", 0.25)]
    found = courses.match("penalised", "exposure", "value/care")[0]
    assert (care["mean"], care["low"], care["high"]) == (
        found.effect.interval.mean,
        found.effect.interval.low,
        found.effect.interval.high,
    )
    assert (care["num_seeds"], care["lost"], care["not_comparable"]) == (6, 0, 0)
    idle = frame.loc[("penalised", "continued", "value/care", 0.25)]
    assert (idle["num_seeds"], idle["not_comparable"]) == (0, 6)
    assert idle[["mean", "low", "high", "p", "bridged"]].isna().all()


def test_row_order_does_not_matter(measures):
    contrasts = [("penalised", "exposure")]
    ours, theirs = (
        matched_frame(study_courses(frame), contrasts)
        for frame in (measures, measures.sample(frac=1.0, random_state=3))
    )
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize("metric", ["value/care", "false_exit/1.0", "skill/reach"])
def test_a_score_that_is_missing_on_the_way_is_named(measures, metric):
    at = (measures["arm"] == "exposure") & (measures["seed"] == 2) & (measures["iteration"] == 3)
    torn = measures[~(at & (measures["metric"] == metric))]
    with pytest.raises(MeasureError, match=r"arm 'exposure', seed 2, .*: no score at iteration 3"):
        study_courses(torn).match("penalised", "exposure", "value/care")


def test_the_table_shows_both_and_says_what_cannot_be_compared(measures):
    judged = match_primaries(study_courses(measures), judge_primaries(measures, PRIMARIES))
    lines = to_text(matched_table(judged), 140).splitlines()
    assert max(map(len, lines)) <= 140
    faster = next(line for line in lines if line.startswith("faster-only"))
    assert "-0.12 [" in faster
    assert "0.00 [" in faster.partition("]")[2]
    assert faster.count("not reached") == 2
    assert "not reached" not in next(line for line in lines if line.startswith("costs-more"))
    assert not any(line.startswith(("against-control", "the-target-itself", "untrained")) for line in lines)
    effects = effects_frame(measures, "continued")
    assert "at matched suppression" in Report(effects, judged).to_text(140)
    unmatched = judge_primaries(measures, PRIMARIES)
    assert "at matched suppression" not in Report(effects, unmatched).to_text(140)


def test_a_gap_that_was_interpolated_is_shown():
    coarse = study()
    coarse = coarse[coarse["iteration"].isin([0, 4])]
    matched = study_courses(coarse).match("penalised", "exposure", "value/care")[0]
    assert matched.bridged == pytest.approx([0.8] * 6)
    assert matched.level == 0.25
