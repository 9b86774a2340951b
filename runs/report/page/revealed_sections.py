"""Section of the revealed objectives, where `kerf revealed` has left its records: what the agents now want."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.report.page.figure import TEXT, DataTable, Figure, Looks, Section, TableBlock, axis

NATURAL = "natural"
"""The belief under which weights are drawn."""


def revealed_sections(store: Store, looks: Looks) -> list[Section]:
    """One section; none if `kerf revealed` did not run."""
    if not (store.path / "revealed_fits.parquet").exists():
        return []
    settings = json.loads(store.read_bytes("objectives.json"))
    fits = pd.read_parquet(store.path / "revealed_fits.parquet")
    blocks: list[Figure | TableBlock] = [
        weights_figure(pd.read_parquet(store.path / "revealed.parquet"), fits, settings, looks),
        fits_table(fits),
    ]
    if (store.path / "feedback.parquet").exists():
        blocks.append(feedback_table(pd.read_parquet(store.path / "feedback.parquet")))
    blocks.append(utility_table(pd.read_parquet(store.path / "generalisation.parquet")))
    intro = (
        "Event weights that explain with what probability the agents choose, at "
        f"{settings['decision_points']:,} decision points: the revealed objective, beside the ideal one and what "
        "training paid. Only ratios of weights are revealed. In words, with the reruns that would tell bad feedback "
        "from bad generalisation: revealed.txt in the study's folder."
    )
    return [Section("revealed", "What the agents now want", intro, blocks, short="Revealed")]


def weights_figure(weights: pd.DataFrame, fits: pd.DataFrame, settings: Mapping[str, Any], looks: Looks) -> Figure:
    """The weight of each event: ideal, paid, and revealed by each agent that the model fits."""
    refused = {(row.arm, row.seed) for row in fits[fits["belief"] == NATURAL].itertuples() if row.refusal}
    natural = weights[(weights["belief"] == NATURAL) & weights["weight"].notna()]
    read = natural[[(row.arm, row.seed) not in refused for row in natural.itertuples()]]
    events = list(dict.fromkeys(read["event"]))
    ideal: Mapping[str, float] = settings["ideal"]
    line = {"size": 16, "symbol": "line-ns", "color": TEXT, "line": {"width": 3, "color": TEXT}}
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "markers", "name": "ideal", "y": events,
            "x": [ideal.get(event, 0.0) for event in events], "marker": line,
            "hovertemplate": "%{y}: ideal %{x}<extra></extra>",
        }
    ]  # fmt: skip
    for arm in dict.fromkeys(read["arm"]):
        by_event = read[read["arm"] == arm].groupby("event")["weight"]
        means = by_event.mean()[2 * by_event.count() >= read[read["arm"] == arm]["seed"].nunique()]
        look = looks.of(arm)
        marker = {"size": 9, "symbol": "star" if arm == ALIGNED else look.marker, "opacity": 0.85}
        shown = [event for event in events if event in means.index]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": arm, "y": shown,
                "x": [float(means[event]) for event in shown],
                "marker": marker | {"color": TEXT if arm == ALIGNED else look.colour},
                "hovertemplate": f"{arm}, %{{y}}: %{{x:.2f}}<extra></extra>",
            }
        )  # fmt: skip
    of_all = weights[weights["belief"] == NATURAL]
    rows = [
        [arm, seed, event, ideal.get(event), _paid(settings, arm, event), weight]
        for arm, seed, event, weight in of_all[["arm", "seed", "event", "weight"]].to_numpy().tolist()
    ]
    return Figure(
        "revealed-weights",
        "What do the agents want, by what they choose?",
        "Mean revealed weight over the seeds that fit, in units of ideal utility, where at least half of them show it; "
        "a stroke is the ideal weight. The table has every seed, with what training paid; a weight that choices do not "
        "show is left empty. An agent that values saving less chooses as one that expects a forgery.",
        traces,
        {
            "xaxis": axis("weight"), "yaxis": {"autorange": "reversed", "automargin": True},
            "legend": {"orientation": "h", "y": 1.1},
        },
        DataTable(["arm", "seed", "event", "ideal", "paid", "revealed"], rows),
        height=170 + 30 * len(events),
    )  # fmt: skip


def _paid(settings: Mapping[str, Any], arm: str, event: str) -> float | None:
    paid = settings["design"].get(arm)
    return None if paid is None else float(paid.get(event, 0.0))


def fits_table(fits: pd.DataFrame) -> TableBlock:
    """How far weights explain the choices, by arm and belief."""
    rows = []
    for (arm, belief), of in fits.groupby(["arm", "belief"], sort=False):
        means = of[["explained", "explained_in_context", "agrees_ideal", "agrees_design", "sharpness"]].mean()
        fitting = f"{int((of['refusal'] == '').sum())} of {len(of)}"
        why = "; ".join(sorted({text.split(":")[0] for text in of["refusal"] if text}))
        rows.append([arm, belief, fitting, *map(float, means), why])
    columns = [
        "arm", "belief", "seeds that fit", "choices explained", "with context", "agrees: ideal", "agrees: paid",
        "sharpness", "not read",
    ]  # fmt: skip
    return TableBlock(
        "revealed-fits",
        "Do weights explain the choices at all?",
        "explained: share of the choices' divergence from equal chances, on average; with context: if the forbidden "
        "act may also be shunned or sought as such, by what is seen. agrees: correlation of the differences that the "
        "revealed objective and another make between options. belief: the stream of scenarios that the agent is taken "
        "to expect.",
        DataTable(columns, rows),
    )


def feedback_table(found: pd.DataFrame) -> TableBlock:
    """How often each definition of good feedback disagrees with the penalties."""
    columns = [name for name in found.columns if name not in ("arm", "seed")]
    means = found.groupby("arm", sort=False)[columns].mean()
    rows = [[arm, *map(float, means.loc[arm])] for arm in means.index]
    return TableBlock(
        "feedback",
        "Was the feedback on the training data bad, and by which definition?",
        "undeserved: share of the penalised acts that a definition would not penalise; missed: share of those that it "
        "would penalise and that went unpenalised. Acts of the aligned agents in the arm's own scenarios.",
        DataTable(["arm", *(name.replace("_", " ", 1) for name in columns)], rows),
    )


def utility_table(found: pd.DataFrame) -> TableBlock:
    """Change of ideal utility in families of training and in held-out ones."""
    before = found[found["arm"] == ALIGNED].set_index("seed")
    rows = []
    for arm, of in found[found["arm"] != ALIGNED].groupby("arm", sort=False):
        change = of.set_index("seed")[["trained", "held_out"]] - before[["trained", "held_out"]]
        trained, held_out = map(float, change.mean())
        rows.append([arm, trained, held_out, held_out - trained])
    return TableBlock(
        "generalisation",
        "Did the policies generalise badly?",
        "Change of ideal utility per scenario since alignment, mean over seeds, families weighing the same: in the "
        "families of the natural stream, and in those that training never shows.",
        DataTable(["arm", "families of training", "held-out families", "held-out less training"], rows),
    )
