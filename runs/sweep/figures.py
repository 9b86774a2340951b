"""Figures of a sweep, as SVG and PNG: equal findings give equal bytes, and no information is given by colour alone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from kerf.lab.metrics import COLLATERAL, ROBUSTNESS
from kerf.runs.report.drawing import BLACK, BLUE, GREY, LEAST_RANGE, ORANGE, STYLE, image
from kerf.runs.report.table import metric_label
from kerf.runs.sweep.findings import Line, feasible, front, lines, shown_metrics
from kerf.runs.sweep.over import PENALTY, STRENGTH
from kerf.runs.sweep.spec import SweepSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kerf.runs.sweep.outcome import Outcome
    from kerf.runs.sweep.report import SweepReport

MARKERS = "osD^vPX*<>"

DODGE = 0.03
"""Offset between the curves of one panel, as a share of the doses' range, so that none hides another."""

LABEL_WIDTH = 42
"""Characters per line of an axis label."""


def figures(report: SweepReport) -> dict[str, bytes]:
    """Draw the figures of a sweep, by file name.

    `dose-response`: for each metric of the table, mean effects with 95% intervals (band and bars), the monotone fit,
    the limit and the threshold's interval. `phase`: for a sweep over two settings, where the limit is passed. `front`:
    for a search, all trials, the front, and the front on held-out seeds.
    """
    with rc_context(STYLE):
        if report.spec.mode == "pareto":
            made = {"front": _front(report)}
        else:
            made = {"dose-response": _dose_response(report)}
            if len(report.spec.over) == 2:
                made["phase"] = _phase(report)
        return {f"{name}.{kind}": image(figure, kind) for name, figure in made.items() for kind in ("svg", "png")}


def _dose_response(report: SweepReport) -> Figure:
    spec, outcomes = report.spec, report.outcomes
    metrics = shown_metrics(spec, outcomes)
    if spec.mode == "threshold":
        assert spec.limit is not None
        metrics = list(dict.fromkeys((spec.limit.metric, spec.traded[0])))
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(4.1 * columns, 2.9 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for panel, metric in zip(panels.flat, metrics, strict=False):
        _curves(panel, spec, lines(spec, outcomes, metric), metric)
    for empty in panels.flat[len(metrics) :]:
        empty.set_visible(False)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    if len(spec.over) == 2:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
    num = max(len(line.seeds) + len(line.lost) for line in lines(spec, outcomes, metrics[0]))
    figure.suptitle(
        f"{spec.arm} against {spec.control}: mean over {num} seeds, 95% intervals, monotone fit", fontsize=9.5
    )
    return figure


def _curves(panel: Axes, spec: SweepSpec, found: Sequence[Line], metric: str) -> None:
    """One metric, with a curve for each value of the second setting."""
    first = spec.over[0]
    panel.axhline(0.0, color=BLACK, linewidth=0.8)
    span = first.ends[1] - first.ends[0]
    for index, line in enumerate(found):
        if line.curve is None:
            continue
        curve, colour = line.curve, _ordinal(index, len(found))
        beside = (index - (len(found) - 1) / 2) * DODGE * span / max(1, len(found) - 1)
        label = "mean effect" if line.at is None else f"{spec.over[1].name} {line.at:g}"
        bars = [np.maximum(curve.mean - curve.low, 0.0), np.maximum(curve.high - curve.mean, 0.0)]
        if len(found) == 1:
            panel.fill_between(curve.doses, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        panel.plot(curve.doses + beside, curve.fit, color=colour, linewidth=1.4)
        panel.errorbar(
            curve.doses + beside, curve.mean, yerr=bars, fmt=MARKERS[index % len(MARKERS)], color=colour,
            markersize=4.5, elinewidth=0.8, capsize=2, label=label,
        )  # fmt: skip
    if spec.limit is not None and spec.limit.metric == metric:
        panel.axhline(spec.limit.change, color=ORANGE, linestyle="--", linewidth=1.2)
        text = f"limit {spec.limit.change:g}".replace("-", "\N{MINUS SIGN}")
        panel.annotate(
            text, (1.0, spec.limit.change), xycoords=("axes fraction", "data"),
            xytext=(-2, -3), textcoords="offset points", ha="right", va="top", color=ORANGE, fontsize=8,
        )  # fmt: skip
        if len(found) == 1:
            _mark_threshold(panel, found[0])
    panel.set_ylabel(_effect_label(metric, spec))
    panel.set_xlabel(_dose_label(first.name, first.path))
    panel.tick_params(labelbottom=True)
    panel.margins(x=0.03)
    low, high = panel.get_ylim()
    panel.set_ylim(min(low, -LEAST_RANGE), max(high, LEAST_RANGE))


def _mark_threshold(panel: Axes, line: Line) -> None:
    """The interval of the dose at which the limit is reached, and the two doses between which the fit reaches it."""
    found = line.threshold
    if found is None or math.isnan(found.low) or math.isinf(found.low):
        return
    panel.axvspan(found.low, min(found.high, found.doses[1]), color=ORANGE, alpha=0.14, linewidth=0)
    if found.reached:
        below, above = found.between
        for dose in dict.fromkeys(found.between):
            panel.axvline(dose, color=ORANGE, linewidth=1.2)
        label = f"{below:.3g} to {above:.3g}" if below < above else f"{above:.3g}"
        panel.annotate(
            label, (above, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2),
            textcoords="offset points", va="top", color=ORANGE, fontsize=8,
        )  # fmt: skip


def _phase(report: SweepReport) -> Figure:
    """A cell per trial; the contour is where the mean reaches the limit, interpolated between neighbours."""
    spec, outcomes = report.spec, report.outcomes
    across, up = spec.over
    metric = spec.traded[1] if spec.limit is None else spec.limit.metric
    x, y = (sorted({outcome.trial.settings[axis.path] for outcome in outcomes}) for axis in (across, up))
    shade = np.full((len(y), len(x)), np.nan)
    for outcome in outcomes:
        at = (y.index(outcome.trial.settings[up.path]), x.index(outcome.trial.settings[across.path]))
        shade[at] = outcome.number(metric)
    figure = Figure(figsize=(max(5.0, 1.6 + 0.55 * len(x)), max(3.2, 1.5 + 0.5 * len(y))), layout="constrained")
    panel = figure.subplots()
    most = float(np.nanmax(np.abs(shade), initial=0.05))
    drawn = panel.imshow(shade, origin="lower", cmap="PuOr", vmin=-most, vmax=most, aspect="auto")
    for (row, column), value in np.ndenumerate(shade):
        text = "lost" if math.isnan(value) else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
        dark = not math.isnan(value) and abs(value) > 0.6 * most
        below = {"facecolor": drawn.to_rgba(value), "edgecolor": "none", "pad": 1.0}
        panel.text(
            column, row - 0.3, text, ha="center", va="center", fontsize=7.5, color="white" if dark else BLACK,
            bbox=None if math.isnan(value) else below, zorder=5,
        )  # fmt: skip
    if spec.limit is not None and min(shade.shape) > 1:
        limit = spec.limit.change
        passed = shade <= limit if limit < 0 else shade >= limit
        label = f"{metric_label(metric, spec.words)} reaches {limit:+g}".replace("-", "\N{MINUS SIGN}")
        if passed.any() and not passed[~np.isnan(shade)].all():
            panel.contour(np.ma.masked_invalid(shade), levels=[limit], colors=[BLACK], linewidths=2.0, linestyles="-")
            panel.set_title(f"black line: {label}", fontsize=9)
        else:
            panel.set_title(f"{label} {'everywhere' if passed.any() else 'nowhere'}", fontsize=9)
    for edge in range(1, len(x)):
        panel.axvline(edge - 0.5, color="white", linewidth=1.5)
    for edge in range(1, len(y)):
        panel.axhline(edge - 0.5, color="white", linewidth=1.5)
    panel.set_xticks(range(len(x)), [f"{value:g}" for value in x])
    panel.set_yticks(range(len(y)), [f"{value:g}" for value in y])
    panel.set_xlabel(_dose_label(across.name, across.path))
    panel.set_ylabel(_dose_label(up.name, up.path))
    panel.grid(False)
    bar = figure.colorbar(drawn, ax=panel)
    bar.set_label(_effect_label(metric, spec))
    return figure


def _front(report: SweepReport) -> Figure:
    spec = report.spec
    best = front(spec, report.outcomes)
    figure = Figure(figsize=(6.2, 4.4), layout="constrained")
    panel = figure.subplots()
    measurable = [o for o in report.outcomes if all(map(math.isfinite, o.objectives))]
    for label, colour, marker, filled, chosen in (
        ("breaks a floor", GREY, "x", True, [o for o in measurable if not feasible(spec, o)]),
        ("dominated", GREY, "o", False, [o for o in measurable if feasible(spec, o) and o not in best]),
    ):
        if chosen:
            xs, ys = zip(*(o.objectives for o in chosen), strict=True)
            kept: dict[str, Any] = {} if filled else {"facecolors": "none", "edgecolors": colour}
            panel.scatter(xs, ys, s=22, marker=marker, label=label, linewidths=1.0, **(kept or {"color": colour}))
    if best:
        xs, ys = zip(*(o.objectives for o in best), strict=True)
        panel.step(xs, ys, where="pre", color=BLUE, linewidth=1.2)
        panel.plot(xs, ys, "o", color=BLUE, markersize=6, label="front")
    for index, again in enumerate(report.again):
        _held_out(panel, again, best[index], "front, on held-out seeds" if index == 0 else "")
    panel.axhline(0.0, color=BLACK, linewidth=0.8)
    panel.axvline(0.0, color=BLACK, linewidth=0.8)
    if best:
        most = best[-1]
        settings = (f"{axis.name} {most.trial.settings[axis.path]:.3g}" for axis in spec.over)
        text = "\n".join((f"trial {most.trial.number}:", *settings))
        panel.annotate(
            text, most.objectives, xytext=(4, -10), textcoords="offset points", fontsize=7.5, color=BLUE,
            ha="left", va="top", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.0},
        )  # fmt: skip
    panel.set_xlabel(_effect_label(ROBUSTNESS, spec))
    panel.set_ylabel(_effect_label(COLLATERAL, spec))
    panel.margins(0.1)
    floors = ", ".join(
        f"{metric_label(floor.metric, spec.words)} \N{GREATER-THAN OR EQUAL TO} {floor.change:g}".replace(
            "-", "\N{MINUS SIGN}"
        )
        for floor in spec.floors
    )
    title = f"{spec.arm} against {spec.control}, {len(report.outcomes)} trials"
    panel.set_title(title + (f"; floor: {floors}" if floors else ""), fontsize=9.5)
    panel.legend(loc="best")
    return figure


def _held_out(panel: Axes, again: Outcome, then: Outcome, label: str) -> None:
    """A front trial on held-out seeds with its intervals, joined to its result on the original seeds."""
    robustness, collateral = (again.effects[metric].interval for metric in (ROBUSTNESS, COLLATERAL))
    if not all(map(math.isfinite, again.objectives)):
        return
    panel.plot(*zip(then.objectives, again.objectives, strict=True), color=ORANGE, linewidth=0.8, linestyle=":")
    bars = [
        [[max(effect.mean - effect.low, 0.0)], [max(effect.high - effect.mean, 0.0)]]
        for effect in (robustness, collateral)
    ]
    panel.errorbar(
        robustness.mean, collateral.mean, xerr=bars[0], yerr=bars[1], fmt="D", color=ORANGE, markersize=4.5,
        elinewidth=0.7, capsize=2, label=label or None, alpha=0.85,
    )  # fmt: skip


def _ordinal(index: int, num: int) -> Any:
    """The colour of one of `num` ordered curves: dark to light, without the lightest."""
    if num == 1:
        return BLUE
    from matplotlib import colormaps

    return colormaps["viridis"](0.88 * index / (num - 1))


def _dose_label(name: str, path: str) -> str:
    if path == STRENGTH:
        return "adversary strength (chance that a tell is hidden)"
    if path == PENALTY:
        return "penalty L (units of ideal utility)"
    return name


def _effect_label(metric: str, spec: SweepSpec) -> str:
    if metric == ROBUSTNESS:
        text = f"robustness: fall of {spec.words.elicited} of strength {spec.yardstick:g} (share)"
        return textwrap.fill(text, LABEL_WIDTH)
    if metric == COLLATERAL:
        return f"collateral: mean change of\n{len(spec.untouched)} untouched values (score)"
    return f"change of {metric_label(metric, spec.words)} (score)"
