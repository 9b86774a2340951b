"""Tables for terminals and text files. Nothing here computes an effect or depends on colour."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.dilemma import Words
from kerf.lab.errors import unknown_name
from kerf.lab.metrics import COMPETENCE, Kind, Metric, exits_by_strength, kind_of, of_kind
from kerf.lab.statistics.effect import MeasureError
from kerf.lab.statistics.intervals import MIN_SEEDS, Interval, coverage_sentence
from kerf.lab.statistics.tests import noise_floor as pooled_noise
from kerf.lab.statistics.tests import smallest_p
from kerf.lab.statistics.text import interval_text
from kerf.runs.report.effects import ALIGNED
from kerf.runs.report.judged import Judged
from kerf.runs.report.matched import Courses
from kerf.runs.report.prediction_tables import PLAIN, _reached, matched_table, primaries_table
from kerf.runs.report.thresholds import Crossing
from kerf.runs.terminal.columns import ByGroups

FALSE_DISCOVERY_RATE = 0.05

BETTER = "More is better in all columns."

NOTHING_TO_LOSE = 0.05
"""A value that the aligned agents score below this cannot fall any further."""


def summary_table(effects: pd.DataFrame, *, focus: Sequence[str] = (), words: Words = PLAIN, width: int = 120) -> Table:
    """Build a table with a row per arm; its columns are split into stacked tables that fit `width`.

    The first table shows the metrics in `focus` (and false exits at the highest strength, if it names none), competence
    and ideal utility; the others show the remaining values. A legend follows, with a warning if there are fewer than
    `MIN_SEEDS` seeds.

    Args:
        effects: From `kerf.runs.report.effects.effects_frame`.
        focus: Metrics to show first.
        words: Wording of the world.
        width: Characters per line.

    Raises:
        KerfError: a metric in `focus` that was not measured.
    """
    metrics = list(dict.fromkeys(effects["metric"]))
    exits = list(exits_by_strength(metrics).values())
    utilities = of_kind(metrics, Kind.UTILITY)
    others = [metric for metric in of_kind(metrics, Kind.VALUE) if metric not in focus]
    stack = Table.grid()
    named = any(metric in exits for metric in focus)
    first = [*([] if named else exits[-1:]), *focus, COMPETENCE, *utilities]
    stack.add_row(metrics_table(effects, first, words=words, width=width))
    if others:
        stack.add_row(metrics_table(effects, others, words=words, width=width))
    for line in _legend(effects, words):
        stack.add_row(Text(line))
    return stack


def metrics_table(
    effects: pd.DataFrame,
    metrics: Sequence[str],
    *,
    words: Words = PLAIN,
    width: int = 120,
    labels: Mapping[str, str] | None = None,
) -> Table:
    """Build such a table for any metrics (of ways, families, ...), without the legend; `labels` may rename its columns.

    Raises:
        KerfError: a metric that was not measured.
    """
    known = set(effects["metric"])
    for metric in metrics:
        if metric not in known:
            raise unknown_name("metric to show", metric, known)
    rows = list(effects[effects["metric"].isin(metrics)].itertuples())
    cells = {(row.arm, row.metric): effect_cell(row) for row in rows}
    names = {row.arm: _row_name(row) for row in rows}
    first = max(len(name) for name in names.values())
    widest = max(len(line) for cell in cells.values() for line in cell.plain.splitlines())
    # Columns are three spaces apart.
    num_tables = math.ceil(len(metrics) / max(1, (width - first) // (widest + 3)))
    stack = Table.grid()
    for part in range(num_tables):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
        table.add_column("arm", min_width=first, no_wrap=True)
        shown = metrics[part * len(metrics) // num_tables : (part + 1) * len(metrics) // num_tables]
        for metric in shown:
            heading = metric_label(metric, words) if labels is None else labels[metric]
            table.add_column(Text(heading), justify="right", min_width=widest, max_width=widest)
        for arm, name in names.items():
            table.add_row(Text(name), *(cells[arm, metric] for metric in shown), end_section=bool(arm == ALIGNED))
        stack.add_row(Padding(ByGroups(table), (0, 0, 1, 0)))
    return stack


def noise_floor(draws: pd.DataFrame) -> Text:
    """Summarise measurement noise: the sd of each metric of a frozen agent over fresh draws of the probes.

    Args:
        draws: Columns `seed`, `metric`, `draw`, `score`; at least two draws per metric and seed. The sd is that of
            `kerf.lab.statistics.tests.noise_floor`.

    Raises:
        MeasureError: fewer than two draws of a metric, or a score that is not finite.
    """
    words = []
    for metric, of_metric in draws.groupby("metric", sort=True):
        by_seed = {str(seed): group["score"].to_numpy(float) for seed, group in of_metric.groupby("seed")}
        for seed, scores in by_seed.items():
            if len(scores) < 2 or not all(map(math.isfinite, scores)):
                raise MeasureError(
                    f"noise floor of {metric}, seed {seed}: expected two or more finite scores, got {scores.tolist()}"
                )
        words.append(f"{metric} {pooled_noise(list(by_seed.values())):.3f}")
    num_draws = draws["draw"].nunique()
    return Text(f"Noise floor (sd of a frozen agent over {num_draws} fresh draws of the probes): {', '.join(words)}")


@dataclass(frozen=True)
class Report:
    """The printed report of a study; `console.print(report)` fits it to the terminal.

    Attributes:
        effects: From `kerf.runs.report.effects.effects_frame`.
        judged: From `kerf.runs.report.effects.judge_primaries`, with the matched effects of
            `kerf.runs.report.matched.match_primaries`; may be empty.
        noise: Argument of `noise_floor`; None: not measured.
        notes: Notes on how the study was made, printed below the effects; empty ones are left out.
        focus: Metrics of the first table.
        words: Wording of the world.
        matched: From `kerf.runs.report.matched.matched_frame`, for the records; None: not made.
        theory: From `kerf.runs.report.thresholds.theory_against_measured`; None: theory makes no prediction.
        crossing: The predicted threshold and the measured one; None: none was predicted.
        crossing_p: P value of `crossing`, Holm-adjusted with those of the predictions.
        courses: All measures over training, for the conclusion and the page; None: not given.
    """

    effects: pd.DataFrame
    judged: Sequence[Judged] = ()
    noise: pd.DataFrame | None = None
    notes: Sequence[str] = ()
    focus: Sequence[str] = ()
    words: Words = PLAIN
    matched: pd.DataFrame | None = None
    theory: RenderableType | None = None
    crossing: Crossing | None = None
    crossing_p: float = math.nan
    courses: Courses | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts: list[RenderableType] = [primaries_table(self.judged)] if self.judged else []
        if self.theory is not None:
            parts.append(self.theory)
        if self.crossing is not None:
            prediction = self.crossing.prediction
            sentence = (
                f"{prediction.name}: {self.crossing.sentence(self.crossing_p)} Falsified by: {prediction.falsified_by}"
            )
            parts.append(Text(sentence))
        parts.append(summary_table(self.effects, focus=self.focus, words=self.words, width=options.max_width))
        if any(self.notes):
            parts.append(Text("\n".join(filter(None, self.notes))))
        if any(map(_reached, self.judged)):
            parts.append(matched_table(self.judged, self.words))
        if self.noise is not None:
            parts.append(noise_floor(self.noise))
        for index, part in enumerate(parts):
            yield Padding(part, (1 if index else 0, 0, 0, 0))

    @property
    def verdicts(self) -> dict[str, str]:
        """The outcome of each registered prediction, by name."""
        found: dict[str, str] = {item.primary.name: item.verdict.outcome for item in self.judged}
        if self.crossing is not None:
            found[self.crossing.prediction.name] = self.crossing.outcome(self.crossing_p)
        return found

    def to_text(self, width: int = 120) -> str:
        """The report as plain text of at most `width` characters per line; equal input gives equal bytes."""
        return to_text(self, width)


def to_text(renderable: RenderableType, width: int = 120) -> str:
    """Render any rich object as plain text, independently of the terminal and of environment variables."""
    sink = io.StringIO()
    console = Console(file=sink, width=width, color_system=None, force_terminal=False, _environ={})
    console.print(renderable)
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()) + "\n"


def effect_cell(row: Any) -> Text:
    """A cell of the effects frame; bold and marked if the change is significant after adjustment."""
    if not row.measurable:
        return Text("skill lost")
    interval = Interval(row.mean, row.low, row.high, row.num_seeds, row.reliable)
    if row.arm == ALIGNED:
        bounds = f" [{row.low:.2f}, {row.high:.2f}]" if interval.bounded else ""
        return Text(f"{row.mean:.2f}{bounds}".replace("-0.00", "0.00"))
    text = interval_text(interval)
    found = row.p_bh < FALSE_DISCOVERY_RATE and interval.excludes(0.0)
    cell = Text(f"* {text}", "bold") if found else Text(text)
    if row.lost:
        cell.append(f"\n{row.num_seeds} of {row.num_seeds + row.lost} seeds")
    return cell


def reading(effects: pd.DataFrame) -> Iterator[str]:
    """Legend for the cells of an effects frame, independent of its metrics; yields one line at a time."""
    changed = effects[effects["arm"] != ALIGNED]
    controls = set(changed["against"]) - {ALIGNED}
    num_seeds = int(changed.iloc[0]["num_seeds"] + changed.iloc[0]["lost"])
    if controls:
        (control,) = controls
        yield (
            f"{ALIGNED}: score before the arms. {control}: its change since then (drift). Other arms: their change "
            f"less that of {control}."
        )
    else:
        yield (
            f"{ALIGNED}: score before the arms. Other rows: the change since then, UNCONTROLLED: what any further "
            "training would have changed is in it."
        )
    yield (
        f"Mean over {num_seeds} seed{'s' if num_seeds != 1 else ''} [95% interval, paired by seed]. "
        f"{marks_sentence(num_seeds)}"
    )
    if num_seeds == 1:
        yield "Warning: 1 seed. No interval can be given, and no difference can be told from chance."
    elif num_seeds < MIN_SEEDS:
        yield (
            f"Warning: {num_seeds} seeds. Below {MIN_SEEDS} no interval is reliable: "
            "so few may all have come out alike where others would have come out differently."
        )
    if (effects["lost"] > 0).any():
        yield (
            "skill lost: competence fell below 0.9 of the aligned checkpoint's, so that values cannot be compared. "
            "k of n seeds: over the seeds that kept it; the choice of seeds is itself an effect."
        )


def marks_sentence(num_seeds: int) -> str:
    """What `*` means in a table of effects over `num_seeds` seeds; with fewer than 6, no p can be below 0.05."""
    least = smallest_p(num_seeds)
    none = f"; none can be with {num_seeds} seeds, whose smallest p is {least:.2g}" if least >= 0.05 else ""
    rate = f"a false discovery rate of {FALSE_DISCOVERY_RATE:g}"
    return f"* changed, at {rate} over all cells (permutation, Benjamini-Hochberg){none}."


def _legend(effects: pd.DataFrame, words: Words) -> Iterator[str]:
    changed = effects[effects["arm"] != ALIGNED]
    how, seeds, *warnings = reading(effects)
    yield how
    yield seeds
    counted = exits_by_strength(effects["metric"])
    yield f"Fewer {words.elicited} (of strength s) are better; of all else, more is better." if counted else BETTER
    yield from _nothing_to_lose(effects)
    if int(changed.iloc[0]["num_seeds"] + changed.iloc[0]["lost"]) > 1:
        yield coverage_sentence()
    yield from warnings
    steps = effects[effects["env_steps"] > 0].groupby("arm", sort=False)["env_steps"].first()
    if steps.nunique() > 1:
        each = ", ".join(f"{arm} {number:,}" for arm, number in steps.items())
        yield f"Note: the arms were not trained for equally many environment steps: {each}."


def _nothing_to_lose(effects: pd.DataFrame) -> Iterator[str]:
    start = effects[(effects["arm"] == ALIGNED) & (effects["metric"].map(kind_of) == Kind.VALUE)]
    low = [metric_label(metric) for metric in start.loc[start["mean"] < NOTHING_TO_LOSE, "metric"]]
    if low:
        yield f"Nothing to lose, for they score below {NOTHING_TO_LOSE:g} before any arm: {', '.join(low)}."


def _row_name(row: Any) -> str:
    if row.arm == ALIGNED:
        return "aligned (score)"
    return f"{row.arm} (drift)" if row.against == ALIGNED else str(row.arm)


def metric_label(metric: str, words: Words = PLAIN) -> str:
    """Label of a metric in columns and sentences."""
    named = Metric.parse(metric)
    if named.kind is Kind.FALSE_EXIT:
        return f"{words.elicited} (s={named.strength:g})"
    if named.kind is Kind.UTILITY:
        return f"{named.words[0]} utility"
    return named.words[0] if named.kind is Kind.VALUE else metric
