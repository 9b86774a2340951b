"""Ending of a command: the conclusion of a study in at most `MOST_LINES` lines, for terminals of any width."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from kerf.runs.report.conclusion import Conclusion, Finding, Kept
from kerf.runs.terminal.console import shell

MOST_LINES = 30
"""Lines of an ending."""

WIDEST = 110
"""Characters of a line, even if the terminal is wider."""

NARROWEST = 60
"""Characters of a line, even if the terminal is narrower; the terminal then wraps it."""

LEAST_ROWS = 3
"""Rows of the chart that the rest must leave room for."""

EIGHTHS = " ▏▎▍▌▋▊▉"


def ending(conclusion: Conclusion, out: Path, width: int, mlflow: str | None = None) -> list[str]:
    """The ending as lines of at most `width` characters, commands excepted; at most `MOST_LINES` of them.

    Args:
        conclusion: The study's conclusion.
        out: The study's folder, for the commands.
        width: Characters per line.
        mlflow: Command or address that shows the study in MLflow; None: `kerf sync` is proposed.
    """
    width = max(NARROWEST, min(WIDEST, width))
    to_go_on = commands(out, mlflow, bool(conclusion.findings), bool(conclusion.findings))
    warnings = [
        line for warning in conclusion.warnings for line in wrapped(f"Warning: {warning}", width, "         ", 3)
    ]
    question = wrapped(f"{conclusion.name}: {conclusion.question}", width, "  ", 2)
    if not conclusion.findings:
        apart = _deviations(conclusion, width)
        room = MOST_LINES - len(question) - len(to_go_on) - len(apart) - 2
        return [*question, "", *first_lines(warnings, room), *apart, "", *to_go_on]
    verdicts = _verdicts(conclusion, width)
    unknown = _unknown(conclusion, width)
    if conclusion.also:
        unknown += wrapped(f"Also in the records: {'; '.join(conclusion.also)}.", width, "  ", 1)
    unknown += _deviations(conclusion, width)
    parts = [warnings, question, verdicts, unknown, to_go_on]
    room = MOST_LINES - sum(map(len, parts)) - sum(map(bool, parts))  # a blank line before all but one of them
    if room < LEAST_ROWS + 1 and conclusion.chart:
        verdicts = _verdicts(conclusion, width, most=1)
        unknown = [*first_lines(_unknown(conclusion, width), 2), *_deviations(conclusion, width)]
        warnings = first_lines(warnings, 3)
        parts = [warnings, question, verdicts, unknown, to_go_on]
        room = MOST_LINES - sum(map(len, parts)) - sum(map(bool, parts))
    chart = _chart(conclusion, width, room) if conclusion.chart and room > 1 else []
    shown = [part for part in (warnings, question, verdicts, chart, unknown, to_go_on) if part]
    return [line for index, part in enumerate(shown) for line in ([""] if index else []) + part]


def commands(out: Path, mlflow: str | None, has_page: bool, has_replays: bool) -> list[str]:
    """The next commands, a line each."""
    filled = shell("kerf", "sync", out) if mlflow is None else mlflow
    return [
        *([f"look      {shell('kerf', 'report', out, '--open')}"] if has_page else []),
        *([f"watch     {shell('kerf', 'replay', out, '--open')}"] if has_replays else []),
        f"tables    {shell('kerf', 'show', out, '--full')}",
        f"mlflow    {filled}",
    ]


def _verdicts(conclusion: Conclusion, width: int, most: int = 3) -> list[str]:
    seeds = f"{conclusion.num_seeds} seed{'s' * (conclusion.num_seeds != 1)}"
    lines = wrapped(f"Predicted beforehand, and what came out (effect [95% interval], {seeds}):", width, "  ", 2)
    label = max(len(finding.words) for finding in conclusion.findings) + 4
    for finding in conclusion.findings:
        lines += _verdict(finding, label, width, most)
    return lines


def _verdict(finding: Finding, label: int, width: int, most: int) -> list[str]:
    start = f"{finding.sign} {finding.words}".ljust(label)
    if most == 1:
        room = width - label - len(finding.effect) - 2
        return [f"{start}{finding.name[:room]}: {finding.effect}"]
    effect = finding.effect.replace(" ", "\N{NO-BREAK SPACE}")  # a number and its interval stay on one line
    told = textwrap.wrap(f"{finding.sentence}: {effect}", width - label, break_on_hyphens=False)
    lines = [f"{start}{told[0]}", *(" " * label + line for line in told[1:])]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _unknown(conclusion: Conclusion, width: int) -> list[str]:
    left = conclusion.unknown
    if not left:
        return []
    lines = wrapped(f"Not known: {left[0]}.", width, "  ", 3)
    if len(left) > 1:
        lines.append(f"  (and {len(left) - 1} more: all are on the page)")
    return lines


def _deviations(conclusion: Conclusion, width: int) -> list[str]:
    """One line on what is not as registered."""
    apart = conclusion.deviations
    if not apart:
        return []
    more = f" (and {len(apart) - 1} more, on the page)" if len(apart) > 1 else ""
    return wrapped(f"Not as registered: {apart[0]}{more}", width, "  ", 2)


def _chart(conclusion: Conclusion, width: int, room: int) -> list[str]:
    rows = _chosen(conclusion.chart, room - 1)
    name = max(len(row.arm) for row in rows) + 2
    bar = max(4, min(24, (width - name - 18) // 2))
    left, right, short = f"{conclusion.focus} kept", "", ""
    if conclusion.elicited:
        right, short = f"{conclusion.elicited} suppressed", "suppressed"
    elif not all(math.isnan(row.beside) for row in rows):
        right, short = "ideal utility kept", "utility kept"
    if name + len(left) + 2 + len(right) > width:
        left, right = "kept", short
    start = min(name + bar + 9, width - len(right))  # a long heading begins left of its column
    lines = [((" " * name + left).ljust(start) + right).rstrip()]
    for row in rows:
        beside = _bar(row.beside, bar) if right else ""
        text = row.arm.ljust(name) + _bar(row.kept, bar).ljust(bar + 9) + beside
        lines.append((text + ("  skill lost" if row.lost else "")).rstrip())
    return lines


def _chosen(chart: Sequence[Kept], room: int) -> list[Kept]:
    """As many rows as there is room for: those with the largest loss and the least, in the recipe's order."""
    if len(chart) <= room:
        return list(chart)
    ordered = sorted(chart, key=lambda row: (math.isnan(row.kept), row.kept))
    kept = {row.arm for row in (*ordered[: max(1, room - 1)], ordered[-1])}
    return [row for row in chart if row.arm in kept][:room]


def _bar(share: float, length: int) -> str:
    """A bar with its share in per cent; more than all is drawn as all."""
    if math.isnan(share):
        return "-"
    eighths = round(min(max(share, 0.0), 1.0) * length * 8)
    drawn = "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
    return f"{drawn.ljust(length)} {share:5.0%}".replace(" -0%", "  0%")


def wrapped(text: str, width: int, indent: str, most: int) -> list[str]:
    """`text` in at most `most` lines of `width` characters, those after the first indented."""
    return textwrap.wrap(
        text, width, subsequent_indent=indent, max_lines=most, placeholder=" [...]", break_on_hyphens=False
    )


def first_lines(lines: Sequence[str], room: int) -> list[str]:
    """As many of `lines` as there is room for; the last says how many others there are."""
    if len(lines) <= room:
        return list(lines)
    return [*lines[: room - 1], f"  (and {len(lines) - room + 1} more lines: see the page)"]
