"""Figure of a value over training, for studies without forgeries: there is no suppression to hold it against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from kerf.lab.metrics import UTILITY
from kerf.runs.report.effects import replayed
from kerf.runs.report.page.figure import DataTable, Figure, axis
from kerf.runs.report.page.study import Study
from kerf.runs.report.table import metric_label


def over_training(study: Study, focus: str) -> Figure | None:
    """Score of the value `focus` at every measure of every arm that was trained; None if none was."""
    label = metric_label(focus, study.report.words)
    traces: list[dict[str, Any]] = []
    rows: list[tuple[Any, ...]] = []
    order = sorted(study.arms, key=lambda arm: not study.looks.of(arm).muted)  # controls lie below the others
    for arm in order:
        if study.ends.env_steps[arm] == 0:
            continue
        scores: pd.DataFrame = study.courses.scores.loc[[arm], [focus, UTILITY]].droplevel("arm")
        traces += _lines(study, arm, scores[focus])
        rows += [
            (arm, int(seed), int(iteration), row[focus], row[UTILITY])
            for (seed, iteration), row in zip(scores.index, scores.to_dict("records"), strict=True)
        ]
    if not traces:
        return None
    return Figure(
        "over-training",
        f"What became of {label} as the arms trained?",
        f"{label.capitalize()} of the agents at each measure; at the left they are aligned. A thin line is a seed, a "
        "thick one its arm's mean. The table has their ideal utility, too.",
        traces,
        {
            "xaxis": axis("iteration", rangemode="tozero"),
            "yaxis": axis(label, range=[-0.03, 1.03]),
            "hovermode": "closest",
        },
        DataTable(("arm", "seed", "iteration", label, "ideal utility"), rows),
        height=480,
        value=replayed(focus),
    )


def _lines(study: Study, arm: str, scores: pd.Series) -> Iterator[dict[str, Any]]:
    """A thin line for every seed of an arm, if there are several, and a thick one for their mean."""
    look = study.looks.of(arm)
    by_seed: Iterator[tuple[Any, pd.Series]] = iter(scores.groupby(level="seed"))
    for seed, of_seed in by_seed:
        yield {
            "type": "scatter", "mode": "lines", "x": of_seed.index.get_level_values("iteration").tolist(),
            "y": of_seed.tolist(), "opacity": 0.35, "line": look.line(1), "name": arm, "legendgroup": arm,
            "showlegend": False, "meta": [arm, seed],
            "hovertemplate": f"{arm}, seed {seed}<br>iteration %{{x}}: %{{y:.3f}}<extra></extra>",
        }  # fmt: skip
    mean: pd.Series = scores.groupby(level="iteration").mean()
    yield {
        "type": "scatter", "mode": "lines+markers", "x": mean.index.tolist(), "y": mean.tolist(),
        "line": look.line(3.5), "marker": {"symbol": look.marker, "size": 8, "color": look.colour}, "name": arm,
        "legendgroup": arm, "meta": [arm],
        "hovertemplate": f"<b>{arm}</b>, mean of seeds<br>iteration %{{x}}: %{{y:.3f}}<extra></extra>",
    }  # fmt: skip
