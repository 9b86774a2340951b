"""Printed forms of a finished sweep: its ending, and its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerf.lab.errors import KerfError
from kerf.runs.records.store import Store

if TYPE_CHECKING:
    from kerf.runs.sweep.report import SweepReport


def refuse_unfinished(store: Store) -> None:
    """Raise `KerfError` if the sweep has no table yet."""
    if not (store.path / "table.txt").exists():
        raise KerfError(f"{store.path}: the sweep is not finished; the command that began it completes it")


def shown_again(store: Store, width: int) -> list[str]:
    """The ending of a finished sweep, as lines of `width` characters.

    Raises:
        KerfError: if the sweep is not finished.
    """
    refuse_unfinished(store)
    from kerf.runs.sweep.ending import sweep_ending

    return sweep_ending(store, width)


def tables_again(store: Store, width: int) -> str:
    """The tables of a finished sweep, as wide as `width`: `table.txt` where that fits, else from the cells' records.

    Raises:
        KerfError: if the sweep is not finished, or records are damaged.
    """
    refuse_unfinished(store)
    text = (store.path / "table.txt").read_text(encoding="utf-8")
    if max(map(len, text.splitlines()), default=0) <= width:
        return text
    from kerf.runs.report.table import to_text

    return to_text(_report(store), width)


def _report(store: Store) -> SweepReport:
    """The report of a finished sweep, its effects from the records of the cells."""
    from kerf.lab.world import focus
    from kerf.lab.worlds import get_world
    from kerf.runs.records.gate_records import has_passed
    from kerf.runs.report.page.sweep_records import SweepRecords
    from kerf.runs.sweep.outcome import Outcomes
    from kerf.runs.sweep.report import SweepReport
    from kerf.runs.sweep.spec import SweepSpec
    from kerf.runs.sweep.trials import Trial

    records, manifest = SweepRecords.read(store), store.manifest()
    world = get_world(manifest["recipe"]["world"])
    of_world = {"focus": focus(world), "words": world.dilemma.words, "traded": records.traded}
    spec = SweepSpec.model_validate({**records.spec, **of_world})
    after = manifest["seeds"][-1] + 1
    asked = {False: manifest["seeds"], True: range(after, after + spec.held_out)}
    outcomes, found = Outcomes(store, spec), []
    for row in records.trials.drop_duplicates(["held_out", "trial"]).to_dict("records"):
        held_out, number = bool(row["held_out"]), int(row["trial"])
        trial = Trial(number, {axis.path: float(row[axis.name]) for axis in spec.over})
        seeds = [seed for seed in asked[held_out] if has_passed(store, seed)]
        found.append((held_out, outcomes.of(trial, row["arm"], row["control"], seeds)))
    return SweepReport(
        spec,
        [outcome for held_out, outcome in found if not held_out],
        [outcome for held_out, outcome in found if held_out],
        records.findings["verdicts"],
    )
