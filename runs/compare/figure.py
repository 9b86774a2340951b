"""Figure of a comparison of studies."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure

from kerf.lab.statistics.tests import Interval
from kerf.lab.worlds import get_world
from kerf.runs.compare.comparison import Comparison
from kerf.runs.records.atomic_io import write
from kerf.runs.report.drawing import BLUE, GREY, LEAST_RANGE, ORANGE, STYLE, image
from kerf.runs.report.table import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE_WIDTH = 24
"""Characters per line of a panel's title."""


def figure(comparison: Comparison, metrics: Sequence[str], kind: str) -> bytes:
    """Effects of both studies with their intervals, a panel for each of the `metrics`, as `kind` (png or svg)."""
    words = get_world(comparison.world).dilemma.words
    arms = list(dict.fromkeys(found.arm for found in comparison.differences))
    with rc_context(STYLE):
        drawing = Figure(figsize=(3.2 * len(metrics), 1.6 + 0.5 * len(arms)), layout="constrained")
        axes = drawing.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            rows = {found.arm: found for found in comparison.differences if found.metric == metric}
            firsts = {arms.index(arm): found.first for arm, found in rows.items()}
            seconds = {arms.index(arm): found.second for arm, found in rows.items()}
            _draw(axis, firsts, -0.14, BLUE, "o", f"A: {comparison.first}")
            _draw(axis, seconds, 0.14, ORANGE, "s", f"B: {comparison.second}")
            axis.axvline(0.0, color=GREY, linewidth=0.8)
            low, high = axis.get_xlim()
            axis.set_xlim(min(low, -LEAST_RANGE), max(high, LEAST_RANGE))
            axis.locator_params(axis="x", nbins=5)
            axis.set_title(textwrap.fill(metric_label(metric, words), TITLE_WIDTH))
            axis.set_xlabel("effect [95% interval]")
        axes[0].set_yticks(range(len(arms)), arms)
        axes[0].set_ylim(len(arms) - 0.5, -0.5)
        handles, labels = axes[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower left")
        return image(drawing, kind)


def _draw(axis: Axes, effects: dict[int, Interval], offset: float, colour: str, marker: str, label: str) -> None:
    """Draw effects, by the place of their arm; one without bounds as a marker alone."""
    means = [effect.mean for effect in effects.values()]
    bounds = [(each.low, each.high) if each.bounded else (each.mean, each.mean) for each in effects.values()]
    errors = [
        [mean - low for mean, (low, _) in zip(means, bounds, strict=True)],
        [high - mean for mean, (_, high) in zip(means, bounds, strict=True)],
    ]
    places = [place + offset for place in effects]
    axis.errorbar(means, places, xerr=errors, fmt=marker, color=colour, capsize=2, label=label)


def write_figure(comparison: Comparison, metrics: Sequence[str], path: Path) -> None:
    """Write `figure` to `path`, whose suffix is `.png` or `.svg`."""
    write(path, figure(comparison, metrics, path.suffix.removeprefix(".")))
