"""Sections on how a study was made: what was left out and why, provenance, and the command that makes it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerf.runs.records.gate_records import not_aligned
from kerf.runs.records.store import ALIGNED, Store, Unit
from kerf.runs.report.conclusion import Conclusion
from kerf.runs.report.page.figure import DataTable, Section, TableBlock
from kerf.runs.report.page.study import Study
from kerf.runs.terminal.console import shell


def left_out(store: Store, study: Study | None) -> list[Section]:
    """Seeds and effects that are left out, with the reason; no section if there are none."""
    lines = [
        not_aligned(store, seed)
        for seed in store.manifest()["seeds"]
        if store.finished(Unit(ALIGNED, seed)) and not store.read_json(Unit(ALIGNED, seed), "gate")["passed"]
    ]
    if study is not None:
        effects = study.report.effects
        lost = effects[effects["lost"] > 0].groupby("arm", sort=False)["lost"].max()
        lines += [
            f"{arm}: the skill was lost in {number} seeds, so their values are left out" for arm, number in lost.items()
        ]
        for item in study.report.judged:
            for matched in item.matched:
                if matched.not_comparable:
                    seeds = ", ".join(map(str, matched.not_comparable))
                    lines.append(
                        f"{item.primary.name}, at matched suppression {matched.level:g}: seeds {seeds}, in which an "
                        "arm suppressed less"
                    )
    return [Section("left-out", "What was left out, and why", lines=lines, short="Left out")] if lines else []


def apart(conclusion: Conclusion) -> list[Section]:
    """Deviations from what was registered; no section if there are none."""
    if not conclusion.deviations:
        return []
    title, intro = (
        "Deviations from what was registered",
        "Found by comparing the records with the recipe as registered.",
    )
    return [Section("deviations", title, intro, lines=conclusion.deviations, short="Deviations")]


def provenance(store: Store) -> list[Section]:
    """What the records were made by, the notes of the report, and the command that makes them again."""
    manifest = store.manifest()
    rows = [
        ("recipe", f"{manifest['name']} ({manifest['recipe_hash']})"),
        ("battery of probes", manifest["battery_hash"]),
        ("world", manifest["recipe"]["world"]),
        ("seeds", ", ".join(map(str, manifest["seeds"]))),
        ("revision", manifest.get("revision") or "unknown"),
        ("processor", manifest.get("processor") or "unknown"),
        ("Python", manifest.get("python") or "unknown"),
        *_versions(manifest),
    ]
    table = TableBlock("made-by", "Made by", "", DataTable(("what", "which"), rows))
    if "sweep" in manifest:
        intro = "The records hold all numbers of this page. To go on with the sweep, give its command again."
        return [Section("provenance", "Provenance", intro, [table])]
    intro = (
        "The same recipe and seeds give the same bytes on processors of one kind. In the study's folder, this makes "
        "the study again:"
    )
    code = shell("kerf", "run", "recipe.yaml", "--out", "again")
    return [Section("provenance", "Provenance", intro, [table], code=code)]


def notes(study: Study) -> list[Section]:
    """The notes of the report: gate, penalties, steps, optimiser, probe error."""
    lines = [line for line in study.report.notes if line]
    return [Section("notes", "How the study went", lines=lines, short="Notes")] if lines else []


def _versions(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted((str(name), str(version)) for name, version in manifest.get("versions", {}).items())
