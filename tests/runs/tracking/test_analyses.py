"""What MLflow gets of revealed objectives: means over the seeds that fit, and nothing where too few fit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from kerf.runs.tracking.analyses import after_figures, revealed_figures


def records(root: Path) -> None:
    """Three agents of `a`, of which two fit and one of them identifies `seen`, and three of `b`, of which one fits."""
    fits = [
        ("a", 0, 0.9, 0.8, 0.7, ""),
        ("a", 1, 0.7, 0.6, 0.5, ""),
        ("a", 2, 0.2, 0.1, math.nan, "it does not fit"),
        ("b", 0, 0.9, 0.8, math.nan, ""),
        ("b", 1, 0.1, 0.2, math.nan, "it does not fit"),
        ("b", 2, 0.1, 0.2, math.nan, "it does not fit"),
    ]
    columns = ["arm", "seed", "explained", "agrees_ideal", "agrees_design", "refusal"]
    frame = pd.DataFrame(fits, columns=columns)
    other = frame.assign(belief="25% forged", explained=0.0)
    pd.concat([frame.assign(belief="natural"), other]).to_parquet(root / "revealed_fits.parquet")
    weights = [
        *[(arm, seed, "saved", 10.0 + seed) for arm in "ab" for seed in range(3)],
        *[("a", 0, "seen", 1.0), ("a", 1, "seen", math.nan), ("a", 2, "seen", 5.0)],
        *[("a", seed, "hidden", math.nan) for seed in range(3)],
    ]
    frame = pd.DataFrame(weights, columns=["arm", "seed", "event", "weight"])
    pd.concat([frame.assign(belief="natural"), frame.assign(belief="25% forged", weight=99.0)]).to_parquet(
        root / "revealed.parquet"
    )
    (root / "objectives.json").write_text(json.dumps({"ideal": {"seen": 1.0, "saved": 10.0}}))


def test_revealed_figures_are_means_over_the_seeds_that_are_read(tmp_path: Path) -> None:
    records(tmp_path)
    numbers, tags = revealed_figures(tmp_path)
    assert tags == {"kerf.revealed.a": "read", "kerf.revealed.b": "not read"}
    assert numbers == pytest.approx(
        {
            "revealed/explained/a": 0.6,
            "revealed/explained/b": 1.1 / 3,
            "revealed/agrees_ideal/a": 0.5,
            "revealed/agrees_ideal/b": 0.4,
            "revealed/agrees_paid/a": 0.6,
            "revealed/weight/saved/a": 10.5,
            "revealed/weight/seen/a": 1.0,
        }
    )
    assert list(numbers)[-2:] == ["revealed/weight/saved/a", "revealed/weight/seen/a"], "the heaviest first"


def test_a_study_without_analyses_has_no_figures_of_them(tmp_path: Path) -> None:
    assert revealed_figures(tmp_path) == after_figures(tmp_path) == ({}, {})
