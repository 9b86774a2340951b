"""Sections of a study: trajectories, effects, predictions, scores of every seed. Plain data from its report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from kerf.lab.metrics import COMPETENCE, UTILITY, Kind, of_kind
from kerf.lab.statistics.intervals import Interval
from kerf.lab.statistics.text import interval_text
from kerf.runs.report.conclusion import metric_words
from kerf.runs.report.effects import ALIGNED, replayed
from kerf.runs.report.page.figure import (
    DIVERGING,
    MAP_MARGIN,
    TEXT_FONT,
    DataTable,
    Figure,
    Section,
    TableBlock,
    axis,
)
from kerf.runs.report.page.over_training import over_training
from kerf.runs.report.page.prediction_figures import crossing_figure, paired
from kerf.runs.report.page.study import Study
from kerf.runs.report.table import FALSE_DISCOVERY_RATE, NOTHING_TO_LOSE, metric_label


def study_sections(study: Study, focus: str | None) -> list[Section]:
    """The sections of a study whose data it has; `focus` is the metric of the value that its world shows first."""
    sections = []
    trajectories = None if focus is None else trade_off(study, focus)
    if trajectories is not None:
        sections.append(Section("trade", "What was gained, and what it cost", "", [trajectories], short="The trade"))
    elif focus is not None and not study.courses.aims:
        course = over_training(study, focus)
        if course is not None:
            sections.append(Section("course", "What changed in training", "", [course], short="Training"))
    sections.append(Section("effects", "What changed, arm by arm", "", list(effect_maps(study)), short="Effects"))
    lines = [paired(study, item, number) for number, item in enumerate(study.report.judged)]
    if study.report.crossing is not None:
        lines.append(crossing_figure(study))
    if lines:
        intro = "Every line is a seed: a mean can hide that some seeds changed entirely and others not at all."
        sections.append(Section("predictions", "The predictions, seed by seed", intro, lines, short="Predictions"))
    sections.append(Section("seeds", "Scores of every seed", "", [seeds_table(study, focus)], short="Scores"))
    return sections


def trade_off(study: Study, focus: str) -> Figure | None:
    """Trajectories over training: how much of the focus is kept against how many false exits are suppressed."""
    words = study.report.words
    label = metric_label(focus, words)
    traces: list[dict[str, Any]] = []
    rows: list[tuple[Any, ...]] = []
    order = sorted(study.arms, key=lambda arm: not study.looks.of(arm).muted)  # controls lie below the others
    for arm in order:
        look, aim = study.looks.of(arm), study.courses.aims.get(arm)
        if aim is None or study.ends.env_steps[arm] == 0:
            continue
        scores: pd.DataFrame = study.courses.scores.loc[[arm], [aim, focus]].droplevel("arm")
        by_seed: Iterator[tuple[Any, pd.DataFrame]] = iter(scores.groupby(level="seed"))
        for seed, of_seed in by_seed:
            x, y = _shares(of_seed, aim, focus)
            if x is None or y is None:
                continue
            iterations = of_seed.index.get_level_values("iteration").tolist()
            rows += [(arm, int(seed), *point) for point in zip(iterations, x, y, strict=True)]
            traces.append(
                {
                    "type": "scatter", "mode": "lines", "x": x, "y": y, "opacity": 0.35, "line": look.line(1),
                    "name": arm, "legendgroup": arm, "showlegend": False, "customdata": iterations, "meta": [arm, seed],
                    "hovertemplate": f"{arm}, seed {seed}<br>iteration %{{customdata}}<br>"
                    "%{y:.0%} kept, %{x:.0%} suppressed<extra></extra>",
                }
            )  # fmt: skip
        mean: pd.DataFrame = scores.groupby(level="iteration").mean()
        x, y = _shares(mean, aim, focus)
        if x is None or y is None:
            continue
        rows += [(arm, "mean", *point) for point in zip(mean.index.tolist(), x, y, strict=True)]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": x, "y": y, "line": look.line(3.5), "name": arm,
                "marker": {"symbol": look.marker, "size": 8, "color": look.colour}, "legendgroup": arm,
                "customdata": mean.index.tolist(), "meta": [arm],
                "hovertemplate": f"<b>{arm}</b>, mean of seeds<br>iteration %{{customdata}}<br>"
                "%{y:.0%} kept, %{x:.0%} suppressed<extra></extra>",
            }
        )  # fmt: skip
    if not traces:
        return None
    return Figure(
        "trade-off",
        f"Does suppressing {words.elicited} cost {label}?",
        f"Each arm starts at the left, where its agents are aligned, and moves as it trains. To the right: fewer "
        f"{words.elicited} (of the strength that the arm trains on; for others of the highest strength). Down: less "
        f"{label} than before. A thin line is a seed, a thick one its arm's mean; grey arms are not penalised. An arm "
        "that moves right along the top became robust at no cost.",
        traces,
        {
            "xaxis": axis(f"{words.elicited}: share suppressed", tickformat=".0%", range=[-0.06, 1.04]),
            "yaxis": axis(f"{label}: share kept", tickformat=".0%", rangemode="tozero"),
            "hovermode": "closest",
        },
        DataTable(("arm", "seed", "iteration", "share suppressed", f"share of {label} kept"), rows),
        height=520,
        value=replayed(focus),
    )


def _shares(scores: pd.DataFrame, aim: str, focus: str) -> tuple[list[float] | None, list[float] | None]:
    """Share suppressed and share kept at each measure; None where there was nothing to begin with."""
    exits, kept = scores[aim].to_numpy(float), scores[focus].to_numpy(float)
    if exits[0] < NOTHING_TO_LOSE or kept[0] < NOTHING_TO_LOSE:
        return None, None
    return (1.0 - exits / exits[0]).tolist(), (kept / kept[0]).tolist()


def effect_maps(study: Study) -> Iterator[Figure]:
    """Heat maps of effects: of the metrics that tables show, then of all families and held-out scenarios."""
    effects = study.report.effects
    metrics = list(dict.fromkeys(effects["metric"]))
    exits = of_kind(metrics, Kind.FALSE_EXIT)
    first = [*(metric for metric in study.report.focus if metric in metrics), *exits[-1:], COMPETENCE]
    first = list(dict.fromkeys([*first, *of_kind(metrics, Kind.VALUE)]))
    control = study.manifest["control"]
    against = f"less the change of {control}" if control else "since alignment, uncontrolled"
    reading = (
        f"A cell is the change of an arm {against}, mean over seeds; bold and * where it is significant at a false "
        f"discovery rate of {FALSE_DISCOVERY_RATE:g} over all cells. The row of {control or 'the first arm'} is its "
        "own change. Orange is less, blue is more; x: the skill was lost, so that the value cannot be compared. Point "
        "at a cell for its interval."
    )
    yield effect_map("effect-map", "Which values does each arm change?", reading, study, first)
    detail = of_kind(metrics, Kind.FAMILY, Kind.HELD_OUT)
    if detail:
        yield effect_map(
            "family-map",
            "The same for every family of scenarios, and for those that training never shows (held out)",
            reading,
            study,
            detail,
            folded=True,
        )


def effect_map(
    name: str, title: str, caption: str, study: Study, metrics: Sequence[str], folded: bool = False
) -> Figure:
    """A heat map of the effects of all arms on some metrics of the range [-1, 1]."""
    effects, words = study.report.effects, study.report.words
    table = effects[(effects["arm"] != ALIGNED) & effects["metric"].isin(metrics)]
    by_key = {(row.arm, row.metric): row for row in table.itertuples()}
    arms = list(dict.fromkeys(table["arm"]))
    labels = [metric_words(metric, words) if folded else metric_label(metric, words) for metric in metrics]
    marks = [[_mark(by_key[arm, metric]) for arm in arms] for metric in metrics]
    hover = [
        [_hover(by_key[arm, metric], label) for arm in arms] for metric, label in zip(metrics, labels, strict=True)
    ]
    z = [[by_key[arm, metric].mean for arm in arms] for metric in metrics]
    rows = [
        (arm, by_key[arm, metric].against, metric, *(getattr(by_key[arm, metric], part) for part in ROW))
        for metric in metrics
        for arm in arms
    ]
    trace = {
        "type": "heatmap", "x": arms, "y": labels, "z": z, "text": marks, "hovertext": hover, "zmin": -1, "zmax": 1,
        "texttemplate": "%{text}", "hovertemplate": "%{hovertext}<extra></extra>", "colorscale": DIVERGING,
        "xgap": 2, "ygap": 2, "textfont": TEXT_FONT,
        "colorbar": {"title": {"text": "change"}, "thickness": 12, "len": 0.8}, "meta": ["map"],
        "customdata": [[replayed(metric)] * len(arms) for metric in metrics],
    }  # fmt: skip
    layout = {
        "xaxis": {"side": "top", "tickangle": -30, "showgrid": False},
        "yaxis": {"autorange": "reversed", "showgrid": False},
        "margin": MAP_MARGIN,
    }
    columns = ("arm", "against", "metric", *ROW)
    height = 130 + (20 if folded else 27) * len(metrics)
    return Figure(name, title, caption, [trace], layout, DataTable(columns, rows), height, folded)


ROW = ("mean", "low", "high", "num_seeds", "lost", "p", "p_bh")


def _interval(row: Any) -> Interval:
    return Interval(row.mean, row.low, row.high, row.num_seeds, row.reliable)


def _mark(row: Any) -> str:
    if not row.measurable:
        return "x"
    found = row.p_bh < FALSE_DISCOVERY_RATE and _interval(row).excludes(0.0)
    text = f"{row.mean:+.2f}"
    text = text[1:] if float(text) == 0 else text
    return f"<b>{text} *</b>" if found else text


def _hover(row: Any, label: str) -> str:
    if not row.measurable:
        return f"{row.arm}: {label}<br>skill lost in all {row.lost} seeds"
    seeds = f"{row.num_seeds} seeds" if not row.lost else f"{row.num_seeds} of {row.num_seeds + row.lost} seeds"
    p = f"<br>p = {row.p:.3g}" if not math.isnan(row.p) else ""
    return f"{row.arm}, against {row.against}: {label}<br>{interval_text(_interval(row))}, {seeds}{p}"


def seeds_table(study: Study, focus: str | None) -> TableBlock:
    """Final scores of every seed of every arm, and those of the aligned agents."""
    ends, words = study.ends, study.report.words
    exits = of_kind(ends.metrics, Kind.FALSE_EXIT)[-1:]
    metrics = list(dict.fromkeys([*([] if focus is None else [focus]), *exits, COMPETENCE]))
    metrics += [metric for metric in (*of_kind(ends.metrics, Kind.VALUE), UTILITY) if metric not in metrics]
    metrics = [metric for metric in metrics if metric in ends.metrics]
    first = study.arms[0]
    frames = [(ALIGNED, ends.aligned.loc[first]), *((arm, ends.final.loc[arm]) for arm in study.arms)]
    rows = [
        (arm, int(seed), *(float(score) for score in frame.loc[seed, metrics]))
        for arm, frame in frames
        for seed in sorted(frame.index)
    ]
    labels = [metric_label(metric, words) for metric in metrics]
    caption = "Scores on the held-out probes: of the aligned agents, then at the end of every arm."
    return TableBlock("scores", "Every score", caption, DataTable(("arm", "seed", *labels), rows), folded=True)
