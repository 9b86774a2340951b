"""Figure of a sweep's Pareto front: robustness against collateral, and how sure it is which trials are on the front."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.lab.statistics.intervals import MIN_SEEDS
from kerf.lab.statistics.pareto import DECIDED, RESAMPLES, Place, places
from kerf.runs.report.effects import stream
from kerf.runs.report.page.figure import DataTable, Figure, axis
from kerf.runs.report.page.sweep_records import SweepRecords

LOOKS = {
    Place.INFEASIBLE: ("x-thin", "@grey"),
    Place.DOMINATED: ("circle-open", "@0"),
    Place.UNDECIDED: ("square-open-dot", "@3"),
    Place.FRONT: ("diamond", "@1"),
}
"""Marker and colour; no place is told by its colour alone."""


def front_figure(records: SweepRecords) -> Figure:
    """Robustness against collateral of every trial: on the front, dominated, undecided, or breaking a floor."""
    wide = records.trials[~records.trials["held_out"]].pivot_table("mean", "trial", "metric", dropna=False)
    settings = records.trials.drop_duplicates("trial").set_index("trial")[records.axes]
    found, shares, num_seeds = trial_places(records, wide.index.tolist())
    selected = set(records.findings["front"])
    traces: list[dict[str, Any]] = []
    rows: list[tuple[Any, ...]] = []
    for place, (symbol, colour) in LOOKS.items():
        trials = [
            trial
            for trial in wide.index
            if found[trial] is place and not wide.loc[trial, [ROBUSTNESS, COLLATERAL]].isna().any()
        ]
        if not trials:
            continue
        x, y = (wide.loc[trials, metric].tolist() for metric in (ROBUSTNESS, COLLATERAL))
        told = [f"{_settings(settings.loc[trial], trial)}<br>{place} ({shares[trial]:.0%})" for trial in trials]
        rows += [
            (trial, str(place), shares[trial], "yes" if trial in selected else "no", *settings.loc[trial], a, b)
            for trial, a, b in zip(trials, x, y, strict=True)
        ]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "x": x, "y": y, "name": f"{place} ({len(trials)})", "text": told,
                "marker": {"symbol": symbol, "size": 11, "color": colour, "line": {"width": 1.5, "color": colour}},
                "hovertemplate": "%{text}<br>robustness %{x:.3f}, collateral %{y:.3f}<extra></extra>",
            }
        )  # fmt: skip
    traces += _held_out(records)
    columns = ("trial", "place", "share of resamples on the front", "best by its mean", *records.axes)
    return Figure(
        "front",
        "What does robustness cost, at best?",
        f"A point is a trial: {records.label(ROBUSTNESS)}, against {records.label(COLLATERAL)}. More is better on both "
        f"axes. {_reading(num_seeds)} Chosen for what they scored, trials on "
        "the front look better than they are: the same settings on held-out seeds are drawn with intervals.",
        traces,
        {"xaxis": axis("robustness"), "yaxis": axis("collateral")},
        DataTable((*columns, "robustness", "collateral"), rows),
        height=480,
    )


def _reading(num_seeds: int) -> str:
    """What the places mean."""
    if num_seeds < MIN_SEEDS:
        return (
            f"No trial that passes the floors is decided: {num_seeds} seed{'s' * (num_seeds != 1)} cannot tell which "
            f"are on the front ({MIN_SEEDS} are the least). By their means alone, see the table."
        )
    return (
        f"On the front: no trial that passes the floors is as good on both axes and better on one, in "
        f"{DECIDED:.0%} or more of {RESAMPLES:,} resamples of the {num_seeds} seeds (a bootstrap; trials are paired by "
        f"seed). Dominated: that is so in {1 - DECIDED:.0%} or fewer. Undecided: in between; more seeds would tell."
    )


def trial_places(records: SweepRecords, trials: list[int]) -> tuple[dict[int, Place], dict[int, float], int]:
    """Place of each trial, the share of resamples in which it is on the front, and the number of seeds."""
    changes = records.changes[~records.changes["held_out"]]
    seeds = sorted(set(changes["seed"]))

    def by_seed(metric: str) -> NDArray[np.float64]:
        """Effects `(S, n)`; nan where the skill was lost."""
        given = changes[changes["metric"] == metric].pivot(index="seed", columns="trial", values="effect")
        return given.reindex(index=seeds, columns=trials).to_numpy(np.float64)

    scores = np.stack([by_seed(ROBUSTNESS), by_seed(COLLATERAL)], axis=2)
    floors = [by_seed(floor["metric"]) - floor["change"] for floor in records.spec["floors"]]
    slack = np.stack(floors, axis=2) if floors else np.zeros((*scores.shape[:2], 0))
    found, shares = places(scores, slack, stream(0, "front"))
    return dict(zip(trials, found, strict=True)), dict(zip(trials, shares.tolist(), strict=True)), len(seeds)


def _settings(row: pd.Series, trial: int) -> str:
    return f"trial {trial}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items())


def _held_out(records: SweepRecords) -> list[dict[str, Any]]:
    """The front on held-out seeds, with intervals."""
    x, y = (records.means(metric, held_out=True).set_index("trial") for metric in (ROBUSTNESS, COLLATERAL))
    if x.empty:
        return []

    def bars(rows: pd.DataFrame) -> dict[str, Any]:
        up, down = (rows["high"] - rows["mean"]).tolist(), (rows["mean"] - rows["low"]).tolist()
        return {"type": "data", "array": up, "arrayminus": down, "color": "@2", "thickness": 1, "width": 3}

    return [
        {
            "type": "scatter", "mode": "markers", "x": x["mean"].tolist(), "y": y["mean"].tolist(),
            "name": "front, on held-out seeds", "marker": {"symbol": "square", "size": 9, "color": "@2"},
            "error_x": bars(x), "error_y": bars(y), "text": [f"trial {trial}" for trial in x.index],
            "hovertemplate": "%{text}, held out<br>robustness %{x:.3f}, collateral %{y:.3f}<extra></extra>",
        }
    ]  # fmt: skip
