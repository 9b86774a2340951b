"""Tables of predictions: their verdicts, and their effects at matched suppression."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.dilemma import Words
from kerf.lab.statistics.matched import MATCHED_LEVELS, Matched
from kerf.lab.statistics.text import interval_text, p_text
from kerf.runs.report.judged import Judged
from kerf.runs.terminal.columns import ByGroups

PLAIN = Words()
"""Default wording, for worlds without their own."""


def primaries_table(judged: Sequence[Judged]) -> Table:
    """The preregistered predictions: contrast, effect, Holm-adjusted p, verdict; below the table, the reasons as
    sentences."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("predicted beforehand", min_width=24, overflow="fold")
    table.add_column("effect", justify="right", no_wrap=True)
    table.add_column("p (Holm)", no_wrap=True)
    table.add_column("collapsed", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    reasons = Table.grid()
    for item in judged:
        primary, verdict = item.primary, item.verdict
        change = "does not change" if primary.direction == "none" else f"{primary.direction}s"
        prediction = f"{primary.metric} {change} in {primary.arm} against {primary.against}"
        effect = interval_text(item.effect.interval) if item.effect.measurable else "skill lost"
        table.add_row(
            Text(f"{primary.name}: {prediction}"),
            Text(effect),
            p_text(verdict.p_adjusted),
            _collapse_text(item),
            Text(verdict.outcome, "bold"),
        )
        reasons.add_row(Text(f"{primary.name}: {verdict.sentence} Falsified by: {primary.falsified_by}"))
    stack = Table.grid()
    stack.add_row(Padding(ByGroups(table), (0, 0, 1, 0)))
    stack.add_row(reasons)
    stack.add_row(
        Text(
            "Collapsed: seeds that end below half of their aligned score, in the arm and in the one that it is "
            "compared with (p: exact paired test, not adjusted)."
        )
    )
    return stack


def _collapse_text(item: Judged) -> str:
    """Collapse as text, such as `6 and 0 of 8 (p = 0.031)`."""
    if item.collapse is None:
        return "-"
    ours, theirs = (round(share.mean * share.num) for share in (item.collapse.arm, item.collapse.against))
    return f"{ours} and {theirs} of {item.collapse.arm.num} (p {p_text(item.collapse.p)})"


def matched_table(judged: Sequence[Judged], words: Words = PLAIN) -> Table:
    """Predictions whose two arms were both trained: effects at their ends and at matched suppression of false exits."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("at matched suppression", min_width=24, overflow="fold")
    table.add_column("at the end", justify="right", no_wrap=True)
    for level in MATCHED_LEVELS:
        table.add_column(f"at {level:g}", justify="right", no_wrap=True)
    table.add_column("widest gap", justify="right", no_wrap=True)
    for item in judged:
        if not _reached(item):
            continue
        cells = [interval_text(item.effect.interval) if item.effect.measurable else "skill lost"]
        cells += [_matched_cell(matched) for matched in item.matched]
        gaps = [gap for matched in item.matched for gap in matched.bridged]
        table.add_row(Text(item.primary.name), *map(Text, cells), f"{max(gaps):.2f}" if gaps else "-")
    stack = Table.grid()
    stack.add_row(Padding(ByGroups(table), (0, 0, 1, 0)))
    stack.add_row(
        Text(
            f"Matched: in each seed the two arms are compared where {words.elicited} (of the strength that "
            "the first of them was trained on) had first fallen by the same share of all, at levels fixed beforehand. "
            "Seeds in which an arm never suppressed so much are left out (k of n). Scores between two measures are "
            "interpolated (widest gap: the most suppression between them)."
        )
    )
    return stack


def _reached(item: Judged) -> bool:
    """Whether both arms suppressed enough for any matched comparison; an arm without a penalty may suppress nothing."""
    return any(matched.effect.seeds or matched.effect.lost for matched in item.matched)


def _matched_cell(matched: Matched) -> str:
    effect = matched.effect
    num_seeds, num_all = len(effect.seeds), len(effect.seeds) + len(effect.lost) + len(matched.not_comparable)
    if not num_seeds:
        return "skill lost" if effect.lost else "not reached"
    return interval_text(effect.interval) + ("" if num_seeds == num_all else f" ({num_seeds} of {num_all})")
