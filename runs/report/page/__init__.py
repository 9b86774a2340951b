"""Page of a study or sweep: one self-contained HTML file, made from its records alone.

Equal records give equal bytes. The file opens from disk without a network, and runs only the scripts that it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerf.lab.errors import KerfError
from kerf.lab.world import focus
from kerf.lab.worlds import get_world
from kerf.runs.records.gate_records import gate_warnings, instead_of_table
from kerf.runs.records.store import Store
from kerf.runs.report import make_report
from kerf.runs.report.conclusion import Conclusion, about_of, conclude, conclude_unfinished
from kerf.runs.report.page.after_sections import after_sections
from kerf.runs.report.page.attack_sections import attack_sections
from kerf.runs.report.page.exact_sections import exact_sections
from kerf.runs.report.page.figure import Section
from kerf.runs.report.page.records_sections import apart, left_out, notes, provenance
from kerf.runs.report.page.render import render
from kerf.runs.report.page.revealed_sections import revealed_sections
from kerf.runs.report.page.study import Study
from kerf.runs.report.page.study_sections import study_sections
from kerf.runs.report.page.sweep_records import SweepRecords
from kerf.runs.report.page.sweep_sections import sweep_sections
from kerf.runs.report.table import Report

PAGE = "report.html"
"""File name of the page, in the study's folder."""

REPLAY = "replay.html"
"""File name of the page with the player alone."""


def write_page(store: Store, report: Report | None = None) -> Path:
    """Make the page and write it to the study's folder; returns its path.

    Args:
        store: A study, or a finished sweep. The page of a study that lacks units only says which.
        report: The study's report, if it was made already.

    Raises:
        KerfError: if the sweep is not finished, or records are damaged.
    """
    store.write_bytes(PAGE, make_page(store, report))
    return store.path / PAGE


def write_replay(store: Store, scenario: str | None = None, arms: Sequence[str] = ()) -> dict[str, Any]:
    """Make a page with the player alone and write it to the study's folder; returns the replays.

    Args:
        store: A finished study.
        scenario: The scenario's text form; None: those in which behaviour changed most.
        arms: Arms to show; empty: all that were trained.

    Raises:
        KerfError: for a sweep, an unfinished study, an unknown arm, or a text that is no scenario of the world.
    """
    from kerf.runs.report.replay import refuse_sweep, replays

    refuse_sweep(store)
    if (instead := instead_of_table(store)) is not None:
        raise KerfError(f"{store.path}: {instead.splitlines()[0]}")
    report = make_report(store)
    assert report.courses is not None
    found = replays(store, report.courses.ends, scenario, arms)
    store.write_bytes(REPLAY, render(conclude(store, report), [], found))
    return found


def make_page(store: Store, report: Report | None = None) -> bytes:
    """Make the page of a study or a finished sweep, as `write_page`."""
    manifest = store.manifest()
    if "sweep" in manifest:
        if not (store.path / "table.txt").exists():
            raise KerfError(f"{store.path}: the sweep is not finished; the command that began it completes it")
        return render(_sweep_conclusion(store), [*sweep_sections(store), *provenance(store)])
    short = conclude(store) if instead_of_table(store) is not None else conclude_unfinished(store)
    if short is not None:
        return render(short, [*apart(short), *left_out(store, None), *provenance(store)])
    from kerf.runs.report.replay import replays  # imports torch, which a sweep's page does not need

    report = report or make_report(store)
    assert report.courses is not None
    study = Study(manifest, report, report.courses, conclude(store, report))
    return render(study.conclusion, _sections(store, study), replays(store, study.ends))


def _sections(store: Store, study: Study) -> list[Section]:
    world = get_world(study.manifest["recipe"]["world"])
    return [
        *study_sections(study, next(iter(focus(world)), None)),
        *exact_sections(store, study.looks, world.dilemma.words),
        *revealed_sections(store, study.looks),
        *attack_sections(store, study.arms),
        *after_sections(store, study.looks),
        *apart(study.conclusion),
        *left_out(store, study),
        *notes(study),
        *provenance(store),
    ]


def _sweep_conclusion(store: Store) -> Conclusion:
    records, about = SweepRecords.read(store), about_of(store)
    seeds = len(store.manifest()["seeds"])
    return Conclusion(
        store.manifest()["name"],
        f"What does {records.spec['arm']} change, by {' and '.join(records.axes)}?",
        about,
        list(gate_warnings(store)),
        also=records.findings["verdicts"],
        num_seeds=seeds,
    )
