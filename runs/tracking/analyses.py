"""Metrics and tags of the analyses of a finished study, read from their records: after-tests, revealed objectives.

They belong to the study's run. Each analysis has metrics of its own, at most `kerf.runs.tracking.metrics.MOST`, and a
tag for each arm:

- `kerf after`: the mean of each sign, `after/<sign>/<arm>`; the tag `kerf.after.<arm>` holds the call.
- `kerf revealed`: under the belief in the natural stream, for the aligned agents and each arm,
  `revealed/explained/<arm>` (share of the choices that weights explain), `revealed/agrees_ideal/<arm>` and
  `revealed/agrees_paid/<arm>` (correlations), and `revealed/weight/<event>/<arm>`, the mean weights that
  `kerf revealed` shows; the tag `kerf.revealed.<arm>` is `read`, or `not read` where fewer than half of the seeds fit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

AFTER, REVEALED = "kerf.after.", "kerf.revealed."
"""Start of the tags that say what became of the value in an arm, and whether its objective is read; the arm follows."""

READ, NOT_READ = "read", "not read"

BELIEF = "natural"
"""The belief of the revealed objectives in MLflow; those under other beliefs are in the attached tables."""

FITS = {"explained": "explained", "agrees_ideal": "agrees_ideal", "agrees_paid": "agrees_design"}
"""Figures of a fit by their names in MLflow -> columns of `revealed_fits.parquet`."""


def after_figures(root: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Read the mean of each sign of the after-tests of the study in `root`, and a tag for each arm's call."""
    path = root / "after.json"
    became: list[dict[str, Any]] = json.loads(path.read_bytes())["became"] if path.exists() else []
    numbers = {
        f"after/{sign}/{one['arm']}": one["effects"][sign]["mean"]
        for one in became
        for sign in one["p_adjusted"]
        if one["effects"][sign]["mean"] is not None
    }
    return numbers, {f"{AFTER}{one['arm']}": one["call"] for one in became}


def revealed_figures(root: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Read what `kerf revealed` found in the study in `root`, and a tag for each arm; empty if it did not run."""
    if not (root / "revealed_fits.parquet").exists():
        return {}, {}
    import pandas as pd

    fits = pd.read_parquet(root / "revealed_fits.parquet")
    fits = fits[fits["belief"] == BELIEF]
    weights = pd.read_parquet(root / "revealed.parquet")
    weights = weights[weights["belief"] == BELIEF]
    ideal: Mapping[str, float] = json.loads((root / "objectives.json").read_bytes())["ideal"]
    by_arm = {str(arm): of for arm, of in fits.groupby("arm", sort=False)}
    numbers = {
        f"revealed/{name}/{arm}": float(of[column].mean())
        for name, column in FITS.items()
        for arm, of in by_arm.items()
    }
    fitting = {arm: set(of.loc[of["refusal"] == "", "seed"]) for arm, of in by_arm.items()}
    read = {arm: 2 * len(fitting[arm]) >= len(of) for arm, of in by_arm.items()}
    means = {arm: _mean_weights(weights, arm, fitting[arm]) for arm in read if read[arm]}
    for event in sorted(weights["event"].unique(), key=lambda event: (-abs(ideal.get(event, 0.0)), event)):
        numbers |= {f"revealed/weight/{event}/{arm}": mean[event] for arm, mean in means.items() if event in mean}
    tags = {f"{REVEALED}{arm}": READ if shown else NOT_READ for arm, shown in read.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}, tags


def _mean_weights(weights: pd.DataFrame, arm: str, seeds: set[int]) -> dict[str, float]:
    """Mean weight of each event over those of `seeds` that identify it, if they are at least half of them."""
    of_arm = weights[(weights["arm"] == arm) & weights["seed"].isin(seeds) & weights["weight"].notna()]
    return {
        str(event): float(of["weight"].mean())
        for event, of in of_arm.groupby("event", sort=False)
        if 2 * len(of) >= len(seeds)
    }
