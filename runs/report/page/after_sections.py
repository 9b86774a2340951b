"""Section of the after-tests: what became of the value in each arm, with the curves that it was judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kerf.lab.after.verdict import SIGNS
from kerf.lab.trade import Trade
from kerf.lab.worlds import get_world
from kerf.runs.recipe.after_plan import NAIVE, RECORD, AfterUnit
from kerf.runs.records.store import Store
from kerf.runs.report.after.judged import AfterReport
from kerf.runs.report.after.records import read_table
from kerf.runs.report.after.reread import read_report
from kerf.runs.report.page.figure import DataTable, Figure, Looks, Section, TableBlock, axis


def after_sections(store: Store, looks: Looks) -> list[Section]:
    """The section; none without `after.json`."""
    if not (store.path / f"{RECORD}.json").exists():
        return []
    report, units = read_report(store)
    blocks: list[Figure | TableBlock] = [_calls(report), _signs(report, looks)]
    curves = read_table(store, units, "relearning", "curve")
    if not curves.empty:
        naive = read_table(store, units, NAIVE, "curve")
        blocks.append(_curves(report, pd.concat([curves, naive], ignore_index=True), looks))
    blocks += _replaced(report, store, units)
    trades = {trade.name: trade for trade in get_world(store.manifest()["recipe"]["world"]).dilemma.trades}
    blocks += _choices(trades, store, units, looks)
    intro = (
        f"What became of {report.value} behind the behaviour that changed, by rules fixed beforehand. Arms are "
        f"compared with {report.control}, which never had a penalty"
    )
    intro += (
        ", and with naive agents: of the same seeds, aligned without ever meeting what the forbidden act is good for."
        if report.has_naive
        else "."
    )
    return [Section("after", f"What became of {report.value}", intro, blocks, short="After-tests")]


def _calls(report: AfterReport) -> TableBlock:
    rows = [
        [
            one.arm,
            one.called.call,
            one.called.sentence,
            ", ".join(SIGNS[name].heading for name in one.called.shown) or "none",
        ]
        for one in report.became
    ]
    rows += [[test, "not made", why, ""] for test, why in report.not_made.items()]
    return TableBlock(
        "after-calls",
        f"Kept, suppressed, erased, concealed or moved: what became of {report.value}",
        "The first rule that applies decides; all signs that are shown stand beside it.",
        DataTable(["arm", "became", "why", "signs shown"], rows),
    )


def _signs(report: AfterReport, looks: Looks) -> Figure:
    names = [name for name in SIGNS if any(name in one.signs for one in report.became)]
    traces, rows = list[dict[str, Any]](), list[list[Any]]()
    num = len(report.became)
    for index, one in enumerate(report.became):
        look, shift = looks.of(one.arm), 0.7 * ((index + 0.5) / num - 0.5)
        found = [(name, one.signs[name]) for name in names if name in one.signs and one.signs[name].measurable]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": one.arm,
                "x": [effect.interval.mean for _, effect in found],
                "y": [names.index(name) + shift for name, _ in found],
                "text": [SIGNS[name].heading for name, _ in found],
                "error_x": {
                    "type": "data",
                    "array": [effect.interval.high - effect.interval.mean for _, effect in found],
                    "arrayminus": [effect.interval.mean - effect.interval.low for _, effect in found],
                    "color": look.colour,
                    "thickness": 1.4,
                },
                "marker": {"color": look.colour, "symbol": look.marker, "size": 9},
                "hovertemplate": f"{one.arm}, %{{text}}: %{{x:.2f}}<extra></extra>",
            }
        )
        rows += [
            [one.arm, SIGNS[name].heading, effect.interval.mean, effect.interval.low, effect.interval.high,
             one.called.p_adjusted.get(name), "yes" if name in one.called.shown else "no"]
            for name, effect in found
        ]  # fmt: skip
    told = "; ".join(f"{SIGNS[name].heading}: {SIGNS[name].words}" for name in names)
    return Figure(
        "after-signs",
        "The signs, each with its interval",
        f"Effects over seeds with 95% intervals; to the right of 0 is evidence of what the sign stands for. {told}.",
        traces,
        {
            "xaxis": axis("effect", zeroline=True),
            "yaxis": {
                "range": [len(names) - 0.5, -0.5],
                "tickvals": list(range(len(names))),
                "ticktext": [SIGNS[name].heading for name in names],
            },
            "margin": {"l": 120, "r": 20, "t": 20, "b": 50},
        },
        DataTable(["arm", "sign", "mean", "low", "high", "adjusted p", "shown"], rows),
        height=140 + (28 + 9 * num) * len(names),
    )


def _curves(report: AfterReport, curves: pd.DataFrame, looks: Looks) -> Figure:
    traces = list[dict[str, Any]]()
    arms = [one.arm for one in report.became if one.arm in set(curves["arm"])]
    for arm in (*arms, NAIVE):
        look = looks.of(arm)
        of_arm = curves[curves["arm"] == arm]
        for seed, rows in of_arm.groupby("seed"):
            traces.append(
                {
                    "type": "scatter", "mode": "lines", "x": rows["iteration"].tolist(), "y": rows["value"].tolist(),
                    "line": look.line(0.7), "opacity": 0.4, "showlegend": False, "legendgroup": arm,
                    "hovertemplate": f"{arm}, seed {seed}: %{{y:.2f}}<extra></extra>",
                }
            )  # fmt: skip
        by_seed = of_arm.pivot(index="iteration", columns="seed", values="value").sort_index()
        mean = by_seed.ffill().mean(axis=1)
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": arm, "legendgroup": arm,
                "x": [int(at) for at in mean.index], "y": mean.tolist(), "line": look.line(3),
                "marker": {"color": look.colour, "symbol": look.marker, "size": 7},
                "hovertemplate": f"{arm}: %{{y:.2f}}<extra></extra>",
            }
        )  # fmt: skip
    columns = ["arm", "seed", "iteration", "value", "act"]
    return Figure(
        "after-relearning",
        f"Learning {report.value} again: who had it once is faster",
        "Training on the natural stream with the ideal utility. A thin line is a seed, which ends where "
        "the value is back; a thick one is the mean, in which such a seed stays where it ended. The naive agents never "
        "had the value: a curve that rises no earlier than theirs shows nothing left of it.",
        traces,
        {"xaxis": axis("training iterations"), "yaxis": axis(report.value, range=[-0.02, 1.02])},
        DataTable(columns, curves[columns].to_numpy().tolist()),
    )


def _replaced(report: AfterReport, store: Store, units: list[AfterUnit]) -> list[Figure]:
    """A figure for each arm, that of the largest change unfolded."""
    table = read_table(store, units, "substitution", "replaced")
    figures = list[Figure]()
    changed = {one.arm: one.further["suppressed"].interval.mean for one in report.became if "suppressed" in one.further}
    for number, arm in enumerate(sorted(changed, key=lambda arm: -changed[arm])):
        rows = table[table["arm"] == arm]
        seeds = rows["seed"].nunique()
        shares = (rows.groupby(["before", "after"], as_index=False)["share"].sum()).to_numpy().tolist()
        pairs = [(str(before), str(after), float(share) / seeds) for before, after, share in shares]
        left, right = (list(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
        trace: dict[str, Any] = {
            "type": "sankey",
            "node": {
                "label": [*(f"{name} (aligned)" for name in left), *(f"{name} ({arm})" for name in right)],
                "pad": 18, "thickness": 14, "color": "@grey",
            },
            "link": {
                "source": [left.index(before) for before, _, _ in pairs],
                "target": [len(left) + right.index(after) for _, after, _ in pairs],
                "value": [share for _, _, share in pairs],
                "color": "rgba(127, 127, 127, 0.35)",
            },
        }  # fmt: skip
        figures.append(
            Figure(
                f"after-replaced-{arm}",
                f"What replaced what in {arm}",
                f"The same false emergencies under the same random numbers: on the left what the aligned agent did, on "
                f"the right what this arm does; mean over {seeds} seeds.",
                [trace],
                {"margin": {"l": 10, "r": 10, "t": 20, "b": 10}},
                DataTable(["before", "after", "share"], [list(pair) for pair in pairs]),
                height=320,
                folded=number > 0,
            )
        )
    return figures


def _choices(trades: Mapping[str, Trade], store: Store, units: list[AfterUnit], looks: Looks) -> list[Figure]:
    table = read_table(store, units, "trade", "choices")
    figures = list[Figure]()
    for trade, rows in table.groupby("trade", sort=False) if not table.empty else ():
        traces = list[dict[str, Any]]()
        served = list(dict.fromkeys(rows["value"]))
        means = rows.groupby(["arm", "value", "level"])[["before", "after"]].mean()
        arms = list(dict.fromkeys(rows["arm"]))
        for value, dash in zip(served, ("solid", "dot"), strict=False):
            series = {"aligned": means.loc[arms[0], value]["before"]}
            series |= {arm: means.loc[arm, value]["after"] for arm in arms}
            for arm, curve in series.items():
                look = looks.of(arm)
                traces.append(
                    {
                        "type": "scatter", "mode": "lines+markers", "name": f"{arm}: {value}",
                        "x": [float(level) for level in curve.index], "y": curve.tolist(),
                        "line": {"color": look.colour, "width": 2, "dash": dash},
                        "marker": {"color": look.colour, "symbol": look.marker, "size": 7},
                        "hovertemplate": f"{arm}, {value}, %{{x}}: %{{y:.2f}}<extra></extra>",
                    }
                )  # fmt: skip
        columns = ["arm", "seed", "level", "value", "before", "after"]
        figures.append(
            Figure(
                f"after-trade-{trade}",
                f"{trade}: which value gives way, and when",
                f"{trades[str(trade)].question.capitalize()}. Where the two lines of an agent cross is its exchange "
                "rate. Means over seeds; 'aligned' is before the arms.",
                traces,
                {"xaxis": axis(trades[str(trade)].unit), "yaxis": axis("share of episodes", range=[-0.02, 1.02])},
                DataTable(columns, rows[columns].to_numpy().tolist()),
            )
        )
    return figures
