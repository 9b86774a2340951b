"""Figure of a comparison of studies."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kerf.lab.worlds import get_world
from kerf.runs.compare.comparison import Comparison, Difference
from kerf.runs.report.table import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE = "#0072B2", "#D55E00"
"""From Okabe and Ito's palette, which is safe for colour-blind readers."""


def figure(comparison: Comparison, metrics: Sequence[str], kind: str) -> bytes:
    """Effects of both studies with their intervals, a panel for each of the `metrics`, as `kind` (png or svg)."""
    words = get_world(comparison.world).dilemma.words
    style: dict[Any, Any] = {
        "svg.hashsalt": "kerf",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    arms = list(dict.fromkeys(found.arm for found in comparison.differences))
    with rc_context(style):
        drawing = Figure(figsize=(3.2 * len(metrics), 1.2 + 0.42 * len(arms)), layout="constrained")
        FigureCanvasAgg(drawing)
        axes = drawing.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            rows = [found for found in comparison.differences if found.metric == metric]
            for offset, part, colour, marker in ((-0.14, "first", BLUE, "o"), (0.14, "second", ORANGE, "s")):
                _draw(axis, rows, arms, part, offset, colour, marker)
            axis.axvline(0.0, color="#8c8c8c", linewidth=0.8)
            axis.set_title(metric_label(metric, words))
            axis.set_xlabel("effect [95% interval]")
        axes[0].set_yticks(range(len(arms)), arms)
        axes[0].invert_yaxis()
        handles, labels = axes[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False)
        out = io.BytesIO()
        drawing.savefig(out, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return out.getvalue()


def _draw(
    axis: Axes, rows: Sequence[Difference], arms: Sequence[str], part: str, offset: float, colour: str, marker: str
) -> None:
    intervals = [(arms.index(found.arm) + offset, getattr(found, part)) for found in rows]
    means = [interval.mean for _, interval in intervals]
    bounds = [(i.low, i.high) if i.bounded else (i.mean, i.mean) for _, i in intervals]
    errors = [
        [mean - low for mean, (low, _) in zip(means, bounds, strict=True)],
        [high - mean for mean, (_, high) in zip(means, bounds, strict=True)],
    ]
    places, label = [at for at, _ in intervals], "A" if part == "first" else "B"
    axis.errorbar(means, places, xerr=errors, fmt=marker, color=colour, capsize=2, label=label)


def write_figure(comparison: Comparison, metrics: Sequence[str], path: Path) -> None:
    """Write `figure` to `path`, whose suffix is `.png` or `.svg`."""
    path.write_bytes(figure(comparison, metrics, path.suffix.removeprefix(".")))
