"""Printed form of an exact analysis: tables, bars, and the records in the study's folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kerf.lab.statistics.tests import Interval, paired_interval
from kerf.lab.statistics.text import interval_text
from kerf.runs.exact import CLOSE, SHARE, Examination, Examined
from kerf.runs.exact.certify import NEEDLESS, SURE, Certified
from kerf.runs.exact.curves import FARTHEST, Curves
from kerf.runs.records.store import ALIGNED, Store
from kerf.runs.report.table import to_text
from kerf.runs.terminal.columns import ByGroups

BAR = 36
"""Length of the longest bar, in characters."""

MARKS = {"prior_shift": "▒", "penalty": "█", "excess": "░"}
"""Character that draws each part of a bar."""

WIDTH = 140
"""Characters per line in `exact.txt`."""


class ExactReport:
    """The printed output of `kerf exact`."""

    def __init__(self, examination: Examination, by_seed: bool = False) -> None:
        self.examination, self.by_seed = examination, by_seed

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        found = self.examination
        parts: tuple[RenderableType, ...] = (
            ByGroups(losses_table(found, self.by_seed)),
            bars(found),
            *([detection_table(found)] if found.detections else []),
            *([curves_table(found)] if found.curves else []),
            certificates_table(found),
            _adequacy(found),
        )
        for index, part in enumerate(parts):
            yield Padding(part, (1 if index else 0, 0, 0, 0))


def write(store: Store, examination: Examination) -> None:
    """Write the records `exact.parquet`, `detection.parquet`, `certificates.json` and `exact.txt`."""
    store.write_table("exact", _columns([cell.row() for cell in examination.cells]))
    if examination.detections:
        store.write_table("detection", _columns([asdict(found) for found in examination.detections]))
    if examination.curves:
        store.write_table("curves", _columns([row for curves in examination.curves for row in _rows(curves)]))
    store.write_json(
        "certificates",
        [
            {"arm": row.arm, "seed": seed, "name": row.name} | asdict(certificate)
            for row in examination.certified
            for seed, certificate in row.certificates.items()
        ],
    )
    store.write_text("exact.txt", to_text(ExactReport(examination), WIDTH))


def losses_table(found: Examination, by_seed: bool = False) -> Table:
    """A row per arm (or per arm and seed): its loss of ideal utility and the sources of the loss."""
    how = "all" if found.listed else "a sample of"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title_justify="left", caption_justify="left")
    table.title = (
        f"Ideal utility lost in {found.world}: {how} {found.num_situations:,} situations of the natural stream"
    )
    first = found.cells[0].parts
    table.caption = (
        f"Means over seeds; positive is lost. The best policy has {first.ideal:.2f} per scenario. lost = forced (prior "
        "shift + penalty) + excess (under-optimised, in situations that training shows, + spillover, in those that it "
        "never shows). open: range of ideal utility over all optima of the training objective. regret: distance from "
        "the optimum of the training objective."
    )
    if found.unsolved:
        table.caption += (
            f" Not solved, because an adversary's scenarios have no fixed distribution: {', '.join(found.unsolved)}."
        )
    headings = (
        "lost",
        "forced",
        "prior shift",
        "penalty",
        "excess",
        "under-optimised",
        "spillover",
        "open",
        "regret",
    )
    table.add_column("arm", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    rows = _by_arm(found.cells)
    if by_seed:
        rows = [(f"{cell.arm} {cell.seed}", [cell]) for cell in found.cells]
    for arm, cells in rows:
        parts = [cell.parts for cell in cells]
        whole = paired_interval([part.whole for part in parts], np.random.default_rng(0))
        table.add_row(
            arm,
            interval_text(whole) if whole.bounded else f"{whole.mean:.2f}",
            _mean([part.forced for part in parts]),
            _mean([part.prior_shift for part in parts]),
            _mean([part.penalty for part in parts]),
            _mean([part.excess for part in parts]),
            _mean([part.under_optimisation for part in parts]),
            _mean([part.spillover for part in parts]),
            f"{parts[0].low:.2f} to {parts[0].high:.2f}",
            f"{fmean(cell.regret for cell in cells):.2f}",
        )
    return table


def bars(found: Examination) -> Table:
    """The losses as bars: prior shift, penalty, excess; gains are given in words, not drawn."""
    rows = [
        (arm, {part: fmean(getattr(cell.parts, part) for cell in cells) for part in MARKS})
        for arm, cells in _by_arm(found.cells)
    ]
    longest = max(sum(max(0.0, part) for part in parts.values()) for _, parts in rows)
    unit = longest / BAR if longest > 0.0 else 1.0
    table = Table.grid(padding=(0, 2))
    table.add_row(
        Text(""), Text(f"{MARKS['prior_shift']} prior shift  {MARKS['penalty']} penalty  {MARKS['excess']} excess")
    )
    for arm, parts in rows:
        drawn = "".join(MARKS[part] * round(max(0.0, amount) / unit) for part, amount in parts.items())
        gained = [f"{part.replace('_', ' ')} {amount:+.2f}" for part, amount in parts.items() if amount < -unit / 2]
        table.add_row(Text(arm), Text(drawn + (f"  (gained: {', '.join(gained)})" if gained else "")))
    return table


def detection_table(found: Examination) -> Table:
    """A row per arm: P(the forbidden act) in real, quiet and forged scenarios, and how well real and forged are told
    apart."""
    words = found.words
    strengths = sorted({detection.strength for detection in found.detections})
    arms = list(dict.fromkeys(detection.arm for detection in found.detections))
    columns: dict[str, list[str]] = {"real": [], "quiet": []}
    for arm in arms:
        detections = [detection for detection in found.detections if detection.arm == arm]
        columns["real"].append(f"{fmean(detection.hit for detection in detections):.2f}")
        columns["quiet"].append(f"{fmean(detection.quiet for detection in detections):.3f}")
        for strength in strengths:
            here = [detection for detection in detections if detection.strength == strength]
            apart, reluctance = (
                float(np.median([getattr(detection, name) for detection in here])) for name in ("d_a", "criterion")
            )
            columns.setdefault(f"forged s={strength:g}: P, AUC, d_a, c", []).append(
                f"{fmean(detection.false_alarm for detection in here):.2f} "
                f"{fmean(detection.auc for detection in here):.2f} "
                f"{_number(apart):>5} {_number(reluctance):>5}"
            )
    return _stacked(
        f"Signal detection: P({words.acts}) on {words.real}, without one, on forgeries",
        arms,
        columns,
        "Means over seeds; d_a = sqrt(2) z(AUC) and c = -(z(real) + z(forged)) / 2 are medians. A penalty that moves c "
        "alone made the agent more reluctant; one that raises d_a improved its discrimination.",
    )


def curves_table(found: Examination) -> Table:
    """A row per arm: P(the forbidden act) against the evidence, and its change by distance from the penalised
    situations."""
    columns: dict[str, list[str]] = {}
    for curves in found.curves:
        fits = curves.psychometric
        columns.setdefault("threshold", []).append(_interval(fits.threshold))
        columns.setdefault("slope", []).append(_median([fit.slope for fit in fits.fits]))
        columns.setdefault("lapse", []).append(_interval(fits.lapse))
        for distance, changes in enumerate(curves.gradient.T):
            more = "+" if distance == FARTHEST else ""
            columns.setdefault(f"change at {distance}{more}", []).append(_mean(changes[~np.isnan(changes)].tolist()))
    return _stacked(
        f"P({found.words.acts}) against the log-likelihood ratio of need; "
        "its change by distance from the forgeries trained on",
        [curves.arm for curves in found.curves],
        columns,
        "Threshold and lapse of a logistic fit, means over seeds [95%, bootstrap, too narrow for few seeds]; slope: "
        "median (-: too flat for one). Distance: observable fields in which a situation differs from the nearest "
        "forgery of the arm's strength.",
    )


def _rows(curves: Curves) -> Iterator[dict[str, Any]]:
    """Records of an arm's curves, one per seed."""
    for seed, fit, changes in zip(curves.seeds, curves.psychometric.fits, curves.gradient, strict=True):
        by_distance = {f"change_at_{distance}": float(change) for distance, change in enumerate(changes)}
        yield {"arm": curves.arm, "seed": seed} | asdict(fit) | by_distance


def certificates_table(found: Examination) -> Table:
    """A row per arm, a column per claim: in how many seeds it holds, and the worst figure with its location."""
    names = list(dict.fromkeys(claim.name for claim in found.certified))
    arms = list(dict.fromkeys(claim.arm for claim in found.certified))
    by_key = {(claim.arm, claim.name): claim for claim in found.certified}

    def cell(claim: Certified) -> str:
        return f"{len(claim.holds)}/{len(claim.certificates)} {claim.worst[1].value:.2f}"

    columns = {name: [cell(by_key[arm, name]) for arm in arms] for name in names}
    title = (
        f"Certificates, by enumeration: each value >= {SURE:g} in every scenario in which the expert shows it; "
        f"needless: P <= {NEEDLESS:g} in the natural stream"
    )
    which = "all scenarios" if found.listed else "the scenarios drawn"
    note = f"k/n: seeds for which it holds (over {which}); then the worst figure of any seed. The worst scenarios:"
    stack = _stacked(title, arms, columns, note)
    for name in names:
        claims = [claim for claim in found.certified if claim.name == name and claim.arm != ALIGNED]
        worst = max(claims, key=lambda claim: -claim.worst[1].value if claim.at_least else claim.worst[1].value)
        seed, certificate = worst.worst
        stack.add_row(
            Text(f"  {name}: {certificate.worst_probability:.3f} in {certificate.worst} ({worst.arm}, seed {seed})")
        )
    return stack


def _stacked(title: str, rows: Sequence[str], columns: Mapping[str, Sequence[str]], note: str) -> Table:
    """A table whose columns are split into stacked tables, followed by the note."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column("arm", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        table.add_row(row, *(cells[index] for cells in columns.values()))
    stack = Table.grid()
    stack.add_row(Text(title, "italic"))
    stack.add_row(Padding(ByGroups(table), (0, 0, 1, 0)))
    stack.add_row(Text(note))
    return stack


def _adequacy(found: Examination) -> Text:
    holding = [arm for arm, verdict in found.adequate.items() if verdict.holds]
    some = next(iter(found.adequate.values()))
    return Text(
        f"Adequate (ideal utility within {CLOSE:.0%} of its maximum, in more than {SHARE:.0%} of all seeds, at 95% "
        f"confidence; needs {some.needed} seeds): {', '.join(holding) or 'no arm'}. Seeds within it, and the bound: "
        + "; ".join(
            f"{arm} {verdict.successes} of {verdict.trials}, > {verdict.lower:.2f}"
            for arm, verdict in found.adequate.items()
        )
        + "."
    )


def _by_arm(cells: Iterable[Examined]) -> list[tuple[str, list[Examined]]]:
    by_arm: dict[str, list[Examined]] = {}
    for cell in cells:
        by_arm.setdefault(cell.arm, []).append(cell)
    return list(by_arm.items())


def _mean(numbers: Sequence[float | None]) -> str:
    known = [number for number in numbers if number is not None]
    return f"{fmean(known) + 0.0:.2f}".replace("-0.00", "0.00") if known else "-"


def _interval(interval: Interval) -> str:
    if math.isnan(interval.mean):
        return "-"
    bounds = f" [{interval.low:.2f}, {interval.high:.2f}]" if interval.bounded else ""
    return f"{interval.mean:.2f}{bounds}".replace("-0.00", "0.00")


def _median(numbers: Sequence[float]) -> str:
    known = [number for number in numbers if not math.isnan(number)]
    return _number(float(np.median(known))) if known else "-"


def _number(number: float) -> str:
    return f"{number:.2f}" if math.isfinite(number) else {True: "inf", False: "-inf"}[number > 0]


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
