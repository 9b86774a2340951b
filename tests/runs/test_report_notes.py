"""The report's lines on probe error and on the optimiser, from records that are written here and from a study's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerf.lab.prediction import Prediction
from kerf.lab.statistics.variance import variance_components
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.records.tables import read_measures
from kerf.runs.report import make_report
from kerf.runs.report.effects import study_ends
from kerf.runs.report.optimiser import CLIPPED, STEPS, optimiser_note
from kerf.runs.report.probe_error import effects_by_battery, probe_error_note, read_noise

SEEDS = 12
CARE = Prediction(
    name="care",
    arm="penalised",
    against="exposure",
    metric="value/care",
    direction="decrease",
    falsified_by="care is kept",
)
PROBES = np.array([0.0, 0.02, -0.02])
"""What each battery adds to the penalised arm's score."""


def records() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measures and noise in which an effect is -0.3, a seed's own part and the battery's."""
    of_seed = np.random.default_rng(4).normal(0.0, 0.1, SEEDS)
    measures, noise = [], []
    for seed in range(SEEDS):
        for arm in ("penalised", "exposure"):
            effect = np.where(arm == "penalised", -0.3 + of_seed[seed] + PROBES, 0.0)
            for iteration, score in ((0, 0.95), (5, 0.9 + effect[0])):
                for metric, value in (("value/care", score), ("skill/reach", 1.0)):
                    measures.append((arm, seed, iteration, 100 * iteration, metric, value))
            noise += [(arm, seed, "value/care", draw, 0.9 + effect[draw + 1]) for draw in (0, 1)]
        noise += [(ALIGNED, seed, "value/care", draw, 0.95) for draw in (0, 1, 2)]
    columns = ["arm", "seed", "iteration", "env_steps", "metric", "score"]
    fresh = pd.DataFrame(noise, columns=["arm", "seed", "metric", "draw", "score"])
    return pd.DataFrame(measures, columns=columns), fresh


def test_planted_spread_is_told() -> None:
    measures, noise = records()
    ends = study_ends(measures)
    effects = effects_by_battery(ends, noise, "penalised", "exposure", "value/care")
    assert effects.mean(axis=1) - effects.mean() == pytest.approx(PROBES)
    note = probe_error_note(ends, noise, [CARE])
    sd = effects[0].std(ddof=1)
    assert note == (
        f"Spread of effects over 3 batteries x 12 seeds: care (value/care): probe error sd 0.020, seed sd {sd:.3f}."
    )
    against_aligned = effects_by_battery(ends, noise, "penalised", ALIGNED, "value/care")
    assert against_aligned == pytest.approx(effects - 0.05)  # exposure ends 0.05 below the aligned agent everywhere


def test_what_has_no_fresh_scores_has_no_probe_error() -> None:
    measures, noise = records()
    ends = study_ends(measures)
    derived = CARE.model_copy(update={"metric": "competence"})
    assert probe_error_note(ends, noise, [derived]) == ""
    assert "not measured" in probe_error_note(ends, None, [CARE])
    one = study_ends(measures[measures["seed"] == 0])
    assert probe_error_note(one, noise[noise["seed"] == 0], [CARE]) == ""


def test_the_optimiser_is_told_of_in_order_and_without_what_was_not_measured() -> None:
    rows = [("b", CLIPPED, 1.0), ("b", CLIPPED, 0.5), ("a", CLIPPED, 0.0)]
    rows += [(arm, step, value) for arm in "ab" for step, value in zip(STEPS, (0.0, 0.25, 0.5), strict=True)]
    rows += [("a", step, math.nan) for step in STEPS] + [("c", "learn/entropy", 1.0)]
    note = optimiser_note(pd.DataFrame(rows, columns=["arm", "metric", "value"]), ["b", "a", "c"])
    assert note.endswith("critic: b 75% (0.000, 0.250, 0.500); a 0% (0.000, 0.250, 0.500).")
    assert optimiser_note(pd.DataFrame(rows[-1:], columns=["arm", "metric", "value"]), ["c"]) == ""


def test_a_study_tells_both(smoke_study: Path) -> None:
    store = Store(smoke_study)
    units = [Unit(arm, seed) for arm in ("penalised", "exposure") for seed in (0, 1)]
    noise = read_noise(store, units)
    ends = study_ends(read_measures(smoke_study))
    effects = effects_by_battery(ends, noise, "penalised", "exposure", "value/care")
    assert effects.shape == (3, 2)
    found = variance_components(effects)
    notes = make_report(store).notes
    told = f"(value/care): probe error sd {found.probe_sd:.3f}, seed sd {found.seed_sd:.3f}"
    assert any(told in note for note in notes)
    (optimiser,) = (note for note in notes if note.startswith("Minibatches"))
    assert "continued 0% (0.000, " in optimiser
    assert "penalised 0% (0.000, " not in optimiser
    assert "frozen" not in optimiser
