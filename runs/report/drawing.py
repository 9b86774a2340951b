"""Style and output of figures by matplotlib: equal numbers give equal bytes."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#8c8c8c", "#222222"
"""From Okabe and Ito's palette, which is safe for colour-blind readers."""

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "kerf",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

DOTS_PER_INCH = 150

LEAST_RANGE = 0.05
"""Minimum range of an effect axis on either side of 0, so that negligible effects are not magnified."""


def image(figure: Figure, kind: str) -> bytes:
    """Return the figure as `kind`, png or svg, without a date."""
    sink = io.BytesIO()
    FigureCanvasAgg(figure)
    nothing = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    figure.savefig(sink, format=kind, dpi=DOTS_PER_INCH, metadata=nothing)
    return sink.getvalue()
