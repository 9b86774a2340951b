"""Sections of the exact answers, where `kerf exact` has left its records: forced and excess losses, signal detection,
psychometric curves, certificates."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from kerf.lab.dilemma import Words
from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.report.page.figure import TEXT, DataTable, Figure, Looks, Section, TableBlock, axis

PARTS = (("prior_shift", "prior shift", "/"), ("penalty", "penalty", ""), ("excess", "excess", "."))
"""Column of `exact.parquet`, its name, and the pattern of its bars."""

EVIDENCE = np.linspace(-8.0, 8.0, 65)
"""Log-likelihood ratios at which psychometric curves are drawn."""


def exact_sections(store: Store, looks: Looks, words: Words) -> list[Section]:
    """One section with what there is; none if `kerf exact` did not run."""
    blocks: list[Figure | TableBlock] = [
        *_from(store, "exact", lambda frame: [losses(frame, words)]),
        *_from(store, "detection", lambda frame: [roc(frame, looks, words)]),
        *_from(store, "curves", lambda frame: list(curves(frame, looks, words))),
        *certificates(store),
    ]
    intro = "By enumeration, without sampling. In words and by arm: exact.txt in the study's folder."
    return [Section("exact", "What the objective forced", intro, blocks, short="Exact")] if blocks else []


def _from(store: Store, name: str, make: Any) -> list[Figure]:
    path = store.path / f"{name}.parquet"
    return make(pd.read_parquet(path)) if path.exists() else []


def losses(frame: pd.DataFrame, words: Words) -> Figure:
    """Stacked bars of the loss of ideal utility by its source."""
    arms = list(dict.fromkeys(frame["arm"]))
    means = frame.groupby("arm")[[name for name, _, _ in PARTS]].mean()
    traces: list[dict[str, Any]] = [
        {
            "type": "bar", "orientation": "h", "y": arms, "x": [float(means.loc[arm, column]) for arm in arms],
            "name": name, "marker": {"color": f"@{number}", "pattern": {"shape": shape}},
            "hovertemplate": f"%{{y}}: {name} %{{x:.2f}}<extra></extra>",
        }
        for number, (column, name, shape) in enumerate(PARTS)
    ]  # fmt: skip
    traces.append(
        {
            "type": "scatter", "mode": "markers", "y": frame["arm"].tolist(), "x": frame["whole"].tolist(),
            "name": "a seed's whole loss", "customdata": frame["seed"].tolist(),
            "marker": {"color": TEXT, "size": 7, "symbol": "line-ns", "line": {"width": 2, "color": TEXT}},
            "hovertemplate": "%{y}, seed %{customdata}: %{x:.2f}<extra></extra>",
        }
    )  # fmt: skip
    columns = ["arm", "seed", "whole", "prior_shift", "penalty", "excess", "under_optimisation", "spillover", "regret"]
    return Figure(
        "forced",
        "How much of each loss was forced by the objective?",
        "Ideal utility lost per scenario. Prior shift and penalty are forced: even the best policy for what the arm "
        "was trained on loses them. Excess is what the learner lost beyond that. Left of 0 is a gain; a stroke is a "
        "seed's whole loss.",
        traces,
        {
            "barmode": "relative", "xaxis": axis("ideal utility lost"),
            "yaxis": {"autorange": "reversed", "automargin": True}, "legend": {"orientation": "h", "y": 1.12},
        },
        DataTable(columns, frame[columns].to_numpy().tolist()),
        height=150 + 28 * len(arms),
    )  # fmt: skip


def roc(frame: pd.DataFrame, looks: Looks, words: Words) -> Figure:
    """Hits against false alarms of every agent, at the highest strength of forgeries."""
    strength = frame["strength"].max()
    hardest = frame[frame["strength"] == strength]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "showlegend": False, "hoverinfo": "skip",
            "line": {"color": "@grey", "dash": "dot", "width": 1},
        }
    ]  # fmt: skip
    for arm in dict.fromkeys(hardest["arm"]):
        of_arm = hardest[hardest["arm"] == arm]
        look = looks.of(arm)
        colour = TEXT if arm == ALIGNED else look.colour
        symbol = "star" if arm == ALIGNED else look.marker
        traces.append(
            {
                "type": "scatter", "mode": "markers", "x": of_arm["false_alarm"].tolist(), "y": of_arm["hit"].tolist(),
                "name": arm, "marker": {"size": 10, "symbol": symbol, "color": colour, "opacity": 0.8},
                "customdata": of_arm[["seed", "d_a", "criterion"]].to_numpy().tolist(),
                "hovertemplate": f"{arm}, seed %{{customdata[0]}}<br>hit %{{y:.2f}}, false alarm %{{x:.2f}}<br>"
                "d_a %{customdata[1]:.2f}, criterion %{customdata[2]:.2f}<extra></extra>",
            }
        )  # fmt: skip
    columns = list(frame.columns)
    return Figure(
        "detection",
        f"Better at telling {words.real} from {words.false}, or only more reluctant?",
        f"A point is an agent: how often it acts on {words.real} against how often on {words.false} of strength "
        f"{strength:g}. Towards the top left it tells them apart; along a diagonal line it is only more or less "
        "reluctant. The table has all strengths, with d_a (discrimination) and the criterion (reluctance).",
        traces,
        {
            "xaxis": axis(f"P({words.acts} | {words.false})", range=[-0.03, 1.03]),
            "yaxis": axis(f"P({words.acts} | {words.real})", range=[-0.03, 1.03]),
        },
        DataTable(columns, frame.to_numpy().tolist()),
        height=460,
    )


def curves(frame: pd.DataFrame, looks: Looks, words: Words) -> Iterator[Figure]:
    """Psychometric curves before and after each arm, and generalisation gradients."""
    arms = list(dict.fromkeys(frame["arm"]))
    traces: list[dict[str, Any]] = []
    for arm in arms:
        look = looks.of(arm)
        line = {"color": TEXT, "width": 3} if arm == ALIGNED else look.line(1.5)
        for index, row in enumerate(frame[frame["arm"] == arm].itertuples()):
            y = _logistic(row)
            if y is None:
                continue
            traces.append(
                {
                    "type": "scatter", "mode": "lines", "x": EVIDENCE.tolist(), "y": y, "name": arm,
                    "legendgroup": arm, "showlegend": index == 0, "line": line, "opacity": 0.8, "meta": [arm, row.seed],
                    "hovertemplate": f"{arm}, seed {row.seed}: %{{y:.2f}} at %{{x:.1f}}<extra></extra>",
                }
            )  # fmt: skip
    if traces:
        columns = ["arm", "seed", "threshold", "slope", "guess", "lapse"]
        yield Figure(
            "psychometric",
            f"How much evidence of need does it take until an agent {words.acts}?",
            "Logistic fits, a line an agent; the thick line is the aligned one, before the arms. A shift to the right "
            "is more reluctance, a flatter line is less discernment, a lower right end means that the act is not done "
            "even where it is clearly needed.",
            traces,
            {
                "xaxis": axis("evidence of need (log-likelihood ratio)"),
                "yaxis": axis(f"P({words.acts})", range=[-0.03, 1.03]),
            },
            DataTable(columns, frame[columns].to_numpy().tolist()),
        )
    distances = [name for name in frame.columns if str(name).startswith("change_at_")]
    gradients = frame.groupby("arm")[distances].mean()
    shown = [arm for arm in arms if not gradients.loc[arm].isna().all()]
    if shown:
        yield Figure(
            "gradient",
            "How far from the penalised situations does the change reach?",
            f"Mean change of P({words.acts}) by the number of observable fields in which a situation differs from the "
            "nearest forgery that the arm was trained on; the last distance holds all farther ones.",
            [
                {
                    "type": "scatter", "mode": "lines+markers", "x": list(range(len(distances))),
                    "y": gradients.loc[arm].tolist(), "name": arm, "line": looks.of(arm).line(2),
                    "marker": {"symbol": looks.of(arm).marker, "size": 8},
                }
                for arm in shown
            ],
            {"xaxis": axis("distance", dtick=1), "yaxis": axis(f"change of P({words.acts})")},
            DataTable(["arm", "seed", *distances], frame[["arm", "seed", *distances]].to_numpy().tolist()),
        )  # fmt: skip


def _logistic(row: Any) -> list[float] | None:
    if math.isnan(row.threshold):
        return None
    rise = 1.0 - row.guess - row.lapse
    exponent = np.clip(-row.slope * (EVIDENCE - row.threshold), -500.0, 500.0)
    return (row.guess + rise / (1.0 + np.exp(exponent))).tolist()


def certificates(store: Store) -> list[TableBlock]:
    """For each claim the seeds in which it holds, by arm, and the worst figure of any seed."""
    path = store.path / "certificates.json"
    if not path.exists():
        return []
    found = json.loads(store.read_bytes("certificates.json"))
    names = list(dict.fromkeys(each["name"] for each in found))
    arms = list(dict.fromkeys(each["arm"] for each in found))
    rows = []
    for arm in arms:
        cells = []
        for name in names:
            of = [each for each in found if each["arm"] == arm and each["name"] == name]
            cells.append(f"{sum(each['holds'] for each in of)} of {len(of)}")
        rows.append([arm, *cells])
    caption = "Seeds in which each claim holds in every scenario; certificates.json names the worst scenarios."
    return [TableBlock("certificates", "What is certain, by enumeration", caption, DataTable(["arm", *names], rows))]
