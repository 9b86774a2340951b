"""Probe error: how much of an effect's variance comes from the draw of the probes, and how much from seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kerf.lab.prediction import Prediction
from kerf.lab.statistics.variance import Components, variance_components
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.report.effects import Ends

NOT_MEASURED = "Probe error: not measured, for some cells of this study were trained by a version that did not do so."


def read_noise(store: Store, units: Iterable[Unit]) -> pd.DataFrame | None:
    """Read the scores of finished units on fresh draws of the battery: columns `arm`, `seed`, `metric`, `draw`,
    `score`.

    None if a unit has no such scores.
    """
    frames = []
    for unit in units:
        path = store.path / unit.name / "noise.parquet"
        if not path.exists():
            return None
        frames.append(pd.read_parquet(path).assign(arm=unit.arm, seed=unit.seed))
    return pd.concat(frames, ignore_index=True)


def effects_by_battery(ends: Ends, noise: pd.DataFrame, arm: str, against: str, metric: str) -> NDArray[np.float64]:
    """Effect of `arm` on the study's battery and on each fresh draw that both arms have, shape `(B, S)`.

    All arms of a seed start from the same aligned agent, so an effect is the difference of two final scores.
    """
    end = ends.scores(ends.final, arm, metric)
    other = ends.scores(ends.aligned, arm, metric) if against == ALIGNED else ends.scores(ends.final, against, metric)
    seeds = sorted(end)
    own = [end[seed] - other[seed] for seed in seeds]
    scores = noise[noise["metric"] == metric].set_index(["arm", "seed", "draw"])["score"]
    fresh = (scores[arm] - scores[against]).unstack("seed").dropna()  # an aligned agent has more draws
    return np.vstack([own, fresh[seeds].to_numpy(np.float64)])


def probe_error_note(ends: Ends, noise: pd.DataFrame | None, primaries: Sequence[Prediction]) -> str:
    """A line with probe error and spread over seeds of each prediction's effect; empty for fewer than two seeds.

    Args:
        ends: Aligned and final scores of every arm.
        noise: From `read_noise`, of all cells and aligned agents.
        primaries: The predictions; those on derived metrics have no fresh scores and are left out.
    """
    if noise is None:
        return NOT_MEASURED
    measured = set(noise["metric"])
    parts, shape = [], (0, 0)
    for primary in primaries:
        if primary.metric not in measured:
            continue
        effects = effects_by_battery(ends, noise, primary.arm, primary.against, primary.metric)
        if effects.shape[1] < 2:
            return ""
        shape = effects.shape
        parts.append(f"{primary.name} ({primary.metric}): {_words(variance_components(effects))}")
    if not parts:
        return ""
    return f"Spread of effects over {shape[0]} batteries x {shape[1]} seeds: {'; '.join(parts)}."


def _words(found: Components) -> str:
    return f"probe error sd {found.probe_sd:.3f}, seed sd {found.seed_sd:.3f}"
